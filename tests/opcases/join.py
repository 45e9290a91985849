"""Joining and splitting against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

import dlcore as dl
from tests.opcases import OpCase, Rand, Sample


def case(name: str, reference: Any, *samples: Sample, **more: Any) -> OpCase:
    return OpCase(name, getattr(dl, name), reference, list(samples), exact=True, twice=True, **more)


def cat(xs: Any, dim: int = 0) -> Any:
    return np.concatenate(xs, dim)


def split(x: Any, size: Any, dim: int = 0) -> Any:
    n = x.shape[dim]
    ends = np.cumsum(size)[:-1] if isinstance(size, tuple) else np.arange(size, n, size)
    return tuple(np.split(x, ends, dim))


def chunk(x: Any, chunks: int, dim: int = 0) -> Any:
    return split(x, -(-x.shape[dim] // chunks), dim)


def pad(x: Any, pad: Any, value: float = 0) -> Any:
    widths = [(0, 0)] * (x.ndim - len(pad) // 2) + [tuple(pad[i : i + 2]) for i in range(len(pad) - 2, -1, -2)]
    return np.pad(x, widths, constant_values=value)


TWO = [Rand((2, 3)), Rand((4, 3))]

CASES = [
    case(
        "cat",
        cat,
        Sample(TWO),
        Sample([Rand((2, 3)), Rand((2, 17)), Rand((2, 1))], dim=1),
        Sample([Rand((5,))]),
        Sample([Rand((2, 3, 4)), Rand((2, 3, 1))], dim=-1),
        edges=[Sample([Rand((0, 3)), Rand((2, 3))])],
        big=[Sample([Rand((300, 200)), Rand((300, 100))], dim=1)],
        bench={"kv": Sample([Rand((12, 1023, 64)), Rand((12, 1, 64))], dim=1)},
        bytes=lambda xs, dim=0: 2.0 * sum(x.nbytes for x in xs),
    ),
    case("concatenate", cat, Sample(TWO)),
    case(
        "stack",
        lambda xs, dim=0: np.stack(xs, dim),
        Sample([Rand((2, 3)), Rand((2, 3))]),
        Sample([Rand((2, 3)), Rand((2, 3))], dim=-1),
        Sample([Rand(()), Rand(())]),
    ),
    case("hstack", lambda xs: np.hstack(xs), Sample([Rand((3,)), Rand((4,))]), Sample([Rand((2, 3)), Rand((2, 4))])),
    case("vstack", lambda xs: np.vstack(xs), Sample([Rand((3,)), Rand((3,))]), Sample(TWO)),
    case("split", split, Sample((7, 3), 3), Sample((2, 9), 4, dim=1), Sample((7, 3), 7)),
    case("chunk", chunk, Sample((7, 3), 3), Sample((2, 9), 4, dim=-1)),
    case("unbind", lambda x, dim=0: tuple(np.moveaxis(x, dim, 0)), Sample((3, 4)), Sample((3, 4), dim=1)),
    case("pad", pad, Sample((3, 4), [1, 2]), Sample((2, 3, 4), [1, 0, 2, 1], value=1.5), Sample((3,), [0, 0])),
]
