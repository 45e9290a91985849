"""Scaled dot-product attention, fused: the T x T scores are never stored, forward or backward."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from dlcore import _C, ops
from dlcore.amp import lowered
from dlcore.autograd import Function
from dlcore.state import is_grad_enabled

if TYPE_CHECKING:
    from dlcore.ops.random import Generator
    from dlcore.tensor import Tensor

__all__ = ["scaled_dot_product_attention"]

NAME = "scaled_dot_product_attention"


class _Attention(Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, options: tuple[Any, ...]) -> Tensor:
        y, lse = _C.attention_forward(q, k, v, mask, *options)
        ctx.save(q, k, v, y, lse, *(() if mask is None else (mask,)), options=options)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        q, k, v, y, lse, *mask = ctx.saved
        dq, dk, dv = _C.attention_backward(q, k, v, mask[0] if mask else None, y, lse, dy, *ctx.options)
        return dq, dk, dv, None, None


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    causal_offset: int = 0,
    generator: Generator | None = None,
) -> Tensor:
    """softmax(scale · query keyᵀ + mask) value, tile by tile with an online softmax: O(T) memory.

    Args:
        query: (…, H, Tq, D). Any strides over the leading dimensions: heads of a fused projection are not copied.
        key, value: (…, G, Tk, D) and (…, G, Tk, E). G is H, or divides H with `enable_gqa`: each key head serves H/G
            query heads.
        attn_mask: broadcastable to (…, H, Tq, Tk): True where attention is allowed, or floats that are added. Where
            the floats require a gradient the scores are formed whole, by single operations.
        dropout_p: probability of dropping an attention weight; the mask is drawn again in the gradient, never stored.
        is_causal: query i sees keys up to i + causal_offset, and of those the ones that `attn_mask` allows.
        scale: 1/√D by default.
        causal_offset: how many keys precede the first query, as with a cache of earlier keys: Tk - Tq.

    Returns:
        (…, H, Tq, E). A query whose keys are all masked gives zeros, and gets zero gradients.

    Raises:
        ValueError: shapes that do not fit, heads that do not divide or have more than 4096 features, dropout_p outside
            [0, 1].
        TypeError: dtypes that differ or are not floating.

    Source: T. Dao et al., "FlashAttention: fast and memory-efficient exact attention with IO-awareness", 2022.
    """
    if not query.ndim == key.ndim == value.ndim or query.ndim < 2:
        raise ValueError(
            f"[{NAME}] query, key and value need the same number of dimensions, two or more, got shapes "
            f"{query.shape}, {key.shape} and {value.shape}"
        )
    if not 0 <= dropout_p <= 1:
        raise ValueError(f"[{NAME}] expected a probability dropout_p in [0, 1], got {dropout_p}")
    if not enable_gqa and query.ndim >= 3 and query.shape[-3] != key.shape[-3]:
        raise ValueError(
            f"[{NAME}] query and key have {query.shape[-3]} and {key.shape[-3]} heads; "
            "pass enable_gqa=True to share key heads"
        )
    query, key, value = lowered(query, key, value)
    lead = query.shape[:-3]
    q, k, v = (_four_dimensions(t) for t in (query, key, value))
    mask = None
    if attn_mask is not None:
        mask = _broadcast_mask(attn_mask, (*query.shape[:-1], key.shape[-2]), q.dtype)
    factor = float(scale) if scale is not None else 1 / math.sqrt(max(query.shape[-1], 1))
    if mask is not None and mask.requires_grad and is_grad_enabled():
        y = _composite(q, k, v, mask, dropout_p, causal_offset if is_causal else None, factor, generator)
    else:
        # With p = 1 nothing is kept: zeros, whatever the weights are.
        p = float(dropout_p) if dropout_p < 1 else 0.0
        seed, stream = ops.random._stream(generator, NAME) if p > 0 else (0, 0)
        y = _Attention.apply(q, k, v, mask, (factor, bool(is_causal), int(causal_offset), p, seed, stream))
        y = ops.dropout(y, 1.0) if dropout_p == 1 else y
    return (
        y if query.ndim == 4 else ops.reshape(y, (*lead, *y.shape[1:]) if query.ndim > 4 else y.shape[4 - query.ndim :])
    )


def _four_dimensions(x: Tensor) -> Tensor:
    if x.ndim == 4:
        return x
    return ops.reshape(x, (-1, *x.shape[-3:]) if x.ndim > 4 else (1,) * (4 - x.ndim) + x.shape)


def _broadcast_mask(mask: Tensor, shape: tuple[int, ...], dtype: Any) -> Tensor:
    """The mask in four dimensions, with strides of 0 where it is broadcast: bools, or floats of the query's dtype."""
    if mask.dtype is not _C.bool_:
        if not mask.dtype.is_floating_point:
            raise TypeError(f"[{NAME}] expected attn_mask of bool or floating dtype, got {mask.dtype!r}")
        mask = ops.cast(mask, dtype)
    try:
        mask = ops.expand(mask, shape)
    except ValueError:
        raise ValueError(
            f"[{NAME}] attn_mask of shape {mask.shape} does not broadcast to the scores' shape {shape}"
        ) from None
    return _four_dimensions(mask)


def _composite(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor,
    p: float,
    offset: int | None,
    scale: float,
    generator: Generator | None,
) -> Tensor:
    """The same by single operations, through which the mask gets a gradient. Holds (B, H, Tq, Tk) scores."""
    shared = q.shape[1] // max(k.shape[1], 1)
    if shared > 1:
        k, v = (ops.reshape(_repeated(x, shared), (x.shape[0], -1, *x.shape[2:])) for x in (k, v))
    scores = ops.matmul(q * scale, k.transpose(2, 3)) + mask
    if offset is not None:
        visible = ops.arange(k.shape[2]).unsqueeze(0) <= ops.arange(offset, offset + q.shape[2]).unsqueeze(1)
        scores = ops.where(visible, scores, -math.inf)
    # A query without keys: the softmax of nothing but -inf is NaN, here it is 0.
    empty = ops.amax(scores.detach(), -1, keepdim=True) == -math.inf
    weights = ops.where(empty, 0.0, ops.softmax(ops.where(empty, 0.0, scores), -1))
    return ops.matmul(ops.dropout(weights, p, generator=generator), v)


def _repeated(x: Tensor, times: int) -> Tensor:
    B, G, T, D = x.shape
    return ops.expand(ops.unsqueeze(x, 2), (B, G, times, T, D))


class AttentionMethods:
    __slots__ = ()
