"""Convolutions against sums over the kernel's elements, in NumPy float64.

Each addition of a running sum rounds by at most eps * |partial sum|. Over K terms of one size the partial sums add up
to K / 2 times the sum of |x w|: that is the magnitude here, in units that allow 4 up to K = 8.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

import dlcore as dl
from tests.opcases import Eps, Fails, OpCase, Rand, Sample

inf, nan = float("inf"), float("nan")
EPS = Eps(forward=4, backward=32)


def pair(v):
    return (v, v) if isinstance(v, int) else tuple(v)


def sides(padding, stride, dilation, kernel):
    """((top, bottom), (left, right))."""
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding == "same":
        return tuple((d * (k - 1) // 2, d * (k - 1) - d * (k - 1) // 2) for d, k in zip(dilation, kernel, strict=True))
    return tuple((p, p) for p in pair(padding))


def taps(kernel, out, stride, dilation):
    """For each kernel element: its index and the slice of the padded plane that it meets."""
    for p in range(kernel[0]):
        for q in range(kernel[1]):
            rows = slice(p * dilation[0], p * dilation[0] + (out[0] - 1) * stride[0] + 1, stride[0])
            cols = slice(q * dilation[1], q * dilation[1] + (out[1] - 1) * stride[1] + 1, stride[1])
            yield p, q, rows, cols


def conv2d(x, w, b=None, stride=1, padding=0, dilation=1, groups=1):
    if x.ndim == 3:
        return conv2d(x[None], w, b, stride, padding, dilation, groups)[0]
    stride, dilation, kernel = pair(stride), pair(dilation), w.shape[2:]
    x = np.pad(x, ((0, 0), (0, 0), *sides(padding, stride, dilation, kernel)))
    out = [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(x.shape[2:], kernel, stride, dilation, strict=True)]
    n, o, m, c = len(x), len(w), len(w) // groups, w.shape[1]
    y = np.zeros((n, o, *out)) + (0 if b is None else b[:, None, None])
    for p, q, rows, cols in taps(kernel, out, stride, dilation):
        for g in range(groups):
            part = x[:, g * c : (g + 1) * c, rows, cols]
            y[:, g * m : (g + 1) * m] += np.einsum("nchw,oc->nohw", part, w[g * m : (g + 1) * m, :, p, q])
    return y


def conv_transpose2d(x, w, b=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    if x.ndim == 3:
        return conv_transpose2d(x[None], w, b, stride, padding, output_padding, groups, dilation)[0]
    stride, dilation, padding, extra = pair(stride), pair(dilation), pair(padding), pair(output_padding)
    kernel, size = w.shape[2:], x.shape[2:]
    full = [
        (n - 1) * s + d * (k - 1) + 1 + e for n, s, d, k, e in zip(size, stride, dilation, kernel, extra, strict=True)
    ]
    c, m = len(w) // groups, w.shape[1]
    y = np.zeros((len(x), groups * m, *full))
    for p, q, rows, cols in taps(kernel, size, stride, dilation):
        for g in range(groups):
            part = np.einsum("nchw,co->nohw", x[:, g * c : (g + 1) * c], w[g * c : (g + 1) * c, :, p, q])
            y[:, g * m : (g + 1) * m, rows, cols] += part
    y = y[:, :, padding[0] : full[0] - padding[0], padding[1] : full[1] - padding[1]]
    return y + (0 if b is None else b[:, None, None])


def of_terms(convolve, channels):
    """sum |x w| + |b|, times how much longer than 8 the sum is."""

    def magnitude(x, w, b=None, **options):
        terms = w.shape[2] * w.shape[3] * channels(w, options.get("groups", 1))
        return convolve(np.abs(x), np.abs(w), None if b is None else np.abs(b), **options) * max(1.0, terms / 8)

    return magnitude


def im2col(x, w, b=None, stride=1, padding=0, dilation=1, groups=1):
    """The same work as NumPy users do it: one big matrix of windows and one matrix product per group."""
    stride, dilation, kernel = pair(stride), pair(dilation), w.shape[2:]
    x = np.pad(x, ((0, 0), (0, 0), *sides(padding, stride, dilation, kernel)))
    span = tuple(d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True))
    windows = sliding_window_view(x, span, (2, 3))[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]
    n, _, oh, ow = windows.shape[:4]
    c, m = w.shape[1], len(w) // groups
    columns = windows.transpose(1, 4, 5, 0, 2, 3).reshape(groups, c * kernel[0] * kernel[1], n * oh * ow)
    y = np.matmul(w.reshape(groups, m, -1), columns).reshape(len(w), n, oh, ow).transpose(1, 0, 2, 3)
    return np.ascontiguousarray(y if b is None else y + b[:, None, None])


def outputs(x, w, stride=1, padding=0, dilation=1, **_):
    stride, dilation = pair(stride), pair(dilation)
    both = [sum(p) for p in sides(padding, stride, dilation, w.shape[2:])]
    return [
        (n + p - d * (k - 1) - 1) // s + 1
        for n, p, d, k, s in zip(x.shape[2:], both, dilation, w.shape[2:], stride, strict=True)
    ]


def flops(x, w, b=None, **options):
    return 2.0 * len(x) * w.size * np.prod(outputs(x, w, **options))


def nbytes(x, w, b=None, **options):
    return 4.0 * (x.size + w.size + len(x) * len(w) * np.prod(outputs(x, w, **options)))


def layer(n, c, size, o, kernel, stride=1, padding=0, groups=1):
    return Sample((n, c, size, size), (o, c // groups, kernel, kernel), stride=stride, padding=padding, groups=groups)


X, W = (2, 6, 9, 11), (4, 6, 3, 3)

CASES = [
    OpCase(
        "conv2d",
        op=dl.conv2d,
        reference=conv2d,
        magnitude=of_terms(conv2d, lambda w, groups: w.shape[1]),
        samples=[
            Sample((1, 1, 1, 1), (1, 1, 1, 1)),
            Sample((2, 3, 5, 7), (4, 3, 1, 1), (4,)),
            Sample((2, 3, 8, 33), (4, 3, 3, 3), padding=1),
            Sample((1, 9, 6, 6), (17, 9, 3, 3), (17,), padding=(0, 1)),
            Sample((2, 33, 5, 4), (35, 33, 3, 2), padding=1),
            Sample((1, 40, 4, 4), (70, 40, 1, 1), (70,)),
            Sample((3, 7, 12, 11), (5, 7, 1, 1), (5,)),  # a product with each image
            Sample((3, 2, 7, 7), (9, 2, 5, 5), padding=2),
            Sample((2, 3, 13, 12), (5, 3, 3, 3), stride=2, padding=1),
            Sample((1, 4, 12, 9), (34, 4, 3, 4), (34,), stride=(3, 2), padding=(2, 1)),
            Sample((1, 20, 9, 9), (40, 20, 1, 1), stride=2),
            Sample((2, 3, 14, 10), (5, 3, 3, 2), dilation=(2, 3), padding=(3, 1)),
            Sample((1, 2, 15, 15), (36, 2, 3, 3), stride=2, dilation=2, padding=2),
            Sample((1, 2, 12, 12), (3, 2, 2, 2), stride=(2, 4), dilation=(4, 6), padding=1),
            Sample((2, 6, 7, 8), (6, 1, 3, 3), (6,), padding=1, groups=6),
            Sample((1, 3, 11, 8), (6, 1, 3, 5), stride=2, padding=(1, 2), groups=3),
            Sample((2, 8, 6, 6), (4, 4, 3, 3), padding=1, groups=2),
            Sample((1, 40, 5, 6), (80, 20, 3, 3), (80,), padding=1, groups=2),
            Sample((1, 2, 8, 6), (3, 2, 4, 2), padding="same"),
            Sample((1, 2, 8, 6), (3, 2, 2, 3), padding="same", dilation=3),
            Sample((1, 2, 4, 5), (3, 2, 2, 3), padding="valid"),
            Sample((1, 1, 1, 1), (2, 1, 3, 3), (2,), padding=1),
            Sample((1, 1, 1, 1), (2, 1, 3, 3), padding=3, stride=2),
            Sample((1, 1, 2, 40), (1, 1, 2, 25), padding=(0, 7)),
            Sample((3, 5, 6), (4, 3, 3, 3), (4,), padding=1),
            Sample((0, 3, 5, 5), (4, 3, 3, 3), (4,), padding=1),
        ],
        edges=[
            Sample((2, 0, 4, 4), (3, 0, 3, 3), (3,)),
            Sample((2, 3, 4, 4), (0, 3, 3, 3)),
            Sample((40, 3, 1, 1), (4, 3, 1, 1)),
            Sample((1, 1, 1, 300), (1, 1, 1, 2), dilation=120, padding=(0, 60)),
            Sample((1, 4, 4, 4), (2, 4, 3, 3), stride=2**30, padding=1),
            Sample(
                np.array([[[[inf, 1, 2], [3, nan, 1], [1, 2, -inf]]]], np.float32), np.ones((2, 1, 1, 1), np.float32)
            ),
            Sample(np.where(np.arange(150).reshape(1, 1, 10, 15) == 77, inf, 1.0), np.ones((1, 1, 3, 3)), padding=1),
            Sample(np.full((1, 2, 5, 5), 2.0**100), np.full((3, 2, 3, 3), 2.0**20)),
        ],
        errors=[
            Fails((6, 9), W, text="[conv2d] expected x with 4 dimensions (N, C, H, W), got shape (6, 9)"),
            Fails(
                X,
                (4, 6, 3),
                text="[conv2d] expected weight with 4 dimensions (O, C / groups, KH, KW), got shape (4, 6, 3)",
            ),
            Fails(
                X,
                (4, 5, 3, 3),
                text="[conv2d] expected dimension 1 of weight to be 6, the channels of x, got 5 (x (2, 6, 9, 11)",
            ),
            Fails(
                X,
                W,
                groups=2,
                text="[conv2d] expected dimension 1 of weight to be 3, the channels of x over 2 groups, got 6",
            ),
            Fails(
                X,
                W,
                groups=4,
                text="[conv2d] groups must divide the channels of x, got groups 4 and 6 channels (x (2, 6, 9, 11))",
            ),
            Fails(
                X,
                (4, 2, 3, 3),
                groups=3,
                text="[conv2d] groups must divide the channels made, got groups 3 and 4 channels",
            ),
            Fails(X, W, groups=0, text="[conv2d] groups must be positive and below 2^31, got 0"),
            Fails(X, W, (5,), text="[conv2d] expected bias of shape (4,), one number for each channel made, got (5,)"),
            Fails(
                X, W, (4, 1), text="[conv2d] expected bias of shape (4,), one number for each channel made, got (4, 1)"
            ),
            Fails(X, W, stride=0, text="[conv2d] stride must be positive and below 2^31, got (0, 0)"),
            Fails(X, W, stride=(1, -1), text="[conv2d] stride must be positive and below 2^31, got (1, -1)"),
            Fails(X, W, stride=(1, 2, 3), text="[conv2d] stride must be a number or a pair of numbers, got (1, 2, 3)"),
            Fails(X, W, stride=1.5, text="[conv2d] stride must be a number or a pair of numbers, got 1.5"),
            Fails(X, W, dilation=0, text="[conv2d] dilation must be positive and below 2^31, got (0, 0)"),
            Fails(X, W, padding=-1, text="[conv2d] padding must be 0 or more and below 2^31, got (-1, -1)"),
            Fails(
                X, W, padding="full", text="[conv2d] padding must be 'same', 'valid', a number or a pair, got 'full'"
            ),
            Fails(X, W, padding="same", stride=2, text="[conv2d] padding 'same' needs stride 1, got (2, 2)"),
            Fails(
                (1, 6, 2, 9),
                W,
                text="[conv2d] the kernel's height 3 with dilation 1 spans 3 and does not fit into the input's 2 with",
            ),
            Fails(X, W, dilation=(1, 7), padding=1, text="[conv2d] the kernel's width 3 with dilation 7 spans 15"),
            Fails(
                (1, 6, 0, 9),
                W,
                text="[conv2d] the kernel's height 3 with dilation 1 spans 3 and does not fit into the input's 0",
            ),
            Fails(
                X,
                (4, 6, 0, 3),
                text="[conv2d] the kernel's height must be positive and below 2^31, got weight (4, 6, 0, 3)",
            ),
            Fails(
                X,
                Rand(W, "float64"),
                error=TypeError,
                text="[conv2d] x and weight must have one dtype, got float32 and float64",
            ),
            Fails(
                X,
                W,
                Rand((4,), "float64"),
                error=TypeError,
                text="[conv2d] x and bias must have one dtype, got float32 and float64",
            ),
            Fails(
                Rand(X, "int64"),
                Rand(W, "int64"),
                error=TypeError,
                text="[conv2d] expected a floating dtype, got int64",
            ),
        ],
        eps=EPS,
        twice=True,
        big=[
            layer(2, 64, 30, 64, 3, padding=1),
            layer(3, 40, 12, 150, 3, padding=1),
            layer(9, 3, 40, 40, 7, stride=2, padding=3),
            layer(4, 96, 20, 96, 3, padding=1, groups=96),
            layer(1, 600, 7, 300, 1),
            layer(40, 1, 28, 6, 5, padding=2),
        ],
        bench={
            "resnet50_stem_7x7": layer(4, 3, 224, 64, 7, 2, 3),
            "resnet50_layer1_1x1": layer(4, 256, 56, 64, 1),
            "resnet50_layer1_3x3": layer(4, 64, 56, 64, 3, 1, 1),
            "resnet50_layer1_expand": layer(4, 64, 56, 256, 1),
            "resnet50_layer2_3x3": layer(4, 128, 28, 128, 3, 1, 1),
            "resnet50_layer2_down": layer(4, 256, 56, 512, 1, 2),
            "resnet50_layer3_3x3": layer(4, 256, 14, 256, 3, 1, 1),
            "resnet50_layer4_3x3": layer(4, 512, 7, 512, 3, 1, 1),
            "mobilenet_depthwise": layer(4, 144, 56, 144, 3, 1, 1, 144),
            "resnext50_grouped": layer(4, 128, 56, 128, 3, 1, 1, 32),
            "lenet_conv1": layer(64, 1, 28, 6, 5, 1, 2),
        },
        numpy=im2col,
        flops=flops,
        bytes=nbytes,
    ),
    OpCase(
        "conv_transpose2d",
        op=dl.conv_transpose2d,
        reference=conv_transpose2d,
        magnitude=of_terms(conv_transpose2d, lambda w, groups: len(w) // groups),
        samples=[
            Sample((1, 1, 1, 1), (1, 1, 1, 1)),
            Sample((2, 3, 4, 5), (3, 2, 3, 3), (2,)),
            Sample((1, 17, 6, 6), (17, 35, 3, 3), padding=1),
            Sample((2, 4, 5, 3), (4, 3, 4, 4), (3,), stride=2, padding=1),
            Sample((1, 3, 4, 4), (3, 5, 3, 3), stride=2, padding=1, output_padding=1),
            Sample((1, 2, 5, 4), (2, 3, 2, 3), stride=(3, 1), dilation=(2, 2), output_padding=(2, 1)),
            Sample((1, 6, 4, 4), (6, 2, 3, 3), (4,), groups=2, stride=2),
            Sample((2, 4, 5, 5), (4, 1, 3, 3), groups=4, padding=1),
            Sample((1, 2, 3, 3), (2, 3, 1, 1), stride=4),
            Sample((3, 4, 5), (3, 2, 3, 3), (2,)),
            Sample((0, 3, 4, 5), (3, 2, 3, 3)),
        ],
        edges=[Sample((1, 0, 3, 3), (0, 2, 3, 3), (2,)), Sample((1, 2, 3, 3), (2, 0, 3, 3))],
        errors=[
            Fails(
                (3, 4),
                (3, 2, 3, 3),
                text="[conv_transpose2d] expected x with 4 dimensions (N, C, H, W), got shape (3, 4)",
            ),
            Fails(
                X,
                (4, 6, 3, 3),
                text="[conv_transpose2d] expected dimension 0 of weight to be 6, the channels of x, got 4",
            ),
            Fails(X, (6, 2, 3, 3), (3,), text="[conv_transpose2d] expected bias of shape (2,)"),
            Fails(X, (6, 2, 3, 3), groups=4, text="[conv_transpose2d] groups must divide 8 and 6 channels, got 4"),
            Fails(X, (6, 2, 3, 3), groups=0, text="[conv_transpose2d] groups must be positive and below 2^31, got 0"),
            Fails(
                X, (6, 2, 3, 3), stride=0, text="[conv_transpose2d] stride must be positive and below 2^31, got (0, 0)"
            ),
            Fails(
                X,
                (6, 2, 3, 3),
                stride=2,
                output_padding=2,
                text="[conv_transpose2d] output_padding must be at least 0 and less than stride or dilation, got (2",
            ),
            Fails(
                (1, 6, 1, 1),
                (6, 2, 3, 3),
                padding=2,
                text="[conv_transpose2d] the result would have -1 rows and -1 columns (x (1, 6, 1, 1), weight (6, 2",
            ),
        ],
        eps=EPS,
        twice=True,
        big=[Sample((4, 64, 20, 20), (64, 40, 4, 4), stride=2, padding=1)],
        bench={"dcgan_up": Sample((4, 256, 16, 16), (256, 128, 4, 4), stride=2, padding=1)},
        flops=lambda x, w, b=None, **_: 2.0 * x.size * w.shape[1] * w.shape[2] * w.shape[3],
    ),
]
