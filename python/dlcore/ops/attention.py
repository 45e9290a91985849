"""Scaled dot-product attention, fused: the T x T scores are never stored, forward or backward."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from dlcore import _C, ops
from dlcore.autograd import Function

if TYPE_CHECKING:
    from dlcore.ops.random import Generator
    from dlcore.tensor import Tensor

__all__ = ["scaled_dot_product_attention"]


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
        query: (…, H, Tq, D); any strides over the leading dimensions.
        key, value: (…, G, Tk, D). G is H, or divides H with `enable_gqa`: each key head serves H/G query heads.
        attn_mask: broadcastable to (…, H, Tq, Tk): True where attention is allowed, or floats that are added. It gets
            no gradient.
        dropout_p: probability of dropping an attention weight; the mask is drawn again in the gradient, never stored.
        is_causal: query i sees keys up to i + causal_offset.
        scale: 1/√D by default.
        causal_offset: how many keys precede the first query, as with a cache of earlier keys.

    Returns:
        (…, H, Tq, D). A query whose keys are all masked gives zeros.

    Raises:
        ValueError: shapes that do not fit, heads that do not divide, a mask together with is_causal, dropout_p outside
            [0, 1).
        TypeError: dtypes that differ or are not floating.

    Source: T. Dao et al., "FlashAttention: fast and memory-efficient exact attention with IO-awareness", 2022.
    """
    name = "scaled_dot_product_attention"
    if not query.ndim == key.ndim == value.ndim or query.ndim < 2:
        raise ValueError(
            f"[{name}] query, key and value need the same number of dimensions, two or more, got shapes "
            f"{query.shape}, {key.shape} and {value.shape}"
        )
    if attn_mask is not None and is_causal:
        raise ValueError(f"[{name}] give either attn_mask or is_causal, not both")
    if not 0 <= dropout_p < 1:
        raise ValueError(f"[{name}] expected a probability dropout_p in [0, 1), got {dropout_p}")
    if not enable_gqa and query.ndim >= 3 and query.shape[-3] != key.shape[-3]:
        raise ValueError(
            f"[{name}] query and key have {query.shape[-3]} and {key.shape[-3]} heads; "
            "pass enable_gqa=True to share key heads"
        )
    lead = query.shape[:-3]
    q, k, v = (_four_dimensions(t) for t in (query, key, value))
    if attn_mask is not None:
        attn_mask = _additive(attn_mask, (*query.shape[:-1], key.shape[-2]), q.dtype, name)
    seed, stream = ops.random._stream(generator, name) if dropout_p > 0 else (0, 0)
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None and query.shape[-1] else scale or 0.0
    options = (float(factor), bool(is_causal), int(causal_offset), float(dropout_p), seed, stream)
    y = _Attention.apply(q, k, v, attn_mask, options)
    return y if query.ndim == 4 else ops.reshape(y, (*lead, *y.shape[1:]) if query.ndim > 4 else query.shape)


def _four_dimensions(x: Tensor) -> Tensor:
    if x.ndim == 4:
        return x
    return ops.reshape(x, (-1, *x.shape[-3:]) if x.ndim > 4 else (1,) * (4 - x.ndim) + x.shape)


def _additive(mask: Tensor, shape: tuple[int, ...], dtype: Any, name: str) -> Tensor:
    """The mask as floats to add, in four dimensions with strides of 0 where it is broadcast."""
    if mask.requires_grad:
        raise NotImplementedError(f"[{name}] attn_mask gets no gradient; pass it detached")
    if mask.dtype is _C.bool_:
        mask = ops.where(mask, 0.0, -math.inf)
    elif not mask.dtype.is_floating_point:
        raise TypeError(f"[{name}] expected attn_mask of bool or floating dtype, got {mask.dtype!r}")
    mask = ops.cast(mask, dtype)
    try:
        mask = ops.expand(mask, shape)
    except ValueError:
        raise ValueError(
            f"[{name}] attn_mask of shape {mask.shape} does not broadcast to the scores' shape {shape}"
        ) from None
    return _four_dimensions(mask)


class AttentionMethods:
    __slots__ = ()
