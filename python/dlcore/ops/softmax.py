"""Softmax and its logarithm along any axis."""

from __future__ import annotations

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


def softmax(x: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """exp(x) / sum(exp(x)) along axis `dim`, taken about the maximum so that large values do not overflow.

    Groups that are all -inf, or hold an inf or a NaN, give NaN. `dtype` converts `x` first.

    Raises:
        IndexError: `dim` out of range.
        TypeError: not a floating dtype.
    """
    return _Softmax.apply(x if dtype is None else ops.cast(x, dtype), dim)


def log_softmax(x: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """x - log(sum(exp(x))) along axis `dim`: the logarithm of `softmax`, exact where that would round to zero.

    Raises:
        IndexError: `dim` out of range.
        TypeError: not a floating dtype.
    """
    return _LogSoftmax.apply(x if dtype is None else ops.cast(x, dtype), dim)


class SoftmaxMethods:
    __slots__ = ()

    softmax = softmax
    log_softmax = log_softmax
