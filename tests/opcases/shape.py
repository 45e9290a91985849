"""Views against NumPy's, and sum_to against sums."""

import numpy as np

import dlcore as dl
from tests.opcases import Const, Fails, OpCase, Sample

MOVE = {"exact": True, "twice": True}


def sizes(args):
    return args[0] if len(args) == 1 and isinstance(args[0], (tuple, list)) else args


def flatten(x, start=0, end=-1):
    if x.ndim == 0:
        return x.reshape(1)
    start, end = start % x.ndim, end % x.ndim
    return x.reshape(*x.shape[:start], -1, *x.shape[end + 1 :]) if x.size else x.reshape(-1)


def expand(x, *shape):
    shape = sizes(shape)
    lead = len(shape) - x.ndim
    return np.broadcast_to(x, [x.shape[i - lead] if n == -1 else n for i, n in enumerate(shape)])


def squeeze(x, dim=None):
    return np.squeeze(x, dim) if dim is None or x.shape[dim] == 1 else x


def sum_to(x, shape):
    lead = x.ndim - len(shape)
    axes = tuple(range(lead)) + tuple(i + lead for i, n in enumerate(shape) if n == 1 != x.shape[i + lead])
    return x.sum(axes).reshape(shape)


RESHAPES = [
    Sample((2, 3, 4), 6, 4),
    Sample((2, 3, 4), Const((4, -1))),
    Sample((2, 3, 4), -1),
    Sample((1,), Const(())),
    Sample((), 1, 1),
    Sample((2, 3, 4), 1, 2, 1, 3, 4, 1),
]
COUNTS = "shape (2, 3) has 6 elements, the target (4, 2) has 8"

CASES = [
    OpCase(
        "reshape",
        op=dl.reshape,
        reference=lambda x, *shape: x.reshape(sizes(shape)),
        samples=RESHAPES,
        edges=[Sample((0, 3), 3, 0), Sample((0, 3), Const((-1, 3)))],
        errors=[
            Fails((2, 3), 4, 2, text=f"[reshape] {COUNTS}"),
            Fails((2, 3), -1, -1, text="[reshape] only one size may be -1, got (-1, -1)"),
            Fails((2, 3), -1, 4, text="[reshape] cannot infer the -1 of (-1, 4) from shape (2, 3)"),
            Fails((2, 3), -2, 3, text="[reshape] sizes must not be negative, got (-2, 3)"),
            Fails((0,), -1, 0, text="[reshape] cannot infer the -1"),
        ],
        **MOVE,
    ),
    OpCase(
        "view",
        op=lambda x, *shape: dl.view(dl.contiguous(x), *shape),
        reference=lambda x, *shape: x.reshape(sizes(shape)),
        samples=RESHAPES,
        errors=[Fails((2, 3), 4, 2, text=COUNTS)],
        **MOVE,
    ),
    OpCase(
        "view:of views",
        op=lambda x, shape: dl.view(x.T, shape),
        reference=lambda x, shape: x.T.reshape(shape),
        samples=[Sample((6, 4), Const((2, 2, 6))), Sample((6, 4), Const((4, 3, 2)))],
        errors=[Fails((6, 4), Const((24,)), text="[view] shape (4, 6) with strides (1, 4) cannot be seen as (24,)")],
        same_in_any_layout=True,
        **MOVE,
    ),
    OpCase(
        "flatten",
        op=dl.flatten,
        reference=flatten,
        samples=[Sample((2, 3, 4), *a) for a in ((), (1,), (0, 1), (-2, -1), (1, 1))] + [Sample(())],
        errors=[
            Fails((2, 3), 1, 0, text="[flatten] start_dim 1 comes after end_dim 0 for shape (2, 3)"),
            Fails((2, 3), 2, error=IndexError, text="[flatten] axis 2 is out of range for shape (2, 3)"),
        ],
        **MOVE,
    ),
    OpCase(
        "permute",
        op=dl.permute,
        reference=lambda x, *axes: np.transpose(x, sizes(axes)),
        samples=[Sample((2, 3, 4), 2, 0, 1), Sample((2, 3, 4), Const((-1, 1, -3))), Sample((), Const(()))],
        errors=[
            Fails((2, 3), 0, text="[permute] expected 2 axes for shape (2, 3), got (0,)"),
            Fails((2, 3), 0, 0, text="[permute] axes must not repeat, got (0, 0)"),
            Fails((2, 3), 0, 2, error=IndexError, text="[permute] axis 2 is out of range for shape (2, 3)"),
        ],
        **MOVE,
    ),
    OpCase(
        "transpose",
        op=dl.transpose,
        reference=np.swapaxes,
        samples=[Sample((2, 3, 4), 0, 2), Sample((2, 3, 4), -1, -2), Sample((2, 3), 1, 1)],
        errors=[Fails((2, 3), 0, 2, error=IndexError, text="[transpose] axis 2 is out of range for shape (2, 3)")],
        **MOVE,
    ),
    OpCase(
        "movedim",
        op=dl.movedim,
        reference=np.moveaxis,
        samples=[Sample((2, 3, 4), 0, 2), Sample((2, 3, 4), -1, 0), Sample((2, 3, 4), 1, 1)],
        errors=[Fails((2, 3), 2, 0, error=IndexError, text="[movedim] axis 2 is out of range for shape (2, 3)")],
        **MOVE,
    ),
    OpCase(
        "expand",
        op=dl.expand,
        reference=expand,
        samples=[
            Sample((3, 1), 3, 4),
            Sample((3, 1), Const((2, -1, 5))),
            Sample((), 2, 3),
            Sample((4,), 4),
            Sample((1, 3, 1), 2, 3, 2),
        ],
        edges=[Sample((1, 3), 0, 3)],
        errors=[
            Fails((3, 2), 3, 4, text="[expand] shape (3, 2) does not expand to (3, 4): dimension 1 has size 2"),
            Fails((3, 2), 2, text="[expand] shape (3, 2) has more dimensions than the target (2,)"),
            Fails((3, 1), 3, -2, text="[expand] shape (3, 1) does not expand to (3, -2)"),
        ],
        **MOVE,
    ),
    OpCase(
        "broadcast_to",
        op=dl.broadcast_to,
        reference=np.broadcast_to,
        samples=[Sample((3, 1), Const((2, 3, 4))), Sample((4,), Const((4,)))],
        errors=[Fails((3,), Const((4,)), text="[expand] shape (3,) does not expand to (4,)")],
        **MOVE,
    ),
    OpCase(
        "squeeze",
        op=dl.squeeze,
        reference=squeeze,
        samples=[Sample((1, 3, 1)), Sample((1, 3, 1), 0), Sample((1, 3, 1), -1), Sample((1, 3, 1), 1), Sample((1, 1))],
        errors=[Fails((1, 3), 2, error=IndexError, text="[squeeze] axis 2 is out of range for shape (1, 3)")],
        **MOVE,
    ),
    OpCase(
        "unsqueeze",
        op=dl.unsqueeze,
        reference=np.expand_dims,
        samples=[Sample((2, 3), d) for d in (0, 1, 2, -1, -3)] + [Sample((), 0)],
        errors=[
            Fails((2, 3), 3, error=IndexError, text="[unsqueeze] axis 3 is out of range for shape (2, 3)"),
            Fails((1,) * 8, 0, text="[shape] at most 8 dimensions are supported"),
        ],
        **MOVE,
    ),
    OpCase(
        "sum_to",
        op=dl.sum_to,
        reference=sum_to,
        magnitude=lambda x, shape: sum_to(np.abs(x), shape),
        samples=[
            Sample((2, 3, 4), Const((2, 3, 4))),
            Sample((2, 3, 4), Const((3, 1))),
            Sample((2, 3, 4), Const((1, 3, 1))),
            Sample((2, 3, 4), Const(())),
            Sample((5, 1), Const((1, 1))),
        ],
        same_in_any_layout=False,
        twice=True,
    ),
]
