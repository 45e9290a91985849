"""Copies against NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np

import dlcore as dl
from tests.opcases import OpCase, Sample, around_simd_widths

SHAPES = [(), (1,), (2, 3, 4), *around_simd_widths()]


def same(x: Any) -> Any:
    return np.array(x)


# The dtype of a cast is its argument, not its input's: tests/ops/test_copy.py takes every pair.
ELSEWHERE = {"cast": "tests/ops/test_copy.py"}

CASES = [
    OpCase(
        "clone",
        dl.clone,
        same,
        [Sample(s) for s in SHAPES],
        edges=[Sample((0, 3))],
        exact=True,
        twice=True,
        big=[Sample((300, 500))],
        bench={"16m": Sample((4096, 4096))},
        bytes=lambda x: 2.0 * x.nbytes,
    ),
    OpCase(
        "contiguous", dl.contiguous, same, [Sample(s) for s in SHAPES], edges=[Sample((0, 3))], exact=True, twice=True
    ),
]
