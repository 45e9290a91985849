"""The attention family against softmax(q kᵀ) v written out in NumPy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import dlcore as dl
from tests.opcases import Eps, Fails, OpCase, Rand, Sample
from tests.opcases.random import philox

NAME = "[scaled_dot_product_attention]"


def scores(q: Any, k: Any, mask: Any, causal: bool, scale: float | None, offset: int) -> Any:
    s = q @ np.swapaxes(k, -1, -2) * (1 / math.sqrt(max(q.shape[-1], 1)) if scale is None else scale)
    if mask is not None:
        s = np.where(mask, s, -np.inf) if mask.dtype == bool else s + mask
    if causal:
        i, j = np.arange(s.shape[-2])[:, None], np.arange(s.shape[-1])
        s = np.where(j <= i + offset, s, -np.inf)
    return s


def softmax(s: Any) -> Any:
    most = s.max(-1, keepdims=True, initial=-np.inf)
    p = np.exp(s - np.where(np.isinf(most), 0, most))
    total = p.sum(-1, keepdims=True)
    return p / np.where(total == 0, 1, total)


def kept(B: int, H: int, Tq: int, Tk: int, p: float) -> Any:
    """1 / (1 - p) for the weights that stream 0 of seed 0 keeps: four keys of a query share a block of Philox."""
    head, i, j = np.ogrid[: B * H, :Tq, :Tk]
    blocks = (head * -(-Tk // 4) + j // 4) * (-(-Tq // 16) * 16) + i
    words = np.take_along_axis(philox(blocks), np.broadcast_to(j % 4, blocks.shape)[None], 0)[0]
    return (words >= round(p * 2**32)).reshape(B, H, Tq, Tk) / (1 - p)


def shared(q: Any, *keys: Any) -> list[Any]:
    """Key heads repeated for the query heads that share them."""
    times = q.shape[-3] // keys[0].shape[-3] if q.ndim >= 3 and keys[0].shape[-3] else 1
    return [np.repeat(t, times, axis=-3) if times > 1 else t for t in keys]


def reference(
    q: Any,
    k: Any,
    v: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    causal_offset: int = 0,
    **_: Any,
) -> Any:
    k, v = shared(q, k, v)
    weights = softmax(scores(q, k, attn_mask, is_causal, scale, causal_offset))
    if dropout_p == 1:
        return np.zeros_like(weights @ v)
    return (weights * kept(*weights.shape, dropout_p) if dropout_p else weights) @ v


def magnitude(q: Any, k: Any, v: Any, attn_mask: Any = None, **kwargs: Any) -> Any:
    """A weight's relative error is its score's absolute one, which the products behind the score measure: the largest
    of its row. The result averages |v| by the weights, whose n additions round as a random walk does, by sqrt(n)."""
    wide, _ = shared(q, k, v)
    size = scores(np.abs(q), np.abs(wide), None, False, kwargs.get("scale"), 0)
    if attn_mask is not None and attn_mask.dtype != bool:
        size = size + np.where(np.isfinite(attn_mask), np.abs(attn_mask), 0)
    relative = 1 + size.max(-1, keepdims=True, initial=0) + math.sqrt(k.shape[-2])
    return relative * reference(q, k, np.abs(v), attn_mask, **kwargs)


def heads(tq: int, tk: int, d: int, h: int = 2, g: int = 2, e: int | None = None, **kwargs: Any) -> Sample:
    return Sample((2, h, tq, d), (2, g, tk, d), (2, g, tk, d if e is None else e), **kwargs)


def fused(q: Any) -> Any:
    """Self-attention over the heads of one projection (B, T, 3, H, D), as views."""
    return dl.scaled_dot_product_attention(*(part.transpose(1, 2) for part in dl.unbind(q, 2)), is_causal=True)


def fused_parts(x: Any) -> list[Any]:
    return [np.moveaxis(x[:, :, part], 1, 2) for part in range(3)]


def learned(q: Any, k: Any, v: Any, bias: Any, **kwargs: Any) -> Any:
    return dl.scaled_dot_product_attention(q, k, v, attn_mask=bias, **kwargs)


EPS = Eps(forward=8, backward=64)
AGREE = f"{NAME} key and value must agree in batch, heads and tokens"
FOUR = [(2, 2, 3, 4)] * 3
NOTHING = np.where(np.eye(4, 5), 0.0, -np.inf).astype(np.float32)
NOTHING[2] = -np.inf

CASES = [
    OpCase(
        "scaled_dot_product_attention",
        dl.scaled_dot_product_attention,
        reference,
        samples=[
            heads(5, 5, 4),
            heads(3, 9, 7, is_causal=True),
            heads(9, 3, 5, is_causal=True),
            heads(2, 9, 8, is_causal=True, causal_offset=7),
            heads(20, 70, 8, is_causal=True, causal_offset=50),
            heads(9, 6, 8, is_causal=True, causal_offset=-3),
            heads(17, 33, 16, e=9),
            heads(65, 66, 17, is_causal=True),
            heads(6, 11, 8, h=4, g=2, enable_gqa=True),
            heads(6, 7, 8, attn_mask=Rand((6, 7), "bool")),
            heads(6, 7, 8, attn_mask=Rand((2, 1, 1, 7), "bool")),
            heads(6, 7, 8, attn_mask=Rand((6, 1), "bool"), is_causal=True),
            heads(6, 7, 8, attn_mask=Rand((2, 1, 6, 7), grad=False)),
            heads(3, 7, 8, attn_mask=Rand((1, 2, 3, 7), grad=False)),
            heads(3, 7, 8, attn_mask=Rand((7,), "bool"), e=5),
            heads(1, 40, 32),
            heads(6, 6, 8, scale=0.5),
            heads(5, 6, 0),
            Sample((5, 4), (7, 4), (7, 3)),
            Sample((3, 5, 4), (3, 7, 4), (3, 7, 4)),
            Sample((2, 2, 3, 5, 4), (2, 2, 3, 7, 4), (2, 2, 3, 7, 4)),
        ],
        edges=[
            heads(0, 4, 4),
            heads(4, 0, 4),
            heads(9, 0, 4, e=3),
            heads(4, 5, 4, attn_mask=np.zeros((4, 5), bool)),
            heads(9, 5, 4, attn_mask=np.zeros((9, 5), bool)),
            heads(4, 5, 4, attn_mask=NOTHING),
            heads(9, 4, 4, attn_mask=np.full((1, 4), -1e30, np.float32)),
            Sample(np.full((1, 1, 9, 4), 50, np.float32), np.full((1, 1, 70, 4), 50, np.float32), (1, 1, 70, 4)),
            Sample(np.full((1, 1, 9, 4), np.nan, np.float32), (1, 1, 70, 4), (1, 1, 70, 4)),
            Sample(np.full((1, 1, 2, 4), np.inf, np.float32), np.ones((1, 1, 7, 4), np.float32), (1, 1, 7, 4)),
        ],
        errors=[
            Fails(
                (2, 2, 3, 4), (2, 2, 3, 5), (2, 2, 3, 5), text=f"{NAME} query and key must agree in batch and features"
            ),
            Fails((2, 2, 3, 4), (2, 2, 3, 4), (2, 2, 5, 4), text=f"{AGREE}, got (2, 2, 3, 4) and (2, 2, 5, 4)"),
            Fails((2, 4, 3, 4), (2, 2, 3, 4), (2, 2, 3, 4), text="have 4 and 2 heads; pass enable_gqa=True"),
            Fails((2, 3, 3, 4), (2, 2, 3, 4), (2, 2, 3, 4), enable_gqa=True, text="must be a multiple of the key's"),
            Fails(*FOUR, dropout_p=1.5, text="probability dropout_p in [0, 1], got 1.5"),
            Fails(*FOUR, attn_mask=Rand((4, 4)), text="does not broadcast to the scores' shape (2, 2, 3, 3)"),
            Fails(*FOUR, attn_mask=Rand((3, 3), "int64"), error=TypeError, text="attn_mask of bool or floating dtype"),
            Fails((4,), (4,), (4,), text="need the same number of dimensions, two or more"),
            Fails((1, 5000), (1, 5000), (1, 5), text=f"{NAME} heads have at most 4096 features"),
            Fails(
                Rand((2, 2, 3, 4)),
                Rand((2, 2, 3, 4), "float64"),
                Rand((2, 2, 3, 4)),
                error=TypeError,
                text="must have one dtype, got float32, float64 and float32",
            ),
        ],
        eps=EPS,
        magnitude=magnitude,
        big=[heads(200, 200, 64, is_causal=True), heads(130, 300, 48, h=4, g=2, enable_gqa=True)],
        bench={
            "nanogpt": Sample((12, 4, 64, 32), (12, 4, 64, 32), (12, 4, 64, 32), is_causal=True),
            "gpt2_256": Sample((4, 12, 256, 64), (4, 12, 256, 64), (4, 12, 256, 64), is_causal=True),
            "gpt2_1024": Sample((4, 12, 1024, 64), (4, 12, 1024, 64), (4, 12, 1024, 64), is_causal=True),
            "gpt2_decode": Sample((1, 12, 1, 64), (1, 12, 1024, 64), (1, 12, 1024, 64)),
        },
        flops=lambda q, k, v, is_causal=False, **_: 4.0 * q.size * k.shape[-2] / (2 if is_causal else 1),
        bytes=lambda q, k, v, **_: 2.0 * q.nbytes + k.nbytes + v.nbytes,
    ),
    OpCase(
        "scaled_dot_product_attention:dropout",
        dl.scaled_dot_product_attention,
        reference,
        samples=[
            heads(9, 11, 8, dropout_p=0.3),
            heads(3, 70, 5, dropout_p=0.5),
            heads(70, 67, 8, dropout_p=0.25, is_causal=True),
            heads(5, 6, 8, h=4, g=2, enable_gqa=True, dropout_p=0.5),
            heads(6, 7, 8, attn_mask=Rand((6, 7), "bool"), dropout_p=0.1),
            heads(6, 7, 8, dropout_p=1.0),
        ],
        eps=EPS,
        magnitude=magnitude,
        big=[heads(200, 200, 64, is_causal=True, dropout_p=0.1)],
    ),
    OpCase(
        "scaled_dot_product_attention:fused",
        fused,
        lambda x: reference(*fused_parts(x), is_causal=True),
        samples=[Sample((2, 7, 3, 2, 5)), Sample((1, 66, 3, 3, 16))],
        eps=EPS,
        magnitude=lambda x: magnitude(*fused_parts(x), is_causal=True),
    ),
    OpCase(
        "scaled_dot_product_attention:learned_mask",
        learned,
        lambda q, k, v, bias, **kwargs: reference(q, k, v, bias, **kwargs),
        samples=[
            Sample((2, 2, 5, 4), (2, 2, 7, 4), (2, 2, 7, 3), (5, 7)),
            Sample((2, 2, 5, 4), (2, 2, 7, 4), (2, 2, 7, 4), (2, 1, 1, 7), is_causal=True, causal_offset=-1),
            Sample((2, 4, 5, 4), (2, 2, 7, 4), (2, 2, 7, 4), (4, 1, 7), enable_gqa=True),
        ],
        eps=EPS,
        magnitude=lambda q, k, v, bias, **kwargs: magnitude(q, k, v, bias, **kwargs),
    ),
]
