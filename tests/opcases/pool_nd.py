"""Pooling of sequences and volumes, and over grids of tiles, against windows taken one by one, in NumPy."""

import itertools
import math

import numpy as np

import dlcore as dl
from tests.opcases import Const, Eps, Fails, OpCase, Rand, Sample
from tests.opcases.pool import count

inf, nan = float("inf"), float("nan")


def many(v, n):
    return (v,) * n if isinstance(v, int) else tuple(v)


def pooled(x, axes, reduce):
    """reduce(x, places) of every window; axes: for each direction the places of each window."""
    y = np.zeros((*x.shape[: -len(axes)], *map(len, axes)))
    for at in itertools.product(*(range(len(a)) for a in axes)):
        y[(..., *at)] = reduce(x, [a[i] for a, i in zip(axes, at, strict=True)], at)
    return y


def taken(x, places):
    return x[(..., *np.ix_(*places))].reshape(*x.shape[: -len(places)], math.prod(map(len, places)))


def max_pool(n):
    def pool(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
        kernel, padding, dilation = many(kernel_size, n), many(padding, n), many(dilation, n)
        stride = kernel if stride is None else many(stride, n)
        options = list(zip(x.shape[-n:], kernel, stride, padding, dilation, strict=True))
        axes = [
            [
                [i for i in range(o * s - p, o * s - p + k * d, d) if 0 <= i < m]
                for o in range(count(m, k, s, p, d, ceil_mode))
            ]
            for m, k, s, p, d in options
        ]
        return largest(x, axes, return_indices)

    return pool


def largest(x, axes, return_indices):
    y = pooled(x, axes, lambda x, places, _: taken(x, places).max(-1, initial=-inf))
    if not return_indices:
        return y
    shape = x.shape[-len(axes) :]

    def first(x, places, _):
        index = np.ravel_multi_index(np.ix_(*places), shape).ravel()
        return index[np.argmax(taken(x, places), -1)]

    return y, pooled(x, axes, first).astype(np.int64)


def avg_pool(n):
    def pool(x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None):
        kernel, padding = many(kernel_size, n), many(padding, n)
        stride = kernel if stride is None else many(stride, n)
        options = list(zip(x.shape[-n:], kernel, stride, padding, strict=True))
        axes = [
            [[i for i in range(o * s - p, o * s - p + k) if 0 <= i < m] for o in range(count(m, k, s, p, 1, ceil_mode))]
            for m, k, s, p in options
        ]

        def average(x, places, at):
            # Of the padding, the elements that a window covers count; those beyond it do not exist.
            ends = [min(o * s - p + k, m + p) - (o * s - p) for o, (m, k, s, p) in zip(at, options, strict=True)]
            inside = math.prod(map(len, places))
            return taken(x, places).sum(-1) / (divisor_override or (math.prod(ends) if count_include_pad else inside))

        return pooled(x, axes, average)

    return pool


def tiles(x, size, n):
    wanted = [m if o is None else o for o, m in zip(many(size, n), x.shape[-n:], strict=True)]
    return [
        [list(range(i * m // o, -(-(i + 1) * m // o))) for i in range(o)]
        for o, m in zip(wanted, x.shape[-n:], strict=True)
    ]


def adaptive_max(n):
    return lambda x, size, return_indices=False: largest(x, tiles(x, size, n), return_indices)


def adaptive_avg(n):
    return lambda x, size: pooled(x, tiles(x, size, n), lambda x, places, _: taken(x, places).mean(-1))


def of_terms(average):
    """The average of |x|, times the roundings of a sum of sums."""
    return lambda x, *args, **options: average(np.abs(x), *args, **options) * 4


def fails(x, *rest, text, **kwargs):
    return Fails(x, *rest, text=text, **kwargs)


LINE, BOX = (2, 3, 9), (1, 2, 5, 6, 7)
LINES = [
    *(Sample((2, 3, n), 3, 2, 1) for n in (3, 8, 17, 33, 70)),
    Sample((2, 3, 9), Const((2,)), Const((2,)), Const((1,))),
    Sample((3, 10), 4, 3, ceil_mode=True),
    Sample((0, 3, 4), 2),
]
BOXES = [
    Sample(BOX, 2),
    Sample(BOX, Const((1, 3, 2)), Const((2, 1, 2)), Const((0, 1, 1))),
    Sample((2, 4, 5, 6), 3, 2, 1),
    Sample(BOX, 2, 2, ceil_mode=True),
    Sample((1, 1, 3, 4, 20), 3, 1, 1),
]
MAX, AVERAGE = {"eps": Eps(forward=0, backward=8), "exact": True, "twice": True}, {"eps": Eps(4, 16), "twice": True}


def windows_errors(name, lines):
    x, shown = (LINE, "(N, C, L) or (C, L)") if lines else (BOX, "(N, C, D, H, W) or (C, D, H, W)")
    one = "one in a tuple" if lines else "three numbers"
    return [
        fails((3,), 2, text=f"[{name}] expected x with dimensions {shown}, got shape (3,)"),
        fails((2, 3, 4, 5, 0) if not lines else (2, 3, 0), 1, text=f"[{name}] expected at least one element"),
        fails(x, 0, text=f"[{name}] kernel_size must be positive, got ("),
        fails(x, 2, 0, text=f"[{name}] stride must be positive, got ("),
        fails(x, 2, 1, -1, text=f"[{name}] padding must be 0 or more, got ("),
        fails(x, 2, 1, 2, text=f"[{name}] padding must be at most half the kernel, got padding ("),
        fails(x, Const((2, 2)), text=f"[{name}] kernel_size must be a number or {one}, got (2, 2)"),
        fails(x, 10, text=f"[{name}] a window that spans 10 does not fit into {x[2]} elements with padding 0 (x {x}"),
        fails(Rand(x, "int64"), 2, error=TypeError, text="expected a floating dtype, got int64"),
        fails("x", 2, error=TypeError, text=f"[{name}] expected a Tensor, got str"),
    ]


CASES = [
    OpCase(
        "max_pool1d",
        op=dl.max_pool1d,
        reference=max_pool(1),
        samples=[*LINES, Sample((1, 2, 20), 3, 1, 1, 3)],
        edges=[Sample(np.array([[[nan, 1, inf, 2, -inf, nan]]]), 3, 1, 1)],
        errors=[
            *windows_errors("max_pool1d", True),
            fails(LINE, 2, 1, 0, 0, text="[max_pool1d] dilation must be positive, got (0,)"),
        ],
        big=[Sample((30, 70, 300), 3, 2, 1)],
        bench={"audio": Sample((16, 64, 4000), 4)},
        **MAX,
    ),
    OpCase(
        "max_pool1d:indices",
        op=dl.max_pool1d,
        reference=max_pool(1),
        samples=[Sample(LINE, 3, 2, 1, return_indices=True), Sample((3, 20), 4, return_indices=True)],
        **MAX,
    ),
    OpCase(
        "max_pool3d",
        op=dl.max_pool3d,
        reference=max_pool(3),
        samples=[*BOXES, Sample((1, 2, 6, 7, 8), 2, 1, 1, Const((2, 1, 3)))],
        edges=[Sample(np.where(np.arange(120).reshape(1, 1, 4, 5, 6) % 50 == 7, nan, 1.0), 2)],
        errors=windows_errors("max_pool3d", False),
        big=[Sample((2, 30, 8, 20, 20), 2)],
        bench={"video": Sample((1, 64, 16, 56, 56), 2)},
        **MAX,
    ),
    OpCase(
        "avg_pool1d",
        op=dl.avg_pool1d,
        reference=avg_pool(1),
        magnitude=of_terms(avg_pool(1)),
        samples=[*LINES, Sample((2, 3, 9), 3, 2, 1, count_include_pad=False)],
        errors=windows_errors("avg_pool1d", True),
        big=[Sample((30, 70, 300), 3, 2, 1)],
        bench={"audio": Sample((16, 64, 4000), 4)},
        **AVERAGE,
    ),
    OpCase(
        "avg_pool3d",
        op=dl.avg_pool3d,
        reference=avg_pool(3),
        magnitude=of_terms(avg_pool(3)),
        samples=[
            *BOXES,
            Sample(BOX, 3, 2, 1, ceil_mode=True, count_include_pad=False),
            Sample(BOX, 3, 2, 1, divisor_override=5),
        ],
        errors=[
            *windows_errors("avg_pool3d", False),
            fails(BOX, 2, divisor_override=0, text="divisor_override must be a whole number other than 0, got 0"),
        ],
        big=[Sample((2, 30, 8, 20, 20), 2)],
        bench={"video": Sample((1, 64, 16, 56, 56), 2)},
        **AVERAGE,
    ),
    OpCase(
        "adaptive_avg_pool1d",
        op=dl.adaptive_avg_pool1d,
        reference=adaptive_avg(1),
        magnitude=of_terms(adaptive_avg(1)),
        samples=[Sample((2, 3, 20), 1), Sample((2, 3, 9), 4), Sample((3, 7), Const((5,)))],
        errors=[
            fails(LINE, 0, text="[adaptive_avg_pool1d] output_size must be positive, got (0,)"),
            fails((3,), 2, text="[adaptive_avg_pool1d] expected x with dimensions (N, C, L) or (C, L), got shape (3,)"),
        ],
        big=[Sample((30, 70, 300), 7)],
        bench={"global": Sample((16, 256, 1000), 1)},
        **AVERAGE,
    ),
    OpCase(
        "adaptive_avg_pool3d",
        op=dl.adaptive_avg_pool3d,
        reference=adaptive_avg(3),
        magnitude=of_terms(adaptive_avg(3)),
        samples=[Sample(BOX, 1), Sample(BOX, Const((2, None, 3))), Sample((2, 4, 5, 6), 3)],
        errors=[fails(BOX, Const((1, 2)), text="[adaptive_avg_pool3d] output_size must be a number or three numbers")],
        big=[Sample((2, 30, 8, 20, 20), 3)],
        bench={"global": Sample((2, 256, 8, 14, 14), 1)},
        **AVERAGE,
    ),
    OpCase(
        "adaptive_max_pool1d",
        op=dl.adaptive_max_pool1d,
        reference=adaptive_max(1),
        samples=[Sample((2, 3, 20), 1), Sample((2, 3, 9), 4), Sample((3, 7), 5), Sample((2, 3, 9), 4, True)],
        errors=[fails(LINE, 0, text="[adaptive_max_pool1d] output_size must be positive, got (0,)")],
        big=[Sample((30, 70, 300), 7)],
        bench={"global": Sample((16, 256, 1000), 1)},
        **MAX,
    ),
    OpCase(
        "adaptive_max_pool2d",
        op=dl.adaptive_max_pool2d,
        reference=adaptive_max(2),
        samples=[
            Sample((2, 3, 8, 6), Const((4, 3))),
            Sample((2, 3, 8, 7), Const((3, 5))),
            Sample((3, 5, 6), Const((None, 4))),
            Sample((1, 2, 5, 4), 7),
            Sample((2, 3, 8, 7), Const((3, 5)), True),
            Sample((2, 3, 6, 4), 2, True),
        ],
        edges=[Sample(np.where(np.arange(30).reshape(1, 1, 5, 6) % 11 == 7, nan, 1.0), 2)],
        errors=[
            fails(
                (5, 6), 2, text="[adaptive_max_pool2d] expected x with dimensions (N, C, H, W) or (C, H, W), got shape"
            ),
            fails((2, 5, 6), 0, text="[adaptive_max_pool2d] output_size must be positive, got (0, 0)"),
        ],
        big=[Sample((5, 60, 28, 28), 5)],
        bench={"global": Sample((4, 2048, 7, 7), 1)},
        **MAX,
    ),
    OpCase(
        "adaptive_max_pool3d",
        op=dl.adaptive_max_pool3d,
        reference=adaptive_max(3),
        samples=[Sample(BOX, 1), Sample(BOX, Const((2, None, 3))), Sample((2, 4, 5, 6), 3)],
        errors=[fails(BOX, -1, text="[adaptive_max_pool3d] output_size must be positive, got (-1, -1, -1)")],
        big=[Sample((2, 30, 8, 20, 20), 3)],
        bench={"global": Sample((2, 256, 8, 14, 14), 1)},
        **MAX,
    ),
]
