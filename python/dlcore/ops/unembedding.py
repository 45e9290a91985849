"""The cross-entropy of a linear layer's outputs, of which only a part exists at a time.

A language model's logits are its largest activations: a batch of 8 x 1,024 tokens has 1.6 GB of them with GPT-2's
vocabulary, and as many gradients. Here a block of rows at a time goes through the product, the loss and, where
gradients will be asked for, the products with the logits' gradients, which take the logits' place. So the backward
pass has nothing left to compute, and nothing is computed twice.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from dlcore import _C, ops
from dlcore.amp import lowered
from dlcore.autograd import Function
from dlcore.ops.loss import (
    check_reduction,
    check_smoothing,
    check_weight,
    cross_entropy,
    differentiable_backward,
    weights_of,
)
from dlcore.state import is_grad_enabled, no_grad

if TYPE_CHECKING:
    from dlcore.tensor import Tensor

__all__ = ["linear_cross_entropy"]

# A block of logits has at most so many elements, or so many rows: the products read all of the weight for each block.
_ELEMENTS, _ROWS = 1 << 25, 256


def _blocks(rows: int, classes: int) -> list[tuple[int, int]]:
    """Blocks of about the same number of rows."""
    count = max(-(-rows // max(_ROWS, _ELEMENTS // max(classes, 1))), 1)
    return [(rows * i // count, rows * (i + 1) // count) for i in range(count)]


def _add_product(a: Tensor, b: Tensor, total: Tensor, first: bool) -> None:
    """total = a @ b, or total += a @ b after the first."""
    if total.strides[1] != 1 and total.strides[0] == 1:
        a, b, total = b.T, a.T, total.T
    if total.dtype is a.dtype:
        _C.matmul_into(a, b, total, not first)
    else:  # sums of bfloat16 products that are kept in float32
        product = _C.cast(_C.matmul(a, b), total.dtype)
        _C.copy_into(product if first else _C.add(total, product), total)


class _Rows:
    """What every block of rows is put through: x (N, K), w (V, K), b (V), target (N)."""

    def __init__(self, target: Tensor, weight: Tensor | None, options: tuple[int, float], logits_dtype: Any) -> None:
        self.target, self.weight, self.options, self.logits_dtype = target, weight, options, logits_dtype

    def losses(
        self, x: Tensor, w: Tensor, b: Tensor | None, dloss: Tensor | None, needs: tuple[bool, bool, bool]
    ) -> tuple[Tensor, list[Tensor | None]]:
        """The rows' losses (N,); where dloss is given, (N,) or one for all, also the gradients of x, w, b as needed."""
        blocks = _blocks(x.shape[0], w.shape[0])
        # Many blocks of bfloat16 are added up in float32.
        sums = _C.float32 if x.dtype is _C.bfloat16 and len(blocks) > 1 else x.dtype
        dx = _C.empty(x.shape, x.dtype, x.device) if needs[0] else None
        dw: Tensor | None = None
        db = _C.zeros(w.shape[:1], sums, w.device) if needs[2] else None

        def block(begin: int, end: int) -> Tensor:
            nonlocal dw
            rows, target = _C.slice(x, 0, begin, end, 1), _C.slice(self.target, 0, begin, end, 1)
            logits = _C.cast(_C.linear(rows, w, b), self.logits_dtype)
            loss, _, statistics = _C.cross_entropy_forward(logits, target, self.weight, *self.options)
            if dloss is None:
                return loss
            share = dloss if dloss.ndim == 0 else _C.slice(dloss, 0, begin, end, 1)
            d = _C.cross_entropy_backward(logits, target, self.weight, statistics, share, *self.options, True)
            d = _C.cast(d, x.dtype)
            if dx is not None:
                _C.matmul_into(d, w, _C.slice(dx, 0, begin, end, 1), False)
            if needs[1]:
                # Only now, behind the logits: what they leave then lies together with other free memory.
                dw = _like(w, sums) if dw is None else dw
                _add_product(d.T, rows, dw, begin == 0)
            if db is not None:
                _C.copy_into(_C.add(db, _C.sum(d, (0,), False)), db)
            return loss

        loss = _C.cat([block(*rows) for rows in blocks], 0)
        return loss, [g if g is None else _C.cast(g, x.dtype) for g in (dx, dw, db)]


def _like(w: Tensor, dtype: Any) -> Tensor:
    """Memory for the gradient of a matrix, lying as it lies."""
    if w.strides[0] == 1 and w.strides[1] != 1:
        return _C.empty((w.shape[1], w.shape[0]), dtype, w.device).T
    return _C.empty(w.shape, dtype, w.device)


class _LinearCrossEntropy(Function):
    twice_differentiable = True

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w: Tensor, b: Tensor | None, rows: _Rows, scale: Tensor | None, reduction: str, needs: Any
    ) -> Tensor:
        early = any(needs) and reduction != "none"
        dloss = None
        if early:
            dloss = ops.ones((), rows.logits_dtype, x.device) if scale is None else scale
        loss, gradients = rows.losses(x, w, b, dloss, needs if early else (False, False, False))
        ctx.save(x, w, *(() if b is None else (b,)), rows=rows, scale=scale, reduction=reduction)
        ctx.gradients = gradients if early else None
        if reduction != "none":
            loss = _C.sum(loss, None, False)
        return _C.cast(loss if scale is None else _C.mul(loss, scale), rows.logits_dtype)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, w, *b = ctx.saved
        # They may be taken as they are, and changed, by whom they are given to; a second pass computes them anew.
        gradients, ctx.gradients = ctx.gradients, None
        needs = ctx.needs_input_grad[:3]
        if is_grad_enabled() or gradients is None:
            dloss = ops.cast(dy, ctx.rows.logits_dtype)
            if ctx.scale is not None:
                dloss = dloss * ctx.scale
            if is_grad_enabled():
                gradients = _differentiable_gradients(ctx.rows, x, w, b, dloss)
            else:
                _, gradients = ctx.rows.losses(x, w, *(b or [None]), dloss, needs)
        elif (factor := dy.item()) != 1:
            _C.scale_tensors([g for g in gradients if g is not None], factor)
        return *gradients, None, None, None, None


def _differentiable_gradients(rows: _Rows, x: Tensor, w: Tensor, b: list[Tensor], dloss: Tensor) -> list[Tensor | None]:
    logits = ops.cast(ops.linear(x, w, b[0] if b else None), rows.logits_dtype)
    d = ops.cast(differentiable_backward(logits, rows.target, rows.weight, dloss, *rows.options), x.dtype)
    return [d @ w, d.T @ x, ops.sum(d, 0) if b else None]


def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Tensor:
    """cross_entropy(linear(input, linear_weight, linear_bias), target), without ever holding all logits.

    For vocabularies: the logits exist a block of rows at a time, at most 128 MiB or 256 rows of them, and where a
    gradient will be asked for it is computed along with the loss. The loss itself has the same bits as that of the two
    operations; under "none" the blocks are computed anew in the backward.

    Args:
        input: (..., K).
        linear_weight: (V, K).
        target: class indices (...) (int64 or int32), or probabilities (..., V); those need all logits after all.
        linear_bias: (V,), or None.
        weight, reduction, ignore_index, label_smoothing: as for `cross_entropy`.

    Raises:
        IndexError: a class index out of range, with its position and value.
        ValueError: shapes that do not match, an unknown reduction, or a smoothing outside of [0, 1].
        TypeError: wrong dtypes.

    Source: Hsu et al., Liger Kernel, 2024 (the gradient in the forward pass, block by block).
    """
    op = "linear_cross_entropy"
    check_reduction(reduction, op)
    check_smoothing(label_smoothing, op)
    if linear_weight.ndim != 2 or input.ndim < 1 or input.shape[-1] != linear_weight.shape[1]:
        raise ValueError(
            f"[{op}] expected input (..., K) and linear_weight (V, K), got {input.shape} and {linear_weight.shape}"
        )
    classes = linear_weight.shape[0]
    soft = target.dtype.is_floating_point
    if target.shape != (*input.shape[:-1], *([classes] if soft else [])):
        raise ValueError(
            f"[{op}] expected class indices of the input's shape without its last axis, or probabilities with "
            f"{classes} in its place, got input {input.shape} and target {target.shape}"
        )
    count = prod(input.shape[:-1])
    if soft:
        logits = ops.reshape(ops.linear(input, linear_weight, linear_bias), (count, classes))
        target = ops.reshape(target, (count, classes))
        loss = cross_entropy(logits, target, weight, ignore_index, reduction, label_smoothing)
        return ops.reshape(loss, input.shape[:-1]) if reduction == "none" else loss
    check_weight(weight, classes, op)
    flat = _C.checked_targets(ops.reshape(target, (-1,)), classes, ignore_index, op)
    x, w, b = lowered(input, linear_weight, linear_bias)
    logits_dtype = _C.float32 if _C.autocast_dtype() is not None and x.dtype is _C.bfloat16 else x.dtype
    scale = None
    if reduction == "mean":
        with no_grad():
            counted = weights_of(flat, weight, ignore_index, _C.float64 if x.dtype is _C.float64 else _C.float32)
            scale = _C.reciprocal(_C.sum(counted, None, False))
    recorded = is_grad_enabled()
    needs = tuple(recorded and t is not None and t.requires_grad for t in (x, w, b))
    rows_of = _Rows(flat, weight, (ignore_index, float(label_smoothing)), logits_dtype)
    x = ops.reshape(x, (count, x.shape[-1]))
    loss = _LinearCrossEntropy.apply(x, w, b, rows_of, scale, reduction, needs)
    return ops.reshape(loss, target.shape) if reduction == "none" else loss
