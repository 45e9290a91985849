"""Normalisation over the last dimensions by the root mean square."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dlcore import _C, ops
from dlcore.autograd import Function
from dlcore.ops.norm import sizes_of
from dlcore.state import is_grad_enabled

if TYPE_CHECKING:
    from dlcore.tensor import Tensor

__all__ = ["rms_norm"]

EPS = {"float32": 2.0**-23, "float64": 2.0**-52, "bfloat16": 2.0**-23}  # of what is computed in


class _RMSNorm(Function):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, shape: tuple[int, ...], w: Tensor | None, eps: float) -> Tensor:
        y, rrms = _C.rms_norm_forward(x, shape, w, eps)
        ctx.save(x, rrms, *([] if w is None else [w]), shape=shape, eps=eps)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, rrms, *rest = ctx.saved
        w = rest[0] if rest else None
        need_dw = ctx.needs_input_grad[2]
        if is_grad_enabled():
            dx, dw = _differentiable_backward(x, w, dy, ctx.shape, ctx.eps)
        else:
            dx, dw = _C.rms_norm_backward(x, w, rrms, dy, ctx.shape, need_dw)
        return dx, None, dw if need_dw else None, None


def _differentiable_backward(x: Tensor, w: Tensor | None, dy: Tensor, shape: tuple[int, ...], eps: float) -> Any:
    axes = tuple(range(-len(shape), 0))
    rrms = ops.rsqrt(ops.mean(x * x, axes, keepdim=True) + eps)
    xhat, g = x * rrms, dy if w is None else dy * w
    return rrms * (g - xhat * ops.mean(g * xhat, axes, keepdim=True)), ops.sum_to(dy * xhat, shape)


def rms_norm(
    x: Tensor,
    normalized_shape: int | tuple[int, ...] | list[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """x / sqrt(mean(x²) + eps) * weight, with the mean over the last dimensions.

    Args:
        x: (..., *normalized_shape), floating.
        normalized_shape: the sizes of the dimensions to normalise over; an int stands for the last one.
        weight: of normalized_shape; 1 where None. It is converted to the dtype of `x`.
        eps: keeps a row of zeros from a division by zero; None is the distance from 1 to the next number of the dtype
            that is computed in: 2^-23, or 2^-52 for float64.

    Raises:
        ValueError: shapes that do not match, or eps below 0.
        TypeError: not a floating dtype.

    Source: Zhang, Sennrich, Root Mean Square Layer Normalization, 2019.
    """
    shape = sizes_of(normalized_shape)
    w = None if weight is None else ops.cast(weight, x.dtype)
    return _RMSNorm.apply(x, shape, w, float(EPS.get(x.dtype.name, 0.0) if eps is None else eps))
