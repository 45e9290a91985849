"""Convolutions of sequences and volumes against sums over the kernel's elements, in NumPy float64.

The magnitude is that of opcases/conv.py.
"""

import itertools

import numpy as np

import dlcore as dl
from tests.opcases import Eps, Fails, OpCase, Rand, Sample

EPS = Eps(forward=4, backward=32)


def many(v, n):
    return (v,) * n if isinstance(v, int) else tuple(v)


def sides(padding, dilation, kernel):
    if padding == "valid":
        return [(0, 0)] * len(kernel)
    if padding == "same":
        return [(d * (k - 1) // 2, d * (k - 1) - d * (k - 1) // 2) for d, k in zip(dilation, kernel, strict=True)]
    return [(p, p) for p in many(padding, len(kernel))]


def taps(kernel, out, stride, dilation):
    """For each kernel element: its index and the slices of the padded input that it meets."""
    for at in itertools.product(*map(range, kernel)):
        yield (
            at,
            tuple(
                slice(p * d, p * d + (o - 1) * s + 1, s) for p, d, o, s in zip(at, dilation, out, stride, strict=True)
            ),
        )


def column(b, n):
    return b.reshape(-1, *[1] * n)


def conv(x, w, b=None, stride=1, padding=0, dilation=1, groups=1):
    n = w.ndim - 2
    if x.ndim == n + 1:
        return conv(x[None], w, b, stride, padding, dilation, groups)[0]
    stride, dilation, kernel = many(stride, n), many(dilation, n), w.shape[2:]
    x = np.pad(x, ((0, 0), (0, 0), *sides(padding, dilation, kernel)))
    out = [(m - d * (k - 1) - 1) // s + 1 for m, k, s, d in zip(x.shape[2:], kernel, stride, dilation, strict=True)]
    m, c = len(w) // groups, w.shape[1]
    y = np.zeros((len(x), len(w), *out)) + (0 if b is None else column(b, n))
    for at, place in taps(kernel, out, stride, dilation):
        for g in range(groups):
            part, weights = x[:, g * c : (g + 1) * c][(..., *place)], w[g * m : (g + 1) * m][(..., *at)]
            y[:, g * m : (g + 1) * m] += np.einsum("nc...,oc->no...", part, weights)
    return y


def conv_transpose(x, w, b=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    n = w.ndim - 2
    if x.ndim == n + 1:
        return conv_transpose(x[None], w, b, stride, padding, output_padding, groups, dilation)[0]
    stride, dilation, padding, extra = (many(v, n) for v in (stride, dilation, padding, output_padding))
    kernel, size = w.shape[2:], x.shape[2:]
    full = [
        (m - 1) * s + d * (k - 1) + 1 + e for m, s, d, k, e in zip(size, stride, dilation, kernel, extra, strict=True)
    ]
    c, m = len(w) // groups, w.shape[1]
    y = np.zeros((len(x), groups * m, *full))
    for at, place in taps(kernel, size, stride, dilation):
        for g in range(groups):
            weights = w[g * c : (g + 1) * c][(..., *at)]
            part = np.einsum("nc...,co->no...", x[:, g * c : (g + 1) * c], weights)
            y[:, g * m : (g + 1) * m][(..., *place)] += part
    y = y[(..., *(slice(p, f - p) for p, f in zip(padding, full, strict=True)))]
    return y + (0 if b is None else column(b, n))


def of_terms(convolve, channels):
    """sum |x w| + |b|, times how much longer than 8 the sum is."""

    def magnitude(x, w, b=None, **options):
        terms = np.prod(w.shape[2:]) * channels(w, options.get("groups", 1))
        return convolve(np.abs(x), np.abs(w), None if b is None else np.abs(b), **options) * max(1.0, terms / 8)

    return magnitude


def flops(x, w, b=None, **options):
    return 2.0 * conv(np.zeros((len(x), w.shape[1], *x.shape[2:])), w[:1], **options).size * w.size


def fails(x, w, *rest, text, **kwargs):
    return Fails(x, w, *rest, text=text, **kwargs)


X, W, V, U = (2, 6, 11), (4, 6, 3), (1, 2, 4, 5, 6), (3, 2, 2, 3, 3)

CASES = [
    OpCase(
        "conv1d",
        op=dl.conv1d,
        reference=conv,
        magnitude=of_terms(conv, lambda w, groups: w.shape[1]),
        samples=[
            *(Sample((2, 3, n), (5, 3, 3), (5,), padding=1) for n in (1, 7, 16, 33, 130)),
            Sample((1, 20, 9), (33, 20, 1)),
            Sample((2, 4, 21), (6, 4, 5), stride=2, padding=2),
            Sample((2, 4, 21), (6, 4, 4), (6,), stride=(3,), dilation=(2,)),
            Sample((2, 6, 15), (6, 1, 3), padding=1, groups=6),
            Sample((2, 6, 15), (4, 3, 3), padding=1, groups=2),
            Sample((1, 2, 8), (3, 2, 4), padding="same"),
            Sample((1, 2, 8), (3, 2, 3), padding="same", dilation=3),
            Sample((1, 2, 8), (3, 2, 3), padding="valid"),
            Sample((3, 8), (4, 3, 3), (4,)),
        ],
        edges=[Sample((0, 3, 5), (4, 3, 3), (4,)), Sample((2, 3, 4), (5, 3, 4))],
        errors=[
            fails((6,), W, text="[conv1d] expected x with 3 dimensions (N, C, L), got shape (6,)"),
            fails(X, (4, 6), text="[conv1d] expected weight with 3 dimensions (O, C / groups, K), got shape (4, 6)"),
            fails(
                X, (4, 5, 3), text="[conv1d] expected dimension 1 of weight to be 6, the channels of x, got 5 (x (2,"
            ),
            fails(
                X, W, groups=2, text="[conv1d] expected dimension 1 of weight to be 3, the channels of x over 2 groups"
            ),
            fails(X, W, groups=4, text="[conv1d] groups must divide 6 and 4 channels, got 4"),
            fails(X, W, groups=0, text="[conv1d] groups must be positive, got 0"),
            fails(X, W, (5,), text="[conv1d] expected bias of shape (4,), one number for each channel made, got (5,)"),
            fails(X, W, stride=0, text="[conv1d] stride must be positive, got (0,)"),
            fails(X, W, stride=(1, 2), text="[conv1d] stride must be a number or one in a tuple, got (1, 2)"),
            fails(X, W, dilation=0, text="[conv1d] dilation must be positive, got (0,)"),
            fails(X, W, padding=-1, text="[conv1d] padding must be 0 or more, got -1"),
            fails(X, W, padding="full", text="[conv1d] padding must be 'same', 'valid', or numbers, got 'full'"),
            fails(X, W, padding="same", stride=2, text="[conv1d] padding 'same' needs stride 1, got (2,)"),
            fails(X, (4, 6, 0), text="[conv1d] the kernel must be positive, got (0,)"),
            fails(
                (2, 6, 2),
                W,
                text="[conv1d] the kernel spans 3 in length and does not fit into the input's 2 with padding",
            ),
            fails(X, Rand(W, "float64"), error=TypeError, text="must have one dtype, got float32 and float64"),
            fails([1], W, error=TypeError, text="[conv1d] expected x as a Tensor, got list"),
        ],
        eps=EPS,
        twice=True,
        big=[Sample((4, 40, 300), (80, 40, 3), padding=1)],
        bench={
            "whisper_1": Sample((1, 80, 3000), (384, 80, 3), (384,), padding=1),
            "whisper_2": Sample((1, 384, 3000), (384, 384, 3), (384,), padding=1, stride=2),
        },
        flops=flops,
    ),
    OpCase(
        "conv_transpose1d",
        op=dl.conv_transpose1d,
        reference=conv_transpose,
        magnitude=of_terms(conv_transpose, lambda w, groups: len(w) // groups),
        samples=[
            *(Sample((2, 3, n), (3, 5, 3), (5,)) for n in (1, 7, 33)),
            Sample((2, 4, 9), (4, 6, 4), stride=2, padding=1),
            Sample((2, 4, 9), (4, 6, 3), (6,), stride=2, padding=1, output_padding=1),
            Sample((2, 4, 9), (4, 3, 3), groups=2, dilation=3, output_padding=(2,)),
            Sample((3, 8), (3, 4, 3), (4,)),
        ],
        edges=[Sample((0, 3, 5), (3, 4, 3), (4,))],
        errors=[
            fails((6,), W, text="[conv_transpose1d] expected x with 3 dimensions (N, C, L), got shape (6,)"),
            fails(X, W, text="[conv_transpose1d] expected dimension 0 of weight to be 6, the channels of x, got 4"),
            fails(X, (6, 2, 3), groups=4, text="[conv_transpose1d] groups must divide 6 and 8 channels, got 4"),
            fails(X, (6, 2, 3), (3,), text="[conv_transpose1d] expected bias of shape (2,)"),
            fails(
                X, (6, 2, 3), stride=2, output_padding=2, text="[conv_transpose1d] output_padding must be at least 0"
            ),
            fails(
                (2, 6, 1), (6, 2, 3), padding=2, text="[conv_transpose1d] the result would have -1 elements (x (2, 6"
            ),
        ],
        eps=EPS,
        twice=True,
        big=[Sample((4, 64, 200), (64, 40, 4), stride=2, padding=1)],
        bench={"upsample": Sample((4, 256, 256), (256, 128, 8), stride=4, padding=2)},
        flops=lambda x, w, b=None, **_: 2.0 * x.size * w.shape[1] * w.shape[2],
    ),
    OpCase(
        "conv3d",
        op=dl.conv3d,
        reference=conv,
        magnitude=of_terms(conv, lambda w, groups: w.shape[1]),
        samples=[
            Sample((1, 1, 1, 1, 1), (1, 1, 1, 1, 1)),
            Sample((2, 3, 4, 5, 6), (4, 3, 3, 3, 3), (4,), padding=1),
            Sample((1, 2, 7, 6, 9), (3, 2, 2, 3, 2), stride=(2, 1, 3), padding=(1, 0, 2)),
            Sample((1, 2, 7, 6, 9), (3, 2, 3, 2, 3), (3,), stride=2, dilation=(2, 1, 2), padding=2),
            Sample((2, 4, 3, 4, 5), (6, 2, 2, 2, 2), groups=2, padding=1),
            Sample((1, 3, 3, 4, 5), (3, 1, 3, 3, 3), groups=3, padding=1),
            Sample((1, 2, 4, 5, 6), (3, 2, 2, 3, 4), padding="same"),
            Sample((1, 2, 4, 5, 6), (3, 2, 2, 3, 4), padding="valid"),
            Sample((2, 3, 4, 5), (4, 2, 2, 2, 2), (4,)),
        ],
        edges=[Sample((0, 2, 3, 3, 3), (4, 2, 2, 2, 2), (4,))],
        errors=[
            fails((2, 6, 5), U, text="[conv3d] expected x with 5 dimensions (N, C, D, H, W), got shape (2, 6, 5)"),
            fails(
                V, (3, 2, 2), text="[conv3d] expected weight with 5 dimensions (O, C / groups, KD, KH, KW), got shape"
            ),
            fails(V, (3, 4, 2, 2, 2), text="[conv3d] expected dimension 1 of weight to be 2, the channels of x, got 4"),
            fails(V, U, stride=(1, 2), text="[conv3d] stride must be a number or three numbers, got (1, 2)"),
            fails(
                V, (3, 2, 5, 3, 3), text="[conv3d] the kernel spans 5 in depth and does not fit into the input's 4 with"
            ),
            fails(
                V, U, dilation=3, text="[conv3d] the kernel spans 7 in height and does not fit into the input's 5 with"
            ),
        ],
        eps=EPS,
        twice=True,
        big=[Sample((2, 16, 8, 16, 16), (24, 16, 3, 3, 3), padding=1)],
        bench={"video": Sample((1, 64, 8, 28, 28), (64, 64, 3, 3, 3), padding=1)},
        flops=flops,
    ),
]
