"""Checks of gradients against central differences: `dlcore.autograd.gradcheck` and `gradgradcheck`, as in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dlcore import _C
from dlcore.autograd import grad
from dlcore.state import no_grad

if TYPE_CHECKING:
    from dlcore.tensor import Tensor

__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]


class GradcheckError(RuntimeError):
    """A gradient that differs from the differences by more than the tolerance, or that changes from run to run."""


def gradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
) -> bool:
    """Compares the whole Jacobian of `func` with central differences: |analytic - numeric| <= atol + rtol * |numeric|.

    Args:
        func: takes the inputs, gives a tensor or several. It may also use them through a closure (a module's
            parameters): they are perturbed in place and put back.
        inputs: a tensor or a sequence of arguments; those that require a gradient are checked and must be float64.
        eps: the step of the differences.
        atol, rtol: the tolerance.
        raise_exception: raise GradcheckError with the place of the first fault, instead of giving False.
        nondet_tol: how much the gradients of two runs may differ.

    Raises:
        ValueError: nothing to check, or an input whose differences would mean nothing (not float64, or expanded).
        GradcheckError: the gradients are wrong.
    """
    args = _arguments(inputs)
    checked = _checked(args, "gradcheck")
    try:
        analytic = _analytic_jacobians(func, args, checked)
        again = _analytic_jacobians(func, args, checked)
        for pair, first in analytic.items():
            change = np.abs(first - again[pair]).max(initial=0.0)
            if not change <= nondet_tol:
                raise GradcheckError(f"[gradcheck] the gradient of {_name(pair)} differs by {change:.3g} in two runs")
        for j, numeric in _numeric_jacobians(func, args, checked, eps):
            for i, expected in enumerate(numeric):
                _compare(analytic.get((i, j), np.zeros_like(expected)), expected, (i, j), atol, rtol)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    grad_outputs: Tensor | Sequence[Tensor] | None = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
) -> bool:
    """`gradcheck` of the first gradients as functions of the inputs and of `grad_outputs` (random by default).

    Raises:
        NotImplementedError: an operation inside has no second derivative.
    """
    args = _arguments(inputs)
    checked = _checked(args, "gradgradcheck")
    if grad_outputs is None:
        rng = np.random.default_rng(0)
        with no_grad():
            seeds = [_C.cast(_C.from_buffer(rng.standard_normal(y.shape)), y.dtype) for y in _floating(func(*args))]
    else:
        seeds = [_C.clone(dy) for dy in _arguments(grad_outputs)]
    for dy in seeds:
        dy.requires_grad = True

    def first_gradients(*arguments: Any) -> tuple[Tensor, ...]:
        outputs = _floating(func(*arguments[: len(args)]))
        used = [(y, dy) for y, dy in zip(outputs, arguments[len(args) :], strict=True) if y.requires_grad]
        leaves = [arguments[i] for i in checked]
        found = grad([y for y, _ in used], leaves, [dy for _, dy in used], create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None)

    return gradcheck(
        first_gradients,
        [*args, *seeds],
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
    )


def _arguments(inputs: Any) -> list[Any]:
    return [inputs] if isinstance(inputs, _C.Tensor) else list(inputs)


def _checked(args: Sequence[Any], op: str) -> list[int]:
    checked = [i for i, a in enumerate(args) if isinstance(a, _C.Tensor) and a.requires_grad]
    if not checked:
        raise ValueError(f"[{op}] expected at least one input that requires a gradient, got none")
    for i in checked:
        x = args[i]
        if x.dtype is not _C.float64:
            raise ValueError(
                f"[{op}] differences need float64, got input {i} of {x.dtype!r}; convert it with x.double()"
            )
        if not x._writable or any(step == 0 and size > 1 for step, size in zip(x.strides, x.shape, strict=True)):
            raise ValueError(f"[{op}] input {i} of shape {x.shape} is read-only or expanded; clone() it first")
    return checked


def _floating(result: Any) -> list[Any]:
    outputs = result if isinstance(result, (tuple, list)) else [result]
    return [y for y in outputs if isinstance(y, _C.Tensor) and y.dtype.is_floating_point]


def _analytic_jacobians(
    func: Callable[..., Any], args: list[Any], checked: list[int]
) -> dict[tuple[int, int], np.ndarray]:
    """d output i / d input j by one backward per output element, as (output elements, input elements)."""
    jacobians = {}
    leaves = [args[j] for j in checked]
    outputs = _floating(func(*args))
    for i, y in enumerate(outputs):
        if not y.requires_grad:
            continue
        for j in checked:
            jacobians[i, j] = np.zeros((y.numel(), args[j].numel()))
        for row in range(y.numel()):
            seed = np.zeros(y.shape)
            seed.reshape(-1)[row] = 1.0
            dy = _C.cast(_C.from_buffer(seed), y.dtype)
            for j, g in zip(checked, grad(y, leaves, dy, retain_graph=True, allow_unused=True), strict=True):
                if g is not None:
                    if g.shape != args[j].shape or g.dtype is not args[j].dtype:
                        raise GradcheckError(
                            f"[gradcheck] the gradient of {_name((i, j))} must be {args[j].dtype!r} of shape "
                            f"{args[j].shape}, got {g.dtype!r} of shape {g.shape}"
                        )
                    jacobians[i, j][row] = g.detach().numpy().reshape(-1)
    return jacobians


def _numeric_jacobians(func: Callable[..., Any], args: list[Any], checked: list[int], eps: float) -> Any:
    """Yields (j, [d output i / d input j for every i])."""

    def values() -> list[np.ndarray]:
        # Gradients are computed inside `func` by gradgradcheck, so recording stays as it is.
        return [_C.cast(y.detach(), _C.float64).numpy().reshape(-1).copy() for y in _floating(func(*args))]

    shapes = [v.shape for v in values()]
    for j in checked:
        x = args[j].detach().numpy()
        numeric = [np.zeros((*shape, x.size)) for shape in shapes]
        for column, at in enumerate(np.ndindex(x.shape)):
            before = x[at]
            try:
                x[at] = before + eps
                above, high = values(), float(x[at])
                x[at] = before - eps
                below, low = values(), float(x[at])
            finally:
                x[at] = before
            for jacobian, a, b in zip(numeric, above, below, strict=True):
                jacobian[:, column] = (a - b) / (high - low)
        yield j, numeric


def _compare(analytic: np.ndarray, numeric: np.ndarray, pair: tuple[int, int], atol: float, rtol: float) -> None:
    wrong = ~(np.abs(analytic - numeric) <= atol + rtol * np.abs(numeric))
    if wrong.any():
        row, column = (int(k) for k in np.argwhere(wrong)[0])
        raise GradcheckError(
            f"[gradcheck] the gradient of {_name(pair)} is wrong in {np.count_nonzero(wrong)} of {wrong.size} elements "
            f"of the Jacobian; the first, d output[{row}] / d input[{column}]: got {analytic[row, column]:.8g}, "
            f"differences give {numeric[row, column]:.8g}"
        )


def _name(pair: tuple[int, int]) -> str:
    return f"output {pair[0]} with respect to input {pair[1]}"
