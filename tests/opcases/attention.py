"""The attention family against softmax(q kᵀ) v written out in NumPy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import dlcore as dl
from tests.opcases import Eps, Fails, OpCase, Rand, Sample

NAME = "[scaled_dot_product_attention]"


def weights(q: Any, k: Any, mask: Any, causal: bool, scale: float | None, offset: int) -> Any:
    s = q @ np.swapaxes(k, -1, -2) * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    if mask is not None:
        s = np.where(mask, s, -np.inf) if mask.dtype == bool else s + mask
    if causal:
        i, j = np.arange(s.shape[-2])[:, None], np.arange(s.shape[-1])
        s = np.where(j <= i + offset, s, -np.inf)
    most = s.max(-1, keepdims=True, initial=-np.inf)
    p = np.exp(s - np.where(np.isinf(most), 0, most))
    total = p.sum(-1, keepdims=True)
    return p / np.where(total == 0, 1, total)


def reference(
    q: Any,
    k: Any,
    v: Any,
    attn_mask: Any = None,
    is_causal: bool = False,
    scale: float | None = None,
    causal_offset: int = 0,
    **_: Any,
) -> Any:
    if k.shape[-3:-2] != q.shape[-3:-2]:
        k, v = (np.repeat(t, q.shape[-3] // t.shape[-3], axis=-3) for t in (k, v))
    return weights(q, k, attn_mask, is_causal, scale, causal_offset) @ v


def magnitude(q: Any, k: Any, v: Any, **kwargs: Any) -> Any:
    """Errors of a weight grow with the size of its score, those of the result with the values it averages."""
    scores = np.abs(q).sum(-1).max() * np.abs(k).max() / math.sqrt(q.shape[-1]) if q.size and k.size else 0.0
    return (1 + scores) * reference(q, k, np.abs(v), **kwargs) + np.abs(v).max(initial=0.0)


def heads(tq: int, tk: int, d: int, h: int = 2, g: int = 2, **kwargs: Any) -> Sample:
    return Sample((2, h, tq, d), (2, g, tk, d), (2, g, tk, d), **kwargs)


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
            heads(17, 33, 16),
            heads(49, 65, 17, is_causal=True),
            heads(6, 11, 8, h=4, g=2, enable_gqa=True),
            heads(6, 7, 8, attn_mask=Rand((6, 7), "bool")),
            heads(6, 7, 8, attn_mask=Rand((2, 1, 6, 7), grad=False)),
            heads(1, 40, 32),
            heads(6, 6, 8, scale=0.5),
            Sample((5, 4), (7, 4), (7, 4)),
            Sample((3, 5, 4), (3, 7, 4), (3, 7, 4)),
            Sample((2, 2, 3, 5, 4), (2, 2, 3, 7, 4), (2, 2, 3, 7, 4)),
        ],
        edges=[
            heads(0, 4, 4),
            heads(4, 0, 4),
            heads(4, 5, 4, attn_mask=np.zeros((4, 5), bool)),
            heads(4, 5, 4, attn_mask=np.where(np.eye(4, 5), 0.0, -np.inf).astype(np.float32)),
        ],
        errors=[
            Fails(
                (2, 2, 3, 4), (2, 2, 3, 5), (2, 2, 3, 5), text=f"{NAME} query and key must agree in batch and features"
            ),
            Fails((2, 2, 3, 4), (2, 2, 3, 4), (2, 2, 5, 4), text=f"{NAME} key and value must have one shape"),
            Fails((2, 4, 3, 4), (2, 2, 3, 4), (2, 2, 3, 4), text="pass enable_gqa=True"),
            Fails((2, 3, 3, 4), (2, 2, 3, 4), (2, 2, 3, 4), enable_gqa=True, text="must be a multiple of the key's"),
            Fails((2, 2, 3, 4), (2, 2, 3, 4), (2, 2, 3, 4), dropout_p=1.0, text="probability dropout_p in [0, 1)"),
            Fails(
                (2, 2, 3, 4),
                (2, 2, 3, 4),
                (2, 2, 3, 4),
                attn_mask=Rand((4, 4)),
                text="does not broadcast to the scores' shape",
            ),
            Fails((2, 2, 3, 4), (2, 2, 3, 4), (2, 2, 3, 4), attn_mask=Rand((3, 3)), is_causal=True, text="not both"),
            Fails((4,), (4,), (4,), text="need the same number of dimensions, two or more"),
            Fails(
                Rand((2, 2, 3, 4)),
                Rand((2, 2, 3, 4), "float64"),
                Rand((2, 2, 3, 4)),
                error=TypeError,
                text="must have one dtype",
            ),
        ],
        eps=Eps(forward=8, backward=64),
        magnitude=magnitude,
        big=[heads(200, 200, 64, is_causal=True), heads(130, 300, 48, h=4, g=2, enable_gqa=True)],
        bench={
            "nanogpt": Sample((12, 4, 64, 32), (12, 4, 64, 32), (12, 4, 64, 32), is_causal=True),
            "gpt2_256": Sample((1, 12, 256, 64), (1, 12, 256, 64), (1, 12, 256, 64), is_causal=True),
            "gpt2_decode": Sample((1, 12, 1, 64), (1, 12, 1024, 64), (1, 12, 1024, 64)),
        },
        flops=lambda q, k, v, is_causal=False, **_: 4.0 * q.size * k.shape[-2] / (2 if is_causal else 1),
        bytes=lambda q, k, v, **_: 2.0 * q.nbytes + k.nbytes + v.nbytes,
    )
]
