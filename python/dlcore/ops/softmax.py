"""Softmax and its logarithm along any axis."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from dlcore import _C, ops
from dlcore.autograd import Function
from dlcore.state import is_grad_enabled

if TYPE_CHECKING:
    from dlcore.tensor import Tensor

__all__ = ["log_softmax", "softmax"]


class _Softmax(Function):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int) -> Tensor:
        y = _C.softmax_forward(x, dim)
        ctx.save(y, dim=dim)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (y,) = ctx.saved
        if not is_grad_enabled():
            return _C.softmax_backward(y, dy, ctx.dim), None
        return y * (dy - ops.sum(y * dy, ctx.dim, keepdim=True)), None


class _LogSoftmax(Function):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int) -> Tensor:
        y = _C.log_softmax_forward(x, dim)
        ctx.save(y, dim=dim)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (y,) = ctx.saved
        if not is_grad_enabled():
            return _C.log_softmax_backward(y, dy, ctx.dim), None
        return dy - ops.exp(y) * ops.sum(dy, ctx.dim, keepdim=True), None


def softmax(x: Tensor, dim: int, dtype: Any = None, *, mask: Tensor | None = None, temperature: float = 1.0) -> Tensor:
    """exp(x) / sum(exp(x)) along axis `dim`, taken about the maximum so that large values do not overflow.

    Groups that are all -inf, or hold an inf or a NaN, give NaN.

    Args:
        x: any shape.
        dim: the axis whose elements add up to 1.
        dtype: converts `x` first.
        mask: bool, broadcast against `x`: elements where it is False get 0, as if they were -inf.
        temperature: > 0; `x` is divided by it: below 1 the largest gain, above 1 all become alike.

    Raises:
        IndexError: `dim` out of range.
        TypeError: not a floating dtype, or a mask that is not bool.
        ValueError: temperature <= 0, or a mask that does not broadcast.
    """
    return _Softmax.apply(_logits(x, dtype, mask, temperature, "softmax"), dim)


def log_softmax(
    x: Tensor, dim: int, dtype: Any = None, *, mask: Tensor | None = None, temperature: float = 1.0
) -> Tensor:
    """x - log(sum(exp(x))) along axis `dim`: the logarithm of `softmax`, exact where that would round to zero.

    Args and Raises: as `softmax`.
    """
    return _LogSoftmax.apply(_logits(x, dtype, mask, temperature, "log_softmax"), dim)


def _logits(x: Tensor, dtype: Any, mask: Tensor | None, temperature: float, op: str) -> Tensor:
    x = x if dtype is None else ops.cast(x, dtype)
    if temperature != 1:
        if not temperature > 0:
            raise ValueError(f"[{op}] expected temperature > 0, got {temperature}")
        x = x / temperature
    if mask is None:
        return x
    if mask.dtype is not _C.bool_:
        raise TypeError(f"[{op}] expected a bool mask, got {mask.dtype!r} of shape {mask.shape}")
    return ops.where(mask, x, -math.inf)


class SoftmaxMethods:
    __slots__ = ()

    softmax = softmax
    log_softmax = log_softmax
