"""Sorting against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

import dlcore as dl
from tests.opcases import Fails, OpCase, Rand, Sample, around_simd_widths


def order(x: Any, dim: int, descending: bool) -> Any:
    """Stable in both directions, NaN last going up and first going down."""
    if not descending:
        return np.argsort(x, dim, kind="stable")
    turned = np.flip(x, dim)
    return np.flip(x.shape[dim] - 1 - np.argsort(turned, dim, kind="stable"), dim)


def sort(x: Any, dim: int = -1, descending: bool = False, **_: Any) -> Any:
    i = order(x, dim, descending)
    return np.take_along_axis(x, i, dim), i


def topk(x: Any, k: int, dim: int = -1, largest: bool = True, **_: Any) -> Any:
    i = np.take(order(x, dim, largest), np.arange(k), dim)
    return np.take_along_axis(x, i, dim), i


def unique(x: Any, return_inverse: bool = False, return_counts: bool = False) -> Any:
    values, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
    out = [values]
    if return_inverse:
        out.append(inverse.reshape(x.shape))
    if return_counts:
        out.append(counts)
    return tuple(out) if len(out) > 1 else values


ROWS = [Sample(s) for s in around_simd_widths()]
INTS = Sample(Rand((4, 33), "int64", 0, 9))

CASES = [
    OpCase(
        "sort",
        dl.sort,
        sort,
        [*ROWS, Sample((4, 5, 3), dim=1), Sample((3, 40), descending=True), INTS],
        exact=True,
        edges=[Sample((0, 3)), Sample(np.array([np.nan, 1, -np.inf, np.inf, 0, np.nan], np.float32))],
        big=[Sample((70000,))],
        errors=[Fails((2, 3), dim=2, error=IndexError, text="[sort] axis 2 is out of range for shape (2, 3)")],
        bench={"1m": Sample((1 << 20,)), "rows": Sample((1024, 1024))},
        bytes=lambda x: 4.0 * x.nbytes,
    ),
    OpCase(
        "argsort",
        dl.argsort,
        lambda x, dim=-1, descending=False: order(x, dim, descending),
        [*ROWS, Sample((4, 5), dim=0, descending=True), INTS],
        exact=True,
        gradient=False,
    ),
    OpCase(
        "topk",
        dl.topk,
        topk,
        [Sample((3, 50), 5), Sample((3, 50), 5, largest=False), Sample((7, 4), 3, dim=0), Sample((3, 5), 5)],
        exact=True,
        edges=[Sample((3, 5), 0)],
        bench={"logits": Sample((16, 50257), 50)},
        bytes=lambda x, k: 1.0 * x.nbytes,
        errors=[Fails((2, 3), 4, text="[topk]")],
    ),
    OpCase(
        "searchsorted",
        dl.searchsorted,
        lambda s, v, right=False: np.searchsorted(s, v, "right" if right else "left"),
        [
            Sample(np.arange(0, 20, 2, dtype=np.float32), Rand((7, 3), low=-2, high=22)),
            Sample(np.arange(5, dtype=np.int64), Rand((9,), "int64", 0, 6), right=True),
        ],
        exact=True,
        gradient=False,
    ),
    OpCase(
        "bucketize",
        dl.bucketize,
        lambda x, b, right=False: np.searchsorted(b, x, "right" if right else "left"),
        [Sample(Rand((7, 3), low=-2, high=22), np.arange(0, 20, 2, dtype=np.float32))],
        exact=True,
        gradient=False,
    ),
    OpCase(
        "unique",
        dl.unique,
        unique,
        [
            INTS,
            Sample(Rand((4, 9), "int64", 0, 5), return_inverse=True),
            Sample(Rand((40,), "int64", 0, 5), return_inverse=True, return_counts=True),
        ],
        exact=True,
        gradient=False,
    ),
]
