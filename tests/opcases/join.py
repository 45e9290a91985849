"""Joining, splitting and padding: exact copies of what NumPy makes."""

import numpy as np

import dlcore as dl
from tests.opcases import Const, Fails, OpCase, Rand, Sample

MOVE = {"exact": True, "twice": True}


def rands(*shapes, dtype="float32"):
    return [Rand(s, dtype) for s in shapes]


def split(x, sizes, dim=0):
    return np.split(x, range(sizes, x.shape[dim], sizes) if isinstance(sizes, int) else np.cumsum(sizes)[:-1], dim)


def chunk(x, chunks, dim=0):
    return split(x, -(-x.shape[dim] // chunks), dim)


def pad(x, widths, mode="constant", value=None):
    """Also cuts, where widths are negative."""
    pairs = [(0, 0)] * (x.ndim - len(widths) // 2) + list(zip(widths[0::2], widths[1::2], strict=True))[::-1]
    inner = x[tuple(slice(max(-a, 0), n + min(b, 0)) for (a, b), n in zip(pairs, x.shape, strict=True))]
    options = {"constant_values": value or 0} if mode == "constant" else {}
    return np.pad(inner, [(max(a, 0), max(b, 0)) for a, b in pairs], NUMPY_MODES.get(mode, mode), **options)


NUMPY_MODES = {"replicate": "edge", "circular": "wrap"}
MODES = ("reflect", "replicate", "circular")


def promoted(xs, dim=0):
    names = [x.dtype for x in xs]
    result = names[0]
    for name in names[1:]:
        result = dl._C.promote_types(result, name)
    return result.name


CASES = [
    OpCase(
        "cat",
        op=dl.cat,
        reference=np.concatenate,
        samples=[Sample(rands((3, 4), (2, 4), (5, 4)), 0), Sample(rands((3, 4), (3, 1), (3, 7)), 1)]
        + [Sample(rands((2, n, 3), (2, 1, 3), (2, n, 3)), dim) for n in (1, 8, 17) for dim in (1, -2)]
        + [Sample(rands((2, 3, n), (2, 3, 5)), -1) for n in (1, 7, 65)]
        + [Sample(rands((3,), (1,), (4,))), Sample(rands((3, 4)), 1)],
        edges=[Sample(rands((3, 0), (3, 2)), 1), Sample(rands((0,), (0,))), Sample(rands((2, 0), (3, 0)))],
        errors=[
            Fails([], text="[cat] expected at least one tensor, got none"),
            Fails(
                rands((3, 4), (3, 5)),
                text="got shapes (3, 4) (input 0) and (3, 5) (input 1): dimension 1 has sizes 4 and 5",
            ),
            Fails(rands((3, 4), (3, 4), (3,)), text="(3, 4) (input 0) and (3,) (input 2)"),
            Fails(rands((), ()), text="[cat] 0-dimensional tensors have no dimension to join along; use stack"),
            Fails(rands((3,)), 1, error=IndexError, text="[cat] axis 1 is out of range for shape (3,)"),
            Fails((3,), error=TypeError, text="[cat] expected a sequence of tensors, got Tensor"),
            Fails([Rand((3,)), 2], error=TypeError, text="[cat] expected tensors, got int as input 1"),
        ],
        big=[Sample(rands((300, 200), (300, 100)), 1), Sample(rands((300, 200), (100, 200)), 0)],
        bench={
            "rows": Sample(rands(*[(1024, 768)] * 8), 0),
            "columns": Sample(rands(*[(1024, 768)] * 8), 1),
            "kv_cache": Sample(rands((1, 12, 1000, 64), (1, 12, 1, 64)), 2),
            "many_small": Sample(rands(*[(3,)] * 1000)),
        },
        bytes=lambda xs, dim=0: 2 * sum(x.nbytes for x in xs),
        **MOVE,
    ),
    OpCase(
        "cat:promotion",
        op=dl.cat,
        reference=lambda xs, dim=0: np.concatenate([x.astype(np.float64) for x in xs], dim),
        samples=[
            Sample([Rand((3,)), Rand((2,), "int64")]),
            Sample([Rand((3,), "bool"), Rand((2,))]),
            Sample([Rand((2,), "uint8"), Rand((3,)), Rand((2,), "int32")]),
        ],
        output_dtype=promoted,
        **MOVE,
    ),
    OpCase("concatenate", op=dl.concatenate, reference=np.concatenate, samples=[Sample(rands((3, 4), (2, 4)))], **MOVE),
    OpCase(
        "stack",
        op=dl.stack,
        reference=np.stack,
        samples=[Sample(rands((3, 4), (3, 4), (3, 4)), dim) for dim in (0, 1, 2, -1, -3)]
        + [Sample(rands((), ())), Sample(rands((5,)), 1)],
        edges=[Sample(rands((0, 2), (0, 2)), 1)],
        errors=[
            Fails(
                rands((3,), (4,)), text="[stack] all tensors must have one shape, got (3,) (input 0) and (4,) (input 1)"
            ),
            Fails([], text="[stack] expected at least one tensor, got none"),
            Fails(
                rands((3,)), 2, error=IndexError, text="[stack] dimension 2 is out of range for tensors of shape (3,)"
            ),
            Fails([Rand((3,)), Const(None)], error=TypeError, text="[stack] expected tensors, got NoneType as input 1"),
        ],
        bench={"batch": Sample(rands(*[(1024, 768)] * 8), 0), "last": Sample(rands(*[(1024, 768)] * 8), 2)},
        bytes=lambda xs, dim=0: 2 * sum(x.nbytes for x in xs),
        **MOVE,
    ),
    OpCase(
        "split",
        op=dl.split,
        reference=split,
        samples=[
            Sample((7, 6), 3),
            Sample((7, 6), 2, 1),
            Sample((7, 6), 9),
            Sample((7, 6), Const([3, 0, 4])),
            Sample((2, 6, 3), Const((1, 5)), -2),
        ],
        errors=[
            Fails((7,), 0, text="[split] split_size must be positive, got 0"),
            Fails((7,), Const([3, 3]), text="add up to 7, the size of dimension 0 of shape (7,), got [3, 3]"),
            Fails((7,), Const([8, -1]), text="[split] sizes must not be negative"),
            Fails((7,), 2, 1, error=IndexError, text="[split] axis 1 is out of range for shape (7,)"),
            Fails((), 2, error=IndexError, text="[split] axis 0 is out of range for shape ()"),
        ],
        **MOVE,
    ),
    OpCase(
        "chunk",
        op=dl.chunk,
        reference=chunk,
        samples=[Sample((7, 6), 3), Sample((7, 6), 2, 1), Sample((7, 6), 9), Sample((2, 6, 3), 3, -2), Sample((7,), 1)],
        errors=[
            Fails((7,), 0, text="[chunk] chunks must be positive, got 0"),
            Fails((7,), 2, 3, error=IndexError, text="[chunk] axis 3 is out of range"),
        ],
        **MOVE,
    ),
    OpCase(
        "unbind",
        op=dl.unbind,
        reference=lambda x, dim=0: [np.take(x, i, dim) for i in range(x.shape[dim])],
        samples=[Sample((3, 4, 5), dim) for dim in (0, 1, -1)] + [Sample((4,))],
        errors=[Fails((), error=IndexError, text="[unbind] axis 0 is out of range for shape ()")],
        **MOVE,
    ),
    OpCase(
        "hstack",
        op=dl.hstack,
        reference=np.hstack,
        samples=[Sample(rands((3,), (2,))), Sample(rands((3, 2), (3, 4))), Sample(rands((), (), ()))],
        errors=[Fails((3,), error=TypeError, text="[hstack] expected a sequence of tensors, got Tensor")],
        **MOVE,
    ),
    OpCase(
        "vstack",
        op=dl.vstack,
        reference=np.vstack,
        samples=[Sample(rands((3,), (3,))), Sample(rands((3, 2), (1, 2), (2,))), Sample(rands((), ()))],
        errors=[Fails((3,), error=TypeError, text="[vstack] expected a sequence of tensors, got Tensor")],
        **MOVE,
    ),
    OpCase(
        "pad",
        op=dl.pad,
        reference=pad,
        samples=[
            Sample((5, 6, 7), Const((1, 2))),
            Sample((5, 6, 7), Const((1, 2, 3, 0)), "constant", 2),
            Sample((5, 6, 7), Const((0, -1, 2, 3, -1, -2)), value=-1),
            Sample((5, 6, 7), Const((-2, 5))),
            Sample((5, 6), Const(())),
            Sample((9,), Const((0, 17)), value=3),
        ],
        edges=[
            Sample((2,), Const((1, 1)), value=np.inf),
            Sample((0, 2), Const((0, 0, 1, 1))),
            Sample((4,), Const((-2, -2))),
        ],
        errors=[
            Fails((3,), Const((1,)), text="[pad] expected up to 1 pairs (before, after), last dimension first"),
            Fails((3,), Const((1, 1, 1, 1)), text="for shape (3,), got [1, 1, 1, 1]"),
            Fails(
                (3,), Const((1, 1)), "same", text="[pad] mode must be 'constant', 'reflect', 'replicate' or 'circular'"
            ),
            Fails((3,), Const((-2, -2)), text="[pad] -2 before and -2 after do not fit dimension 0 of shape (3,)"),
        ],
        big=[Sample((20, 60, 60), Const((1, 1, 1, 1)))],
        bench={"images": Sample((32, 64, 56, 56), Const((1, 1, 1, 1)))},
        bytes=lambda x, widths: 2 * x.nbytes,
        **MOVE,
    ),
    OpCase(
        "pad:mode",
        op=dl.pad,
        reference=pad,
        samples=[
            *(Sample((2, 3, n), Const((2, 1)), mode) for mode in MODES for n in (3, 8, 17)),
            *(Sample((2, 3, 5, 4), Const((1, 3, 2, 0)), mode) for mode in MODES),
            *(Sample((2, 3, 4, 5, 4), Const((1, 0, 2, 3, 1, 1)), mode) for mode in MODES),
            Sample((1, 2, 3), Const((9, 20)), "replicate"),
            Sample((1, 2, 3), Const((3, 3)), "circular"),
            Sample((2, 3, 6, 5), Const((0, -1, -2, 0)), "reflect"),
            Sample((2, 3, 6, 5), Const((2, -1, 0, 1)), "replicate"),
        ],
        edges=[Sample((0, 2, 5), Const((1, 1)), "reflect"), Sample((1, 1, 1), Const((0, 0)), "reflect")],
        errors=[
            Fails(
                (1, 2, 3),
                Const((3, 0)),
                "reflect",
                text="[pad] mode 'reflect' can add at most 2 on each side of dimension 2 of shape (1, 2, 3), got 3 "
                "before and 0 after",
            ),
            Fails((1, 2, 3), Const((0, 4)), "circular", text="[pad] mode 'circular' can add at most 3 on each side"),
            Fails((1, 2, 0), Const((0, 4)), "replicate", text="[pad] mode 'replicate' can add at most 0 on each side"),
            Fails((1, 2, 3), Const((1, 1)), "reflect", 2, text="[pad] mode 'reflect' takes no value, got 2"),
        ],
        big=[Sample((20, 6, 60, 60), Const((1, 1, 1, 1)), "reflect")],
        bench={"images": Sample((32, 64, 56, 56), Const((1, 1, 1, 1)), "reflect")},
        bytes=lambda x, *a: 2 * x.nbytes,
        **MOVE,
    ),
]
