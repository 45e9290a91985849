"""Normalisation of each channel over the batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dlcore import _C, ops
from dlcore.autograd import Function
from dlcore.state import is_grad_enabled

if TYPE_CHECKING:
    from dlcore.tensor import Tensor

__all__ = ["batch_norm"]


class _BatchNorm(Function):
    twice_differentiable = True

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        w: Tensor | None,
        b: Tensor | None,
        running: tuple[Tensor | None, Tensor | None],
        training: bool,
        momentum: float,
        eps: float,
    ) -> Tensor:
        if training:
            y, mean, var = _C.batch_norm_forward(x, w, b, *running, momentum, eps)
        else:
            y, mean, var = _C.batch_norm_apply(x, w, b, *running, eps)
        ctx.save(x, mean, var, *([] if w is None else [w]), eps=eps, own=training)
        ctx.need_dx = x.requires_grad
        ctx.need_dw = w is not None and w.requires_grad
        ctx.need_db = b is not None and b.requires_grad
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, mean, var, *rest = ctx.saved
        w = rest[0] if rest else None
        needs = (ctx.need_dx, ctx.need_dw, ctx.need_db)
        if is_grad_enabled():
            grads = _differentiable_backward(x, w, None if ctx.own else (mean, var), dy, ctx.eps)
            dx, dw, db = (g if need else None for g, need in zip(grads, needs, strict=True))
        else:
            dx, dw, db = _C.batch_norm_backward(x, w, mean, var, dy, ctx.eps, ctx.own, *needs)
        return dx, dw, db, None, None, None, None


def _differentiable_backward(x: Tensor, w: Tensor | None, given: Any, dy: Tensor, eps: float) -> Any:
    axes, shape, dtype = (0, *range(2, x.ndim)), (1, -1, *[1] * (x.ndim - 2)), x.dtype
    if x.dtype is _C.bfloat16:
        x, dy = ops.cast(x, _C.float32), ops.cast(dy, _C.float32)

    def mean(t: Tensor) -> Tensor:
        return ops.mean(t, axes, keepdim=True)

    if given is None:
        centre, var = mean(x), ops.var(x, axes, correction=0, keepdim=True)
    else:
        centre, var = (ops.reshape(ops.cast(t, x.dtype), shape) for t in given)
    rstd = ops.rsqrt(var + eps)
    xhat = (x - centre) * rstd
    g = dy if w is None else dy * ops.reshape(w, shape)
    dx = rstd * (g - mean(g) - xhat * mean(g * xhat)) if given is None else rstd * g
    return ops.cast(dx, dtype), ops.sum(dy * xhat, axes), ops.sum(dy, axes)


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """(input - mean) / sqrt(var + eps) * weight + bias, with a mean and a variance for each channel.

    In training they are the batch's own, over all dimensions but the second, the variance without correction; the
    running ones, where given, become (1 - momentum) * running + momentum * the batch's, in place and without history,
    with the variance corrected (divided by one less than the count). Otherwise the running ones are used. An empty
    batch gives an empty result and leaves the running statistics as they are. Twice differentiable.

    Args:
        input: (N, C) or (N, C, ...), floating.
        running_mean, running_var: (C,), floating. In training both may be None.
        weight, bias: (C,); 1 and 0 where None. For a bfloat16 input they are taken as float32.
        training: whether the batch's statistics are used.
        momentum: the share of this batch in the running statistics.
        eps: keeps a constant channel from a division by zero; positive in training.

    Returns:
        A tensor like `input`.

    Raises:
        ValueError: shapes that do not match, one value per channel in training, no running statistics otherwise, or
            running statistics that cannot be written or require a gradient.
        TypeError: not a floating dtype.

    Source: Ioffe, Szegedy, Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate
    Shift, 2015.
    """
    for name, running in (("running_mean", running_mean), ("running_var", running_var)):
        if running is not None and running.requires_grad:
            raise ValueError(f"[batch_norm] expected {name} that requires no gradient, got one that does; detach() it")
    dtype = _C.float32 if input.dtype is _C.bfloat16 else input.dtype
    w, b = (None if p is None else ops.cast(p, dtype) for p in (weight, bias))
    return _BatchNorm.apply(input, w, b, (running_mean, running_var), bool(training), float(momentum), float(eps))
