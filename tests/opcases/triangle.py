"""Triangles and diagonals against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

import dlcore as dl
from tests.opcases import Fails, OpCase, Sample


def case(name: str, reference: Any, *samples: Sample, **more: Any) -> OpCase:
    return OpCase(name, getattr(dl, name), reference, list(samples), exact=True, twice=True, **more)


MATRICES = [
    Sample((5, 5)),
    Sample((3, 17), diagonal=2),
    Sample((17, 3), diagonal=-4),
    Sample((2, 4, 6), diagonal=1),
    Sample((2, 3), diagonal=9),
]

CASES = [
    case(
        "tril",
        lambda x, diagonal=0: np.tril(x, diagonal),
        *MATRICES,
        edges=[Sample((0, 3))],
        errors=[Fails((3,), text="[tril]")],
    ),
    case(
        "triu",
        lambda x, diagonal=0: np.triu(x, diagonal),
        *MATRICES,
        edges=[Sample((0, 3))],
        errors=[Fails((3,), text="[triu]")],
    ),
    case(
        "diagonal",
        lambda x, offset=0, dim1=0, dim2=1: np.diagonal(x, offset, dim1, dim2),
        Sample((4, 5)),
        Sample((4, 5), offset=-2),
        Sample((2, 4, 5), offset=1, dim1=1, dim2=2),
    ),
    case(
        "diag",
        lambda x, diagonal=0: np.diag(x, diagonal),
        Sample((4,)),
        Sample((4,), diagonal=-1),
        Sample((4, 5), diagonal=1),
    ),
]
