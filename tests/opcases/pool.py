"""Pooling against windows taken one by one, in NumPy."""

import math

import numpy as np

import dlcore as dl
from tests.opcases import Const, Eps, Fails, OpCase, Rand, Sample

inf, nan = float("inf"), float("nan")


def pair(v):
    return (v, v) if isinstance(v, int) else tuple(v)


def count(size, kernel, stride, padding, dilation, ceil_mode):
    """Windows along one direction."""
    free = size + 2 * padding - dilation * (kernel - 1) - 1
    n = (math.ceil(free / stride) if ceil_mode else free // stride) + 1
    return n - 1 if ceil_mode and (n - 1) * stride >= size + padding else n


def windows(shape, kernel, stride, padding, dilation, ceil_mode):
    """The output's size, and each output's (i, j, rows inside, columns inside)."""
    out = [count(*of) for of in zip(shape, kernel, stride, padding, dilation, (ceil_mode,) * 2, strict=True)]

    def inside(axis, o):
        at = o * stride[axis] - padding[axis] + np.arange(kernel[axis]) * dilation[axis]
        return at[(at >= 0) & (at < shape[axis])]

    return out, [(i, j, inside(0, i), inside(1, j)) for i in range(out[0]) for j in range(out[1])]


def max_pool2d(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    kernel = pair(kernel_size)
    stride = kernel if stride is None else pair(stride)
    out, places = windows(x.shape[-2:], kernel, stride, pair(padding), pair(dilation), ceil_mode)
    y = np.full((*x.shape[:-2], *out), -inf)
    index = np.full(y.shape, -1, np.int64)
    for i, j, rows, cols in places:
        if len(rows) and len(cols):
            window = x[..., rows[:, None], cols].reshape(*x.shape[:-2], len(rows) * len(cols))
            at = np.argmax(window, -1)  # the first NaN, or else the first largest
            y[..., i, j] = np.take_along_axis(window, at[..., None], -1)[..., 0]
            index[..., i, j] = (rows[:, None] * x.shape[-1] + cols).ravel()[at]
    return (y, index) if return_indices else y


def avg_pool2d(x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None):
    kernel, padding = pair(kernel_size), pair(padding)
    stride = kernel if stride is None else pair(stride)
    out, places = windows(x.shape[-2:], kernel, stride, padding, (1, 1), ceil_mode)
    y = np.zeros((*x.shape[:-2], *out))
    for i, j, rows, cols in places:
        # Of the padding, the elements that a window covers count; those beyond it do not exist.
        ends = [
            min(o * s - p + k, n + p) - (o * s - p)
            for o, s, p, k, n in zip((i, j), stride, padding, kernel, x.shape[-2:], strict=True)
        ]
        size = divisor_override or (ends[0] * ends[1] if count_include_pad else len(rows) * len(cols))
        y[..., i, j] = x[..., rows[:, None], cols].sum((-2, -1)) / size
    return y


def adaptive_avg_pool2d(x, output_size):
    size = pair(output_size)
    h, w = (n if o is None else o for o, n in zip(size, x.shape[-2:], strict=True))
    y = np.zeros((*x.shape[:-2], h, w))
    for i in range(h):
        for j in range(w):
            rows = slice(i * x.shape[-2] // h, -(-(i + 1) * x.shape[-2] // h))
            cols = slice(j * x.shape[-1] // w, -(-(j + 1) * x.shape[-1] // w))
            y[..., i, j] = x[..., rows, cols].mean((-2, -1))
    return y


def of_terms(average):
    """The average of |x|, times how much longer than 8 its sum is: a running sum rounds at every addition."""

    def magnitude(x, size, *rest, **options):
        kernel = pair(size)
        if average is adaptive_avg_pool2d:
            kernel = [-(-n // (o or n)) + 1 for o, n in zip(kernel, x.shape[-2:], strict=True)]
        return average(np.abs(x), size, *rest, **options) * max(1.0, math.prod(kernel) / 8)

    return magnitude


def numpy_pool(reduce):
    """The same work as NumPy users do it: one pass over the plane for every element of the window."""

    def run(x, kernel, stride=None, padding=0):
        stride = stride or kernel
        fill = -inf if reduce is np.maximum else 0
        x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)), constant_values=fill)
        h, w = ((n - kernel) // stride + 1 for n in x.shape[2:])
        y = None
        for p in range(kernel):
            for q in range(kernel):
                part = x[:, :, p : p + (h - 1) * stride + 1 : stride, q : q + (w - 1) * stride + 1 : stride]
                y = part.copy() if y is None else reduce(y, part, out=y)
        return y if reduce is np.maximum else np.divide(y, np.float32(kernel * kernel), out=y)

    return run


def nbytes(x, kernel, stride=None, padding=0):
    return 4.0 * x.size * (1 + 1 / (stride or kernel) ** 2)


# Sizes around the vector widths, odd ones, and every option.
SAMPLES = [
    Sample((1, 1, 1, 1), 1),
    *(Sample((2, 3, n), 2, 1) for n in (3, 5, 8, 9, 16, 17, 18, 33, 34)),
    Sample((2, 3, 7, 9), 2),
    Sample((2, 2, 8, 35), 2),
    Sample((1, 2, 9, 37), 3, 2, 1),
    Sample((2, 1, 6, 70), Const((2, 3)), Const((2, 1)), Const((1, 1))),
    Sample((1, 2, 11, 20), 3, 3),
    Sample((1, 1, 10, 41), Const((5, 4)), Const((4, 3)), Const((2, 1))),
    Sample((3, 5, 5), 5, 1, 2),
    Sample((1, 2, 8, 8), 3, 2, ceil_mode=True),
    Sample((1, 2, 7, 10), 2, 2, 1, ceil_mode=True),
    Sample((1, 1, 5, 6), Const((2, 3)), Const((4, 5)), ceil_mode=True),
    Sample((0, 3, 4, 4), 2),
]
MAX_SAMPLES = [
    Sample((1, 2, 12, 40), 3, 1, 1, 2),
    Sample((1, 2, 12, 20), Const((2, 3)), 2, Const((1, 2)), Const((3, 2))),
    Sample((1, 1, 2, 9), 2, 1, 1, 2),
]
EMPTY_WINDOWS = Sample((1, 1, 1, 9), 2, 1, 1, 2)  # both rows of each window lie outside
BIG = [
    Sample((3, 7, 112, 112), 3, 2, 1),
    Sample((1, 1, 700, 300), 2),
    Sample((1, 2, 3, 40000), Const((2, 3)), Const((1, 2))),
]
BENCH = {
    "resnet50_stem": Sample((8, 64, 112, 112), 3, 2, 1),
    "vgg16_first": Sample((2, 64, 224, 224), 2),
    "lenet": Sample((64, 6, 28, 28), 2),
}
X = (2, 3, 8, 9)


def common_errors(op):
    return [
        Fails((8, 9), 2, text=f"[{op}] expected x with dimensions (N, C, H, W) or (C, H, W), got shape (8, 9)"),
        Fails(
            (2, 3, 0, 9), 2, text=f"[{op}] expected planes with at least one row and one column, got shape (2, 3, 0, 9)"
        ),
        Fails(X, 0, text=f"[{op}] the kernel size must be positive and below 2^31, got (0, 0)"),
        Fails(X, Const((2, 2, 2)), text=f"[{op}] kernel_size must be a number or a pair of numbers, got (2, 2, 2)"),
        Fails(X, 2.5, text=f"[{op}] kernel_size must be a number or a pair of numbers, got 2.5"),
        Fails(X, 2, 0, text=f"[{op}] stride must be positive and below 2^31, got (0, 0)"),
        Fails(X, 2, 1, -1, text=f"[{op}] padding must be 0 or more and below 2^31, got (-1, -1)"),
        Fails(
            X,
            2,
            1,
            Const((1, 2)),
            text=f"[{op}] padding must be at most half the kernel, got padding (1, 2) and kernel size (2, 2)",
        ),
        Fails(
            X,
            Const((9, 2)),
            text=f"[{op}] the kernel's height 9 with dilation 1 does not fit into the input's 8 with padding 0",
        ),
        Fails(
            X, Const((1, 2**21)), text=f"[{op}] a window must span at most 2^20 elements, got kernel size (1, 2097152)"
        ),
        Fails(Rand(X, "int64"), 2, error=TypeError, text=f"[{op}] expected a floating dtype, got int64"),
    ]


CASES = [
    OpCase(
        "max_pool2d",
        op=dl.max_pool2d,
        reference=max_pool2d,
        samples=SAMPLES + MAX_SAMPLES,
        edges=[
            Sample(np.full((1, 1, 5, 20), -inf), 3, 2, 1),
            EMPTY_WINDOWS,
            Sample(np.where(np.arange(100).reshape(1, 5, 20) % 7 == 0, nan, 1.0), 2, 1),
            Sample(np.array([[[nan, inf, -inf, 3.0], [1.0, 2.0, nan, nan]]]), 2, 1, 1),
            Sample((1, 2, 3, 4), 2, 2**30),
        ],
        errors=[
            *common_errors("max_pool2d"),
            Fails(X, 2, dilation=0, text="[max_pool2d] dilation must be positive and below 2^31, got (0, 0)"),
            Fails(X, 2, dilation=9, text="[max_pool2d] the kernel's height 2 with dilation 9 does not fit"),
        ],
        exact=True,
        twice=True,
        big=BIG,
        bench=BENCH,
        numpy=numpy_pool(np.maximum),
        bytes=nbytes,
    ),
    OpCase(
        "max_pool2d:indices",
        op=lambda x, *args, **kw: dl.max_pool2d(x, *args, **kw, return_indices=True),
        reference=lambda x, *args, **kw: max_pool2d(x, *args, **kw, return_indices=True),
        samples=SAMPLES + MAX_SAMPLES,
        edges=[
            Sample(np.full((1, 1, 5, 20), -inf), 3, 2, 1),
            EMPTY_WINDOWS,
            Sample(np.zeros((1, 2, 9, 37)), 3, 2, 1),  # ties: the first in row-major order
            Sample(np.round(np.random.default_rng(1).standard_normal((2, 2, 12, 40))), Const((3, 4)), Const((1, 2)), 1),
            Sample(np.where(np.arange(100).reshape(1, 5, 20) % 7 == 0, nan, 1.0), 2, 1),
        ],
        exact=True,
        output_dtype=lambda x, *rest: (x.dtype.name, "int64"),
        big=BIG,
    ),
    OpCase(
        "avg_pool2d",
        op=dl.avg_pool2d,
        reference=avg_pool2d,
        magnitude=of_terms(avg_pool2d),
        samples=[
            *SAMPLES,
            Sample((1, 2, 9, 37), 3, 2, 1, count_include_pad=False),
            Sample((1, 2, 7, 10), 2, 2, 1, ceil_mode=True, count_include_pad=False),
            Sample((1, 2, 7, 10), 3, 1, 1, divisor_override=5),
        ],
        edges=[
            Sample(np.where(np.arange(100).reshape(1, 5, 20) == 50, inf, 1.0), 3, 1, 1),
            Sample(np.where(np.arange(100).reshape(1, 5, 20) == 50, nan, 1.0), 3, 2, 1),
            Sample((1, 2, 3, 4), 2, 2**30),
        ],
        errors=[
            *common_errors("avg_pool2d"),
            Fails(
                X,
                2,
                divisor_override=0,
                text="[avg_pool2d] divisor_override must be a whole number other than 0, got 0",
            ),
        ],
        eps=Eps(forward=6, backward=16),
        twice=True,
        big=BIG,
        bench=BENCH,
        numpy=numpy_pool(np.add),
        bytes=nbytes,
    ),
    OpCase(
        "adaptive_avg_pool2d",
        op=dl.adaptive_avg_pool2d,
        reference=adaptive_avg_pool2d,
        magnitude=of_terms(adaptive_avg_pool2d),
        samples=[
            Sample((1, 1, 1, 1), 1),
            Sample((2, 3, 7, 7), 1),
            Sample((2, 3, 5, 7), Const((2, 3))),
            Sample((1, 2, 9, 40), Const((4, 17))),
            Sample((2, 3, 4), Const((5, 9))),
            Sample((1, 2, 6, 33), Const((1, 4))),
            Sample((1, 2, 6, 33), Const((3, 1))),
            Sample((1, 2, 6, 5), Const((None, 2))),
            Sample((0, 2, 6, 5), 2),
        ],
        edges=[Sample(np.where(np.arange(100).reshape(1, 5, 20) == 50, inf, 1.0), Const((2, 6)))],
        errors=[
            Fails(
                (8, 9),
                2,
                text="[adaptive_avg_pool2d] expected x with dimensions (N, C, H, W) or (C, H, W), got shape (8, 9)",
            ),
            Fails(X, 0, text="[adaptive_avg_pool2d] the output size must be positive and below 2^31, got (0, 0)"),
            Fails(
                X,
                Const((2, 2, 2)),
                text="[adaptive_avg_pool2d] output_size must be a number or a pair of numbers, got (2, 2, 2)",
            ),
            Fails((2, 3, 4, 0), 2, text="[adaptive_avg_pool2d] expected planes with at least one row and one column"),
            Fails(
                Rand(X, "int32"), 2, error=TypeError, text="[adaptive_avg_pool2d] expected a floating dtype, got int32"
            ),
        ],
        eps=Eps(forward=6, backward=16),
        twice=True,
        big=[Sample((5, 60, 28, 28), 7), Sample((4, 300, 7, 7), 1), Sample((1, 1, 20, 20000), Const((3, 7)))],
        bench={"resnet50_head": Sample((32, 2048, 7, 7), 1)},
        numpy=lambda x, size: x.mean((2, 3), keepdims=True),
        bytes=lambda x, size: x.nbytes,
    ),
]
