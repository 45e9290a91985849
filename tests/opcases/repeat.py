"""Repetition and rearrangement against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

import dlcore as dl
from tests.opcases import Const, OpCase, Sample


def case(name: str, reference: Any, *samples: Sample, **more: Any) -> OpCase:
    return OpCase(name, getattr(dl, name), reference, list(samples), exact=True, twice=True, **more)


CASES = [
    case("flip", lambda x, dims: np.flip(x, dims), Sample((3, 4), Const((0,))), Sample((3, 4), Const((0, 1)))),
    case(
        "roll",
        lambda x, shifts, dims=None: np.roll(x, shifts, dims),
        Sample((3, 4), 1),
        Sample((3, 4), Const((1, -2)), Const((0, 1))),
    ),
    case("repeat", lambda x, sizes: np.tile(x, sizes), Sample((3, 4), Const((2, 3))), Sample((3,), Const((2, 2)))),
    case("tile", lambda x, dims: np.tile(x, dims), Sample((3, 4), Const((2,))), Sample((3,), Const((2, 2)))),
    case(
        "repeat_interleave",
        lambda x, repeats, dim=None: np.repeat(x, repeats, dim),
        Sample((3, 4), 2),
        Sample((3, 4), 3, dim=1),
    ),
]
