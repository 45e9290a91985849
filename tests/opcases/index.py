"""Selection along a dimension against NumPy; `x[key]` itself is in tests/ops/test_getitem.py."""

from __future__ import annotations

from typing import Any

import numpy as np

import dlcore as dl
from tests.opcases import Fails, OpCase, Rand, Sample


def index_add(x: Any, dim: int, i: Any, source: Any, alpha: float = 1) -> Any:
    out = np.moveaxis(np.array(x), dim, 0)
    for k, target in enumerate(i):
        out[target] = out[target] + alpha * np.moveaxis(source, dim, 0)[k]
    return np.moveaxis(out, 0, dim)


def rows(n: int, high: int) -> Rand:
    return Rand((n,), "int64", 0, high)


CASES = [
    OpCase(
        "index_select",
        dl.index_select,
        lambda x, dim, i: np.take(x, i, dim),
        [Sample((5, 7), 0, rows(9, 5)), Sample((3, 17, 2), 1, rows(4, 17))],
        exact=True,
        twice=True,
        errors=[
            Fails(
                (2, 3),
                0,
                np.array([2]),
                error=IndexError,
                text="[index] index 2 at position 0 is out of range for axis 0 of size 2",
            )
        ],
        bench={"rows": Sample((50257, 768), 0, rows(1024, 50257))},
        bytes=lambda x, dim, i: 2.0 * 4 * i.size * x.shape[1],
    ),
    OpCase(
        "index_add",
        dl.index_add,
        index_add,
        [Sample((5, 7), 0, rows(9, 5), (9, 7)), Sample((3, 4), 1, rows(6, 4), (3, 6), alpha=0.5)],
        magnitude=lambda x, dim, i, s, alpha=1: 4 * index_add(np.abs(x), dim, i, np.abs(s), alpha),
    ),
]
