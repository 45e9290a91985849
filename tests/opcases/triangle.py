"""Triangles and diagonals of matrices."""

import numpy as np

import dlcore as dl
from tests.opcases import Fails, OpCase, Sample

MOVE = {"exact": True, "twice": True}
OFFSETS = (-9, -1, 0, 2, 9)


def triangle(name, op, reference):
    return OpCase(
        name,
        op=op,
        reference=reference,
        samples=[Sample(s, k) for s in ((4, 6), (6, 4), (2, 3, 5, 5), (17, 65)) for k in OFFSETS] + [Sample((1, 1))],
        edges=[Sample((0, 3)), Sample((2, 3, 0), 1), Sample((3, 3), 2**62), Sample((3, 3), -(2**62))],
        errors=[Fails((3,), text=f"[{name}] expected at least two dimensions, got shape (3,)")],
        big=[Sample((300, 300), 1)],
        bench={"attention": Sample((16, 1024, 1024))},
        bytes=lambda x, k=0: 2 * x.nbytes,
        **MOVE,
    )


CASES = [
    triangle("tril", dl.tril, np.tril),
    triangle("triu", dl.triu, np.triu),
    OpCase(
        "diagonal",
        op=dl.diagonal,
        reference=np.diagonal,
        samples=[Sample((4, 6), k) for k in (-3, 0, 5)] + [Sample((4, 5, 6), 1, -1, 0), Sample((4, 5, 6), -1, 1, 2)],
        edges=[Sample((4, 6), 9), Sample((4, 6), -4), Sample((0, 3))],
        errors=[
            Fails((3, 4), 0, 0, -2, text="[diagonal] the two dimensions must differ, got 0 and -2 for shape (3, 4)"),
            Fails((3, 4), 0, 0, 2, error=IndexError, text="[diagonal] axis 2 is out of range for shape (3, 4)"),
            Fails((3,), error=IndexError, text="[diagonal] axis 1 is out of range for shape (3,)"),
        ],
        **MOVE,
    ),
    OpCase(
        "diag",
        op=dl.diag,
        reference=np.diag,
        samples=[Sample((4, 6), k) for k in (-3, 0, 5)] + [Sample((5,), k) for k in (-2, 0, 3)],
        edges=[Sample((0,), 0), Sample((0,), 2)],
        errors=[Fails((2, 2, 2), text="[diag] expected a vector or a matrix, got shape (2, 2, 2)")],
        **MOVE,
    ),
]
