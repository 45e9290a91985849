"""Gather and scatter against loops over NumPy indices."""

from __future__ import annotations

from typing import Any

import numpy as np

import dlcore as dl
from tests.opcases import Fails, OpCase, Rand, Sample


def index(shape: tuple[int, ...], n: int) -> Rand:
    return Rand(shape, "int64", 0, n)


def gather(x: Any, dim: int, i: Any) -> Any:
    out = np.empty(i.shape, x.dtype)
    for at in np.ndindex(i.shape):
        source = list(at)
        source[dim] = i[at]
        out[at] = x[tuple(source)]
    return out


def scatter(x: Any, dim: int, i: Any, src: Any, add: bool = False) -> Any:
    out = np.array(x)
    for at in np.ndindex(i.shape):
        target = list(at)
        target[dim] = i[at]
        value = src[at] if np.ndim(src) else src
        out[tuple(target)] = out[tuple(target)] + value if add else value
    return out


DISTINCT = np.array([[0, 2, 4], [1, 3, 0]])

CASES = [
    OpCase(
        "gather",
        dl.gather,
        gather,
        [
            Sample((5, 7), 1, index((5, 4), 7)),
            Sample((5, 7), 0, index((9, 7), 5)),
            Sample((3, 4, 5), -1, index((2, 4, 6), 5)),
        ],
        exact=True,
        twice=True,
        errors=[
            Fails((2, 3), 1, np.array([[3]]), error=IndexError, text="[gather]"),
            Fails((2, 3), 1, np.array([0]), text="[gather]"),
        ],
        bench={"tokens": Sample((512, 50257), 1, index((512, 1), 50257))},
        bytes=lambda x, dim, i: 12.0 * i.size,
    ),
    OpCase(
        "take_along_dim",
        dl.take_along_dim,
        lambda x, i, dim: np.take_along_axis(x, i, dim),
        [Sample((5, 7), index((5, 7), 7), 1)],
        exact=True,
        twice=True,
    ),
    OpCase(
        "scatter",
        dl.scatter,
        scatter,
        [Sample((2, 5), 1, DISTINCT, (2, 3)), Sample((2, 5), 1, DISTINCT, 1.5)],
        exact=True,
        errors=[Fails((2, 3), 1, np.array([[3]]), 1.0, error=IndexError, text="[scatter]")],
    ),
    OpCase(
        "scatter_add",
        dl.scatter_add,
        lambda x, dim, i, src: scatter(x, dim, i, src, add=True),
        [Sample((2, 5), 1, index((2, 9), 5), (2, 9)), Sample((5, 3), 0, index((8, 3), 5), (8, 3))],
        magnitude=lambda x, dim, i, src: 4 * scatter(np.abs(x), dim, i, np.abs(src), add=True),
    ),
]
