"""Normalisation of groups of channels, each sample by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dlcore import _C, ops
from dlcore.autograd import Function
from dlcore.state import is_grad_enabled

if TYPE_CHECKING:
    from dlcore.tensor import Tensor

__all__ = ["group_norm"]


class _GroupNorm(Function):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, groups: int, w: Tensor | None, b: Tensor | None, eps: float) -> Tensor:
        y, mean, rstd = _C.group_norm_forward(x, groups, w, b, eps)
        ctx.save(x, mean, rstd, *([] if w is None else [w]), groups=groups, eps=eps)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, mean, rstd, *rest = ctx.saved
        w = rest[0] if rest else None
        needs = [ctx.needs_input_grad[i] for i in (0, 2, 3)]
        if is_grad_enabled():
            grads = _differentiable_backward(x, ctx.groups, w, dy, ctx.eps)
            dx, dw, db = (g if need else None for g, need in zip(grads, needs, strict=True))
        else:
            dx, dw, db = _C.group_norm_backward(x, ctx.groups, w, mean, rstd, dy, *needs)
        return dx, None, dw, db, None


def _differentiable_backward(x: Tensor, groups: int, w: Tensor | None, dy: Tensor, eps: float) -> Any:
    shape, dtype = x.shape, x.dtype
    if dtype is _C.bfloat16:
        x, dy = ops.cast(x, _C.float32), ops.cast(dy, _C.float32)
    axes, by_channel = (0, *range(2, x.ndim)), (1, -1, *[1] * (x.ndim - 2))

    def grouped(t: Tensor) -> Tensor:
        return ops.reshape(t, (shape[0], groups, -1))

    def mean(t: Tensor) -> Tensor:
        return ops.mean(t, 2, keepdim=True)

    rows, g = grouped(x), grouped(dy if w is None else dy * ops.reshape(w, by_channel))
    rstd = ops.rsqrt(ops.var(rows, 2, correction=0, keepdim=True) + eps)
    xhat = (rows - mean(rows)) * rstd
    dx = rstd * (g - mean(g) - xhat * mean(g * xhat))
    return (
        ops.cast(ops.reshape(dx, shape), dtype),
        ops.sum(dy * ops.reshape(xhat, shape), axes),
        ops.sum(dy, axes),
    )


def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """(input - mean) / sqrt(var + eps) * weight + bias, with a mean and a variance for each group of each sample.

    The C channels are cut into `num_groups` groups of neighbours; mean and (uncorrected) variance are over the channels
    and positions of a group. One group is layer norm over all but the batch, C groups are instance norm. Twice
    differentiable.

    Args:
        input: (N, C) or (N, C, ...), floating.
        num_groups: a divisor of C.
        weight, bias: (C,); 1 and 0 where None. For a bfloat16 input they are taken as float32.
        eps: keeps a constant group from a division by zero.

    Raises:
        ValueError: shapes that do not match, channels that are no multiple of `num_groups`, or eps not above 0.
        TypeError: not a floating dtype.

    Source: Wu, He, Group Normalization, 2018.
    """
    dtype = _C.float32 if input.dtype is _C.bfloat16 else input.dtype
    w, b = (None if p is None else ops.cast(p, dtype) for p in (weight, bias))
    return _GroupNorm.apply(input, num_groups, w, b, float(eps))
