"""Losses. `reduction` is "mean" (default), "sum" or "none", as in PyTorch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from dlcore import _C, ops
from dlcore.amp import raised
from dlcore.autograd import Function
from dlcore.state import is_grad_enabled

if TYPE_CHECKING:
    from dlcore.tensor import Tensor

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "mse_loss",
    "nll_loss",
    "smooth_l1_loss",
]


class _CrossEntropy(Function):
    """Rows of logits against class indices, reduced to one number or left as one a row."""

    twice_differentiable = True

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, target: Tensor, w: Tensor | None, ignore_index: int, smoothing: float, reduction: str
    ) -> Tensor:
        loss, norm, statistics = _C.cross_entropy_forward(x, target, w, ignore_index, smoothing)
        ctx.reduction, ctx.options = reduction, (ignore_index, smoothing)
        scale = None
        if reduction != "none":
            loss = _C.sum(loss, None, False)
            if reduction == "mean":
                scale = _C.reciprocal(_C.sum(norm, None, False))
                loss = _C.mul(loss, scale)
        ctx.has_scale, ctx.has_weight = scale is not None, w is not None
        ctx.save(x, target, statistics, *(t for t in (scale, w) if t is not None))
        return _C.cast(loss, x.dtype)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, target, statistics, *rest = ctx.saved
        scale = rest.pop(0) if ctx.has_scale else None
        w = rest.pop(0) if ctx.has_weight else None
        dloss = ops.cast(dy, statistics.dtype)
        if scale is not None:
            dloss = dloss * scale
        if is_grad_enabled():
            dx = differentiable_backward(x, target, w, ops.cast(dloss, x.dtype), *ctx.options)
        else:
            dx = _C.cross_entropy_backward(x, target, w, statistics, dloss, *ctx.options)
        return dx, None, None, None, None, None


def differentiable_backward(
    x: Tensor, target: Tensor, w: Tensor | None, dloss: Tensor, ignore_index: int, smoothing: float
) -> Tensor:
    """Of cross_entropy for its logits, written in operations that are differentiable themselves."""
    classes = x.shape[-1]
    counted = ops.unsqueeze(ops.ne(target, ignore_index), -1)
    chosen = ops.eq(ops.unsqueeze(target, -1), ops.arange(classes, device=target.device))
    weights = ops.ones((classes,), x.dtype, x.device) if w is None else ops.cast(w, x.dtype)
    toward = ops.where(chosen, weights * (1 - smoothing), 0.0) + weights * (smoothing / classes)
    toward = ops.where(counted, toward, 0.0)
    dloss = ops.unsqueeze(dloss, -1) if dloss.ndim else dloss
    return (ops.softmax(x, -1) * ops.sum(toward, -1, keepdim=True) - toward) * dloss


class _Pick(Function):
    """x[r, target[r]] for each row r."""

    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, target: Tensor) -> Tensor:
        ctx.save(target, shape=x.shape)
        return _C.view(_C.gather(x, 1, _C.view(target, (x.shape[0], 1))), (x.shape[0],))

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        column = ops.unsqueeze(ctx.saved[0], 1)
        return ops.scatter(ops.zeros(ctx.shape, dy.dtype), 1, column, ops.unsqueeze(dy, 1)), None


def _reduce(loss: Tensor, reduction: str, op: str) -> Tensor:
    if reduction == "mean":
        return ops.mean(loss)
    if reduction == "sum":
        return ops.sum(loss)
    check_reduction(reduction, op)
    return loss


def check_reduction(reduction: str, op: str) -> None:
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"[{op}] reduction must be 'mean', 'sum' or 'none', got {reduction!r}")


def check_smoothing(label_smoothing: float, op: str) -> None:
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"[{op}] label_smoothing must lie in [0, 1], got {label_smoothing}")


def _check_same_shape(x: Tensor, target: Tensor, op: str) -> None:
    if x.shape != target.shape:
        raise ValueError(f"[{op}] input and target must have the same shape, got {x.shape} and {target.shape}")
    if not x.dtype.is_floating_point or not target.dtype.is_floating_point:
        raise TypeError(f"[{op}] expected floating input and target, got {x.dtype!r} and {target.dtype!r}")


def _rows_of_classes(x: Tensor, target: Tensor, op: str) -> tuple[Tensor, Tensor]:
    """(N, C, d1, …) as (N·d1·…, C) and the targets (N, d1, …) flat; a single (C,) with a 0-d target is one row."""
    if not x.dtype.is_floating_point:
        raise TypeError(f"[{op}] expected a floating input, got {x.dtype!r} of shape {x.shape}")
    fits = x.ndim >= 1 and target.shape == (x.shape[:1] + x.shape[2:] if x.ndim > 1 else ())
    if not fits:
        raise ValueError(
            f"[{op}] expected class indices of the input's shape without its class axis 1, got input {x.shape} and "
            f"target {target.shape}"
        )
    if x.ndim > 2:
        x = ops.movedim(x, 1, -1)
    return ops.reshape(x, (target.numel(), x.shape[-1])), ops.reshape(target, (-1,))


def weights_of(flat: Tensor, weight: Tensor | None, ignore_index: int, dtype: Any) -> Tensor:
    """Of each target its class's weight, 0 where it is ignored: their sum is what "mean" divides by."""
    counted = ops.ne(flat, ignore_index)
    if weight is None:
        return ops.cast(counted, dtype)
    return ops.cast(counted, dtype) * ops.gather(ops.cast(weight, dtype), 0, ops.where(counted, flat, 0))


def check_weight(weight: Tensor | None, classes: int, op: str) -> None:
    if weight is not None and weight.shape != (classes,):
        raise ValueError(f"[{op}] expected one weight for each of {classes} classes, got shape {weight.shape}")


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-log softmax(input)[target]: the cross-entropy of unnormalised logits against classes.

    Args:
        input: (N, C), (N, C, d1, …) or (C,) logits.
        target: class indices of the shape without C (int64 or int32), or probabilities of the input's shape.
        weight: (C,) of the classes; "mean" divides by the sum of the weights of the targets.
        ignore_index: this target adds nothing, neither to the loss nor to what "mean" divides by.
        label_smoothing: this share of each target is spread evenly over all classes.

    One fused kernel for class indices: probabilities are not stored but recomputed in the backward from each row's
    log-sum-exp. Class probabilities are a composite of `log_softmax` and differentiable for the target, too.

    Raises:
        IndexError: a class index out of range, with its position and value.
        ValueError: shapes that do not match, an unknown reduction, or a smoothing outside of [0, 1].
        TypeError: wrong dtypes.
    """
    input, target, weight = raised(input, target, weight)
    check_reduction(reduction, "cross_entropy")
    check_smoothing(label_smoothing, "cross_entropy")
    classes = 0 if not input.ndim else input.shape[1 if input.ndim > 1 else 0]
    check_weight(weight, classes, "cross_entropy")
    if target.dtype.is_floating_point:
        return _soft_cross_entropy(input, target, weight, reduction, label_smoothing)
    rows, flat = _rows_of_classes(input, target, "cross_entropy")
    flat = _C.checked_targets(flat, classes, ignore_index, "cross_entropy")
    loss = _CrossEntropy.apply(rows, flat, weight, ignore_index, float(label_smoothing), reduction)
    return ops.reshape(loss, target.shape) if reduction == "none" else loss


def _soft_cross_entropy(x: Tensor, target: Tensor, weight: Tensor | None, reduction: str, smoothing: float) -> Tensor:
    _check_same_shape(x, target, "cross_entropy")
    axis = 1 if x.ndim > 1 else 0
    if smoothing:
        target = target * (1 - smoothing) + smoothing / x.shape[axis]
    if weight is not None:
        target = target * ops.reshape(weight, (-1, *[1] * (x.ndim - 1 - axis)))
    loss = -ops.sum(ops.log_softmax(x, axis) * target, axis)
    if reduction == "mean":  # over the samples, whatever the classes' weights
        return ops.sum(loss) / (loss.numel() or math.nan)
    return _reduce(loss, reduction, "cross_entropy")


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """-input[target] for log-probabilities `input` of shape (N, C), (N, C, d1, …) or (C,).

    `weight`, `ignore_index` and `reduction` as for `cross_entropy`.

    Raises:
        IndexError: a class index out of range, with its position and value.
        ValueError: shapes that do not match, or an unknown reduction.
        TypeError: wrong dtypes.
    """
    input, target, weight = raised(input, target, weight)
    check_reduction(reduction, "nll_loss")
    rows, flat = _rows_of_classes(input, target, "nll_loss")
    classes = rows.shape[1]
    check_weight(weight, classes, "nll_loss")
    flat = _C.checked_targets(flat, classes, ignore_index, "nll_loss")
    of_target = weights_of(flat, weight, ignore_index, rows.dtype)
    counted = ops.ne(flat, ignore_index)
    loss = -ops.where(counted, _Pick.apply(rows, ops.where(counted, flat, 0)), 0.0) * of_target
    if reduction == "mean":
        return ops.sum(loss) / ops.sum(of_target)
    return ops.sum(loss) if reduction == "sum" else ops.reshape(loss, target.shape)


def mse_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """(input - target)².

    Raises:
        ValueError: different shapes, or an unknown reduction.
    """
    input, target = raised(input, target)
    _check_same_shape(input, target, "mse_loss")
    difference = input - target
    return _reduce(difference * difference, reduction, "mse_loss")


def l1_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """|input - target|.

    Raises:
        ValueError: different shapes, or an unknown reduction.
    """
    input, target = raised(input, target)
    _check_same_shape(input, target, "l1_loss")
    return _reduce(ops.abs(input - target), reduction, "l1_loss")


def huber_loss(input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """With d = |input - target|: d² / 2 where d < delta, else delta (d - delta / 2).

    Raises:
        ValueError: different shapes, an unknown reduction, or delta <= 0.

    Source: Huber, Robust Estimation of a Location Parameter, 1964.
    """
    input, target = raised(input, target)
    _check_same_shape(input, target, "huber_loss")
    if not delta > 0:
        raise ValueError(f"[huber_loss] delta must be positive, got {delta}")
    d = ops.abs(input - target)
    return _reduce(ops.where(ops.lt(d, delta), d * d * 0.5, d * delta - 0.5 * delta * delta), reduction, "huber_loss")


def smooth_l1_loss(input: Tensor, target: Tensor, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """With d = |input - target|: d² / (2 beta) where d < beta, else d - beta / 2; beta = 0 is `l1_loss`.

    Raises:
        ValueError: different shapes, an unknown reduction, or beta < 0.
    """
    input, target = raised(input, target)
    _check_same_shape(input, target, "smooth_l1_loss")
    if not beta >= 0:
        raise ValueError(f"[smooth_l1_loss] beta must not be negative, got {beta}")
    d = ops.abs(input - target)
    if beta:
        d = ops.where(ops.lt(d, beta), d * d * (0.5 / beta), d - 0.5 * beta)
    return _reduce(d, reduction, "smooth_l1_loss")


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """-(pos_weight t log s + (1 - t) log(1 - s)) weight for s = sigmoid(input), t = target; stable for large logits.

    `weight` and `pos_weight` broadcast against the input.

    Raises:
        ValueError: different shapes, or an unknown reduction.
    """
    input, target, weight, pos_weight = raised(input, target, weight, pos_weight)
    _check_same_shape(input, target, "binary_cross_entropy_with_logits")
    minus_log_s = ops.softplus(-input)
    if pos_weight is not None:
        minus_log_s = minus_log_s * (target * (pos_weight - 1) + 1)
    loss = (1 - target) * input + minus_log_s
    return _reduce(loss if weight is None else loss * weight, reduction, "binary_cross_entropy_with_logits")


class _BinaryCrossEntropy(Function):
    """Its own gradient: the logarithms' one is infinite at 0 and 1, where the loss is clamped."""

    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, target: Tensor) -> Tensor:
        ctx.save(x, target)
        log_x, log_rest = _C.clamp(_C.log(x), -100.0, math.inf), _C.clamp(_C.log1p(_C.neg(x)), -100.0, math.inf)
        return _C.neg(_C.add(log_rest, _C.mul(target, _C.sub(log_x, log_rest))))

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, target = ctx.saved
        dx = dy * (x - target) / ops.clamp(x * (1 - x), min=1e-12)
        dtarget = dy * (ops.clamp(ops.log1p(-x), min=-100.0) - ops.clamp(ops.log(x), min=-100.0))
        return dx, dtarget


def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """-(t log x + (1 - t) log(1 - x)) weight for probabilities x; logarithms are clamped at -100.

    Prefer `binary_cross_entropy_with_logits`, which loses no digits near 0 and 1.

    Raises:
        ValueError: different shapes, an unknown reduction, or an input outside of [0, 1].
    """
    input, target, weight = raised(input, target, weight)
    _check_same_shape(input, target, "binary_cross_entropy")
    check_reduction(reduction, "binary_cross_entropy")
    if input.numel():
        least, most = _C.amin(input, None, False).item(), _C.amax(input, None, False).item()
        if least < 0 or most > 1:
            raise ValueError(f"[binary_cross_entropy] the input must lie in [0, 1], got values from {least} to {most}")
    loss = _BinaryCrossEntropy.apply(input, target)
    return _reduce(loss if weight is None else loss * weight, reduction, "binary_cross_entropy")


def kl_div(input: Tensor, target: Tensor, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """target (log target - input) for log-probabilities `input`: the divergence of the input from the target.

    `target` holds probabilities, or their logarithms under `log_target`. Infinite where the input has no probability
    for what the target has, and 0 for what neither has. "batchmean" divides the sum by the size of the
    first axis, which is the mathematical definition for a batch; "mean" divides by the number of elements.

    Raises:
        ValueError: different shapes, or an unknown reduction.
    """
    input, target = raised(input, target)
    _check_same_shape(input, target, "kl_div")
    if log_target:
        loss = ops.exp(target) * (target - input)
    else:
        positive = ops.gt(target, 0.0)
        input = ops.where(ops.logical_and(ops.eq(target, 0.0), ops.eq(input, -math.inf)), 0.0, input)  # 0 log 0 = 0
        loss = ops.where(positive, target * ops.log(ops.where(positive, target, 1.0)), target * 0.0) - target * input
    if reduction == "batchmean":
        return ops.sum(loss) / (input.shape[0] if input.ndim else 1)
    return _reduce(loss, reduction, "kl_div")


class LossMethods:
    __slots__ = ()
