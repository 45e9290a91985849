"""Boolean masks against NumPy."""

from __future__ import annotations

import numpy as np

import dlcore as dl
from tests.opcases import Fails, OpCase, Rand, Sample

CASES = [
    OpCase(
        "masked_fill",
        dl.masked_fill,
        lambda x, mask, value: np.where(mask, np.asarray(value, x.dtype), x),
        [Sample((5, 17), Rand((5, 17), "bool"), 2.5), Sample((2, 3, 4), Rand((3, 1), "bool"), 3.0)],
        exact=True,
        twice=True,
        errors=[Fails((2, 3), Rand((4,), "bool"), 0.0, text="do not broadcast")],
    ),
    OpCase(
        "masked_select",
        dl.masked_select,
        lambda x, mask: np.broadcast_arrays(x, mask)[0][np.broadcast_arrays(x, mask)[1]],
        [Sample((5, 17), Rand((5, 17), "bool")), Sample((3, 4), Rand((4,), "bool"))],
        exact=True,
        twice=True,
        edges=[Sample((3,), np.zeros(3, bool))],
    ),
    OpCase(
        "nonzero",
        dl.nonzero,
        lambda x: np.argwhere(x),
        [Sample(Rand((5, 17), "bool")), Sample(Rand((3, 4, 5), "int64", 0, 2))],
        exact=True,
        gradient=False,
        edges=[Sample(np.zeros((0, 3), np.float32))],
    ),
]
