"""Initial values, written into a tensor in place and returned. Nothing here is recorded for gradients."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from dlcore import _C, ops
from dlcore.state import no_grad
from dlcore.tensor import Tensor

__all__ = [
    "calculate_gain",
    "constant_",
    "eye_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "ones_",
    "orthogonal_",
    "skip",
    "trunc_normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]


_skipping = False


@contextlib.contextmanager
def skip() -> Iterator[None]:
    """Inside, the functions of this module leave tensors as they are: for building a model whose values are all set
    afterwards, by a loaded state or by an initialisation of its own. Not for several threads at once."""
    global _skipping
    before, _skipping = _skipping, True
    try:
        yield
    finally:
        _skipping = before


def _write(tensor: Tensor, values: Any) -> Tensor:
    if not _skipping:
        _C.copy_into(_C.from_buffer(np.ascontiguousarray(values)), tensor)
    return tensor


@no_grad()
def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform in [a, b)."""
    return tensor if _skipping else tensor.uniform_(a, b, generator=generator)


@no_grad()
def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """Normal with a mean and a standard deviation."""
    return tensor if _skipping else tensor.normal_(mean, std, generator=generator)


def constant_(tensor: Tensor, val: float) -> Tensor:
    """The same value everywhere."""
    return _write(tensor, np.float64(val))


def zeros_(tensor: Tensor) -> Tensor:
    """Zeros."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Ones."""
    return constant_(tensor, 1.0)


def eye_(tensor: Tensor) -> Tensor:
    """The identity, for a matrix."""
    if tensor.ndim != 2:
        raise ValueError(f"[eye_] expected a matrix, got shape {tensor.shape}")
    rows, cols = tensor.shape
    return _write(tensor, np.eye(rows, cols))


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which weights before a nonlinearity are scaled: 1 for linear layers, convolutions and sigmoid, 5/3
    for tanh, √2 for relu, √(2 / (1 + slope²)) for leaky_relu (`param`: the slope, 0.01), 3/4 for selu.

    Raises:
        ValueError: an unknown nonlinearity.
    """
    if nonlinearity == "leaky_relu":
        return math.sqrt(2.0 / (1 + (0.01 if param is None else param) ** 2))
    gains = {"tanh": 5.0 / 3, "relu": math.sqrt(2.0), "selu": 0.75, "sigmoid": 1.0, "linear": 1.0}
    for kind in ("conv", "conv_transpose"):
        gains.update({f"{kind}{n}d": 1.0 for n in (1, 2, 3)})
    if nonlinearity not in gains:
        raise ValueError(f"[calculate_gain] expected one of {', '.join([*gains, 'leaky_relu'])}, got {nonlinearity!r}")
    return gains[nonlinearity]


def fans(tensor: Tensor, op: str) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight (out, in, …): its last dimensions are a receptive field."""
    if tensor.ndim < 2:
        raise ValueError(f"[{op}] fan in and fan out need at least two dimensions, got shape {tensor.shape}")
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform with standard deviation gain·√(2 / (fan_in + fan_out)).

    Source: X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.
    """
    bound = gain * math.sqrt(6.0 / max(sum(fans(tensor, "xavier_uniform_")), 1))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Normal with standard deviation gain·√(2 / (fan_in + fan_out)); see `xavier_uniform_`."""
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / max(sum(fans(tensor, "xavier_normal_")), 1)), generator)


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str, op: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"[{op}] expected mode 'fan_in' or 'fan_out', got {mode!r}")
    fan = fans(tensor, op)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(max(fan, 1))


def kaiming_uniform_(
    tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None
) -> Tensor:
    """Uniform with standard deviation gain / √fan.

    Source: K. He et al., "Delving deep into rectifiers", 2015.
    """
    bound = math.sqrt(3.0) * _kaiming_std(tensor, a, mode, nonlinearity, "kaiming_uniform_")
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None
) -> Tensor:
    """Normal with standard deviation gain / √fan; see `kaiming_uniform_`."""
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity, "kaiming_normal_"), generator)


def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """A random (semi-)orthogonal matrix, the dimensions after the first taken as one; uniform over all of them.

    Source: A. Saxe et al., "Exact solutions to the nonlinear dynamics of learning in deep linear networks", 2013;
    signs after F. Mezzadri, "How to generate random matrices from the classical compact groups", 2007.
    """
    if tensor.ndim < 2:
        raise ValueError(f"[orthogonal_] expected at least two dimensions, got shape {tensor.shape}")
    if _skipping or tensor.numel() == 0:
        return tensor
    rows = tensor.shape[0]
    cols = tensor.numel() // rows
    draw = ops.randn((max(rows, cols), min(rows, cols)), generator=generator, dtype=_C.float64).numpy()
    q, r = np.linalg.qr(draw)
    q = q * np.where(np.diag(r) < 0, -1.0, 1.0)
    return _write(tensor, gain * (q.T if rows < cols else q).reshape(tensor.shape))


def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, generator: Any = None
) -> Tensor:
    """Normal, restricted to [a, b].

    Raises:
        ValueError: a >= b or std <= 0.
    """
    if not a < b or not std > 0:
        raise ValueError(f"[trunc_normal_] expected a < b and std > 0, got a={a}, b={b}, std={std}")
    if _skipping:
        return tensor
    low, high = (a - mean) / std, (b - mean) / std
    nearest = min(max(0.0, low), high)
    inside = (math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2))) / 2
    values = np.empty(tensor.numel())
    open_ = np.arange(values.size)
    while open_.size:  # rejection: of normal numbers, or far from the mean of uniform ones
        if inside > 0.1:
            x = ops.randn((open_.size,), generator=generator, dtype=_C.float64).numpy()
            good = (low <= x) & (x <= high)
        else:
            u = ops.rand((2, open_.size), generator=generator, dtype=_C.float64).numpy()
            x = low + (high - low) * u[0]
            good = u[1] <= np.exp((nearest**2 - x**2) / 2)
        values[open_[good]] = x[good]
        open_ = open_[~good]
    return _write(tensor, (mean + std * values).reshape(tensor.shape))
