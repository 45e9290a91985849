"""Looks into networks: how gradients flow through them, and what their layers see. Drawing needs the extra "plot"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dlcore import ops
from dlcore.autograd import grad
from dlcore.nn.module import Module
from dlcore.state import enable_grad, no_grad
from dlcore.tensor import Tensor

__all__ = ["FeatureMaps", "GradientFlow", "feature_maps", "gradient_flow", "jacobian_flow"]


class GradientFlow(NamedTuple):
    """A number for each parameter or layer, in the network's order.

    Attributes:
        names: their paths in the model.
        norms: (n,), float64.
        what: the quantity, as the axis is labelled.
    """

    names: list[str]
    norms: np.ndarray
    what: str

    def plot(self, ax: Any = None, **style: Any) -> Any:
        """Draws the norms over the depth, on a logarithmic scale, into `ax` or a new figure; returns the axes.

        `style` goes to matplotlib's `plot`. What is 0 or not finite is left out of the line.

        Raises:
            ImportError: matplotlib is not installed.
        """
        if ax is None:
            _, ax = _pyplot().subplots(layout="constrained", figsize=(max(5, 0.25 * len(self.names)), 3.5))
        drawn = np.where((self.norms > 0) & np.isfinite(self.norms), self.norms, np.nan)
        ax.plot(range(len(drawn)), drawn, **{"marker": "o", "markersize": 3, **style})
        ax.set(yscale="log", ylabel=self.what)
        ax.set_xticks(range(len(drawn)), self.names, rotation=90, fontsize=7)
        ax.grid(alpha=0.3)
        return ax


def gradient_flow(model: Module) -> GradientFlow:
    """‖∂L/∂θ‖ of every parameter θ of at least two dimensions, from the gradients that `backward()` left.

    Called after the backward of a training step, it shows where the gradient vanishes or explodes: norms that fall or
    rise by a constant factor a layer.

    Raises:
        ValueError: no parameter has a gradient.

    Source: X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.
    """
    found = [(name, p.grad) for name, p in model.named_parameters() if p.ndim >= 2 and p.grad is not None]
    if not found:
        raise ValueError(
            "[gradient_flow] expected parameters with gradients, got none; call backward() on a loss first"
        )
    with no_grad():
        norms = [ops.norm(ops.cast(g, "float64")).item() for _, g in found]
    return GradientFlow([name for name, _ in found], np.array(norms), "gradient norm ‖∂L/∂W‖")


def jacobian_flow(model: Module, x: Tensor, draws: int = 4, generator: Any = None) -> GradientFlow:
    """‖∂aᴸ/∂aˡ‖, from the output aᴸ back to the output aˡ of every layer: the product of the Jacobians in between.

    Layers are the modules without modules inside, in the order in which they run. The Frobenius norm of each sample's
    Jacobian is estimated by ‖Jᵀv‖² for standard normal v, of which it is the mean; norms of the batch by the root of
    their mean square. Gradients of parameters stay as they are.

    Args:
        model: gives one tensor.
        x: a batch of inputs, (N, …).
        draws: how many v, >= 1.
        generator: of the random numbers; the default one where None.

    Raises:
        ValueError: no layer, or an output that does not depend on the layers.

    Source: M. Hutchinson, "A stochastic estimator of the trace of the influence matrix", 1990.
    """
    if draws < 1:
        raise ValueError(f"[jacobian_flow] expected draws >= 1, got {draws}")
    with enable_grad():
        start = x.detach().requires_grad_() if x.dtype.is_floating_point else x
        outputs, y = _outputs(model, start, None, "jacobian_flow")
        layers = {name: a for name, a in outputs.items() if a.requires_grad}
        squares = np.zeros(len(layers))
        for _ in range(draws):
            v = ops.randn(y.shape, generator=generator, dtype=y.dtype)
            slopes = grad(y, list(layers.values()), v, retain_graph=True, allow_unused=True)
            squares += [0.0 if s is None else float(ops.sum(ops.square(ops.cast(s, "float64")))) for s in slopes]
    return GradientFlow(list(layers), np.sqrt(squares / draws / y.shape[0]), "Jacobian norm ‖∂a(L)/∂a(l)‖")


class FeatureMaps(NamedTuple):
    """What the convolutions of a network gave for a batch of images.

    Attributes:
        maps: for each layer by its path an array (N, C, H, W).
        filters: of the layers that have them, the weights (O, I, kH, kW).
    """

    maps: dict[str, np.ndarray]
    filters: dict[str, np.ndarray]

    def plot(self, image: int = 0, columns: int = 8) -> Any:
        """A row of pictures for each layer: the first `columns` maps of one image; returns the figure.

        Raises:
            ImportError: matplotlib is not installed.
        """
        rows = {name: maps[image][:columns] for name, maps in self.maps.items()}
        return _gallery(rows, columns, "viridis", symmetric=False)

    def plot_filters(self, columns: int = 8) -> Any:
        """A row of pictures for each layer with filters: the first `columns`, of their first input channel; returns the
        figure. Red is positive, blue negative, white 0.

        Raises:
            ImportError: matplotlib is not installed.
        """
        return _gallery({name: w[:columns, 0] for name, w in self.filters.items()}, columns, "bwr", symmetric=True)


def feature_maps(model: Module, x: Tensor, layers: Sequence[str] | None = None) -> FeatureMaps:
    """The outputs of layers with a height and a width, for a batch of images; the call records no gradients.

    Args:
        model: as it is: in training or evaluation mode.
        x: images (N, C, H, W).
        layers: paths of modules; None for all without modules inside whose output has four dimensions.

    Raises:
        ValueError: a path that the model does not have, or no layer with such an output.

    Source: M. Zeiler and R. Fergus, "Visualizing and understanding convolutional networks", 2014.
    """
    with no_grad():
        outputs, _ = _outputs(model, x, layers, "feature_maps")
    maps = {name: ops.cast(a, "float32").numpy().copy() for name, a in outputs.items() if a.ndim == 4}
    if not maps:
        shapes = {name: a.shape for name, a in outputs.items()}
        raise ValueError(f"[feature_maps] expected layers with outputs (N, C, H, W), got {shapes}")
    modules = dict(model.named_modules())
    weights = {name: getattr(modules[name], "weight", None) for name in maps}
    filters = {
        name: ops.cast(w.detach(), "float32").numpy().copy()
        for name, w in weights.items()
        if isinstance(w, Tensor) and w.ndim == 4
    }
    return FeatureMaps(maps, filters)


def _outputs(model: Module, x: Tensor, layers: Sequence[str] | None, op: str) -> tuple[dict[str, Tensor], Tensor]:
    """What layers give for x, in the order in which they run (of several calls the last), and what the model gives."""
    modules = dict(model.named_modules())
    if layers is None:
        layers = [name for name, m in modules.items() if name and next(m.children(), None) is None]
    unknown = [name for name in layers if name not in modules]
    if unknown or not layers:
        known = ", ".join(repr(name) for name in modules if name)
        raise ValueError(f"[{op}] expected layers of the model, got {unknown or 'none'}; there are {known or 'none'}")
    caught: dict[str, Tensor] = {}

    def catch(name: str) -> Any:
        def hook(module: Module, args: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                caught.pop(name, None)
                caught[name] = output

        return hook

    handles = [modules[name].register_forward_hook(catch(name)) for name in layers]
    try:
        y = model(x)
    finally:
        for handle in handles:
            handle.remove()
    return caught, y


def _gallery(rows: dict[str, np.ndarray], columns: int, colours: str, symmetric: bool) -> Any:
    columns = max(min(columns, max(len(pictures) for pictures in rows.values())), 1)
    figure, axes = _pyplot().subplots(
        len(rows), columns, figsize=(1.1 * columns, 1.25 * len(rows)), squeeze=False, layout="constrained"
    )
    for line, (name, pictures) in zip(axes, rows.items(), strict=True):
        line[0].set_title(name, fontsize=9, loc="left")
        high = np.abs(pictures).max()
        limits = {"vmin": -high, "vmax": high} if symmetric else {}
        for i, ax in enumerate(line):
            ax.axis("off")
            if i < len(pictures):
                ax.imshow(pictures[i], cmap=colours, **limits)
    return figure


def _pyplot() -> Any:
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("[diagnostics] drawing needs matplotlib: pip install 'dlcore-native[plot]'") from error
    return pyplot
