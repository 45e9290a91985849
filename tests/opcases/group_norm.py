"""Group norm, against NumPy in extended precision."""

import numpy as np

from dlcore.functional import group_norm as ours
from tests.opcases import Eps, Fails, OpCase, Rand, Sample, around_simd_widths


def parts(x, num_groups, eps):
    rows = x.reshape(x.shape[0], num_groups, -1).astype(np.longdouble)
    centred = rows - rows.mean(axis=2, keepdims=True)
    deviation = np.sqrt(np.mean(centred * centred, axis=2, keepdims=True) + eps)
    return (centred / deviation).reshape(x.shape), np.broadcast_to(deviation, rows.shape).reshape(x.shape)


def by_channel(p, x):
    return p.reshape(1, -1, *[1] * (x.ndim - 2))


def group_norm(x, num_groups, weight=None, bias=None, eps=1e-5):
    if x.size == 0:
        return x
    y, _ = parts(x, num_groups, eps)
    y = y if weight is None else y * by_channel(weight, x)
    return (y if bias is None else y + by_channel(bias, x)).astype(x.dtype)


def magnitude(x, num_groups, weight=None, bias=None, eps=1e-5):
    """Terms of the result; where the deviations are smaller than 1, their own rounding is larger after the division."""
    if x.size == 0:
        return x
    y, deviation = parts(x, num_groups, eps)
    m = np.abs(y) + 1 + np.abs(np.nan_to_num(x, posinf=0)).max(initial=0) * EXACT_MEAN / deviation
    m = m if weight is None else m * np.abs(by_channel(weight, x))
    return (m if bias is None else m + np.abs(by_channel(bias, x))).astype(np.float64)


# x - mean is exact to a unit of the deviation, not of the mean: see the contract.
EXACT_MEAN = 2.0**-10

WIDTHS = [n for _, n in around_simd_widths()]
SHAPES = [
    # In groups of one or two elements nothing but eps is left in the gradient.
    *(((2, 6, n), 3 if n > 1 else 1) for n in WIDTHS),
    *(((3, 2 * n), 2) for n in WIDTHS if n > 1),
    ((2, 300, 2), 2),  # strips of channels, the last one shorter
    ((1, 4, 70, 70), 2),  # groups in several pieces
    ((2, 6, 5, 7), 1),
    ((2, 6, 5, 7), 6),
    ((2, 4, 2, 3, 4), 2),
]


def affine(shape, groups, **kwargs):
    return Sample(shape, groups, weight=Rand((shape[1],)), bias=Rand((shape[1],)), **kwargs)


def fails(x, groups, text, error=ValueError, **kwargs):
    return Fails(x, groups, error=error, text=text, **kwargs)


X = (3, 4, 5)
CASES = [
    OpCase(
        "group_norm",
        op=ours,
        reference=group_norm,
        magnitude=magnitude,
        samples=[
            *(affine(*s) for s in SHAPES),
            Sample((4, 6, 6), 2),
            Sample((4, 6, 6), 3, weight=Rand((6,)), eps=0.1),
            Sample((4, 6, 6), 3, bias=Rand((6,))),
        ],
        edges=[
            Sample(1e4 + np.random.default_rng(1).standard_normal((2, 4, 3000)), 2),
            Sample(1e4 + np.random.default_rng(2).standard_normal((3, 64, 4)), 4),
            Sample(np.full((3, 4, 20), 7.0), 2),
            Sample(np.array([[np.inf, 1, 2, 3], [np.nan, 1, 2, 3], [1, 2, 3, 4]]), 2),
            affine((0, 4, 5), 2),
            affine((3, 4, 0), 2),
        ],
        errors=[
            fails((4,), 2, "[group_norm] expected input of shape (N, C) or (N, C, ...), got shape (4,)"),
            fails(Rand(X, "int64"), 2, "[group_norm] expected a floating dtype, got int64", TypeError),
            fails(
                X,
                3,
                "[group_norm] num_groups must divide the channels, got 3 groups and 4 channels (input (3, 4, 5))",
            ),
            fails(X, 0, "[group_norm] num_groups must be positive, got 0"),
            fails(
                X,
                2,
                "[group_norm] expected weight of shape (4,), one for each channel of the input (3, 4, 5), got shape "
                "(3,)",
                weight=Rand((3,)),
            ),
            fails(X, 2, "[group_norm] expected bias of shape (4,)", bias=Rand((1, 4))),
            fails(X, 2, "[group_norm] expected eps above 0, got 0", eps=0.0),
        ],
        eps=Eps(forward=16, backward=64),
        twice=True,
        big=[affine((16, 64, 28, 28), 32), affine((300, 96), 8)],
        bench={"unet": affine((8, 128, 32, 32), 32), "deep": affine((8, 512, 8, 8), 32)},
        bytes=lambda x, *a, **k: 2 * x.nbytes,
        flops=lambda x, *a, **k: 8 * x.size,
    ),
]
