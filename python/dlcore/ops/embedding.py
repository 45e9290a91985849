"""Table look-ups by class index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dlcore import _C, ops
from dlcore.autograd import Function

if TYPE_CHECKING:
    from dlcore.tensor import Tensor

__all__ = ["embedding", "one_hot"]


class _Embedding(Function):
    twice_differentiable = True
    adds_to = 1

    @staticmethod
    def forward(ctx: Any, indices: Tensor, w: Tensor, padding: int) -> Tensor:
        ctx.save(indices, vocabulary=w.shape[0] if w.ndim else 0, padding=padding)
        return _C.embedding_forward(indices, w)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (indices,) = ctx.saved
        if ctx.into is not None and ctx.into.dtype is dy.dtype is not _C.bfloat16:
            return None, _C.embedding_backward(indices, dy, ctx.vocabulary, ctx.padding, ctx.into), None
        dw = _EmbeddingGradient.apply(indices, dy, ctx.vocabulary, ctx.padding)
        return None, dw if ctx.into is None else ctx.into + dw, None


class _EmbeddingGradient(Function):
    """Adds rows into a table: linear, its own gradient is a look-up again."""

    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, indices: Tensor, dy: Tensor, vocabulary: int, padding: int) -> Tensor:
        ctx.save(indices, padding=padding)
        return _C.embedding_backward(indices, dy, vocabulary, padding)

    @staticmethod
    def backward(ctx: Any, ddw: Tensor) -> Any:
        (indices,) = ctx.saved
        rows = _Embedding.apply(indices, ddw, ctx.padding)
        if ctx.padding >= 0:
            rows = ops.where(ops.unsqueeze(ops.eq(indices, ctx.padding), -1), 0.0, rows)
        return None, rows, None, None


def embedding(indices: Tensor, weight: Tensor, padding_idx: int | None = None) -> Tensor:
    """Rows of `weight` (num_embeddings, embedding_dim) by index: (…) integers give (…, embedding_dim).

    The row `padding_idx` (negative: from the end) takes no gradient. The gradient adds up in the order of the indices,
    so it is the same bits for any number of threads.

    Raises:
        IndexError: an index out of range, with its position and value.
        TypeError: indices that are not int64 or int32.
        ValueError: a weight that is not two-dimensional, or a `padding_idx` outside of it.
    """
    padding = -1
    if padding_idx is not None and weight.ndim == 2:
        n = weight.shape[0]
        if not -n <= padding_idx < n:
            raise ValueError(f"[embedding] padding_idx {padding_idx} is out of range for num_embeddings {n}")
        padding = padding_idx % n
    return _Embedding.apply(indices, weight, padding)


def one_hot(indices: Tensor, num_classes: int = -1) -> Tensor:
    """1 at the index and 0 elsewhere: (…) integers give (…, num_classes) int64. -1: one more than the largest index.

    Raises:
        IndexError: an index out of range, with its position and value.
        TypeError: indices that are not int64 or int32.
        ValueError: no indices to find the number of classes from, or fewer than one class.
    """
    if num_classes == -1:
        if indices.numel() == 0:
            raise ValueError(f"[one_hot] num_classes must be given for no indices, got shape {indices.shape}")
        num_classes = int(_C.amax(indices, None, False).item()) + 1
    elif num_classes < 1:
        raise ValueError(f"[one_hot] num_classes must be positive or -1, got {num_classes}")
    index = _C.checked_classes(indices, num_classes)
    return ops.cast(ops.eq(ops.unsqueeze(index, -1), ops.arange(num_classes, device=index.device)), _C.int64)


class EmbeddingMethods:
    __slots__ = ()
