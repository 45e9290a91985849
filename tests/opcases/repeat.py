"""The same elements again, turned round or shifted."""

import numpy as np

import dlcore as dl
from tests.opcases import Const, Fails, OpCase, Rand, Sample

MOVE = {"exact": True, "twice": True}


def roll(x, shifts, dims=None):
    return np.roll(x, shifts, dims)


CASES = [
    OpCase(
        "flip",
        op=dl.flip,
        reference=lambda x, *dims: np.flip(x, dims[0] if dims and isinstance(dims[0], tuple) else dims or None),
        samples=[Sample((3, 4, 5), *d) for d in ((0,), (1, -1), (0, 1, 2), ())] + [Sample((3, 4), Const((0, 1)))],
        edges=[Sample((0, 3), 0), Sample(())],
        errors=[
            Fails((3, 4), 2, error=IndexError, text="[flip] axis 2 is out of range for shape (3, 4)"),
            Fails((3, 4), 0, -2, text="[flip] dimensions must not repeat, got [0, -2]"),
        ],
        **MOVE,
    ),
    OpCase(
        "roll",
        op=dl.roll,
        reference=roll,
        samples=[
            Sample((3, 4), 5),
            Sample((3, 4), 1, 0),
            Sample((3, 4), -1, -1),
            Sample((3, 4), Const((2, -1, 9)), Const((0, 1, 0))),
            Sample((3, 4), 0, 1),
        ],
        edges=[Sample((0, 3), 1, 0)],
        errors=[
            Fails((3, 4), Const((1, 2)), 0, text="[roll] expected one shift for each of dims [0], got [1, 2]"),
            Fails((3, 4), Const((1, 2)), text="[roll] expected one shift where no dims are given, got [1, 2]"),
            Fails((3, 4), 1, 2, error=IndexError, text="[roll] axis 2 is out of range for shape (3, 4)"),
        ],
        bench={"activations": Sample((1024, 768), 5, 1)},
        **MOVE,
    ),
    OpCase(
        "repeat",
        op=dl.repeat,
        reference=lambda x, *sizes: np.tile(x, sizes[0] if isinstance(sizes[0], tuple) else sizes),
        samples=[
            Sample((3, 4), 2, 3),
            Sample((3, 4), 2, 1, 3, 1),
            Sample((3, 4), Const((1, 1))),
            Sample((), 3),
            Sample((2, 1, 1, 1, 1, 1, 1, 2), 2, 1, 1, 3, 1, 1, 1, 2),
        ],
        edges=[Sample((3, 4), 0, 2), Sample((3, 0), 2, 2)],
        errors=[
            Fails((3, 4), 2, text="[repeat] expected at least 2 sizes for shape (3, 4), got [2]"),
            Fails((3, 4), 2, -1, text="[repeat] sizes must not be negative, got [2, -1]"),
        ],
        **MOVE,
    ),
    OpCase(
        "tile",
        op=dl.tile,
        reference=lambda x, *reps: np.tile(x, reps[0] if isinstance(reps[0], tuple) else reps),
        samples=[Sample((3, 4), 2), Sample((3, 4), Const((2, 3))), Sample((3, 4), 2, 1, 3)],
        errors=[Fails((3, 4), -2, text="[tile] reps must not be negative, got [-2]")],
        bench={"activations": Sample((1024, 768), 4, 3)},
        **MOVE,
    ),
    OpCase(
        "repeat_interleave",
        op=dl.repeat_interleave,
        reference=np.repeat,
        samples=[
            Sample((3, 4), 3),
            Sample((3, 4), 2, 0),
            Sample((3, 4), 2, -1),
            Sample((3, 4), np.array([2, 0, 1]), 0),
            Sample((3, 4), np.array([2, 0, 1, 1]), 1),
        ],
        edges=[Sample((3, 4), 0, 1), Sample((0, 4), 2, 0)],
        errors=[
            Fails((3, 4), -1, 0, text="[repeat_interleave] repeats must not be negative, got -1"),
            Fails((3, 4), 1.5, 0, error=TypeError, text="[repeat_interleave] repeats must be integers, got float64"),
            Fails((3, 4), Rand((2,), "int64"), 0, text="expected one number, or 3 for dimension 0 of shape (3, 4)"),
            Fails((3, 4), 2, 2, error=IndexError, text="[repeat_interleave] axis 2 is out of range"),
        ],
        bench={"heads": Sample((8, 2, 1024, 64), 4, 1)},
        **MOVE,
    ),
]
