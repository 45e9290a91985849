"""Batch norm, against NumPy in extended precision: with the batch's statistics, then also what becomes of the running
ones, and with given ones."""

import numpy as np

from dlcore.functional import batch_norm as ours
from tests.opcases import Eps, Fails, OpCase, Rand, Sample, around_simd_widths


def wide(x):
    return x.astype(np.longdouble if x.dtype == np.float64 else x.dtype)


def statistics(x):
    """Mean and uncorrected variance of each channel, shaped to fit x."""
    axes = (0, *range(2, x.ndim))
    mean = wide(x).mean(axis=axes, keepdims=True)
    return mean, np.square(wide(x) - mean).mean(axis=axes, keepdims=True)


def normalised(x, mean, var, weight, bias, eps):
    def fit(p):
        return p.reshape(1, -1, *[1] * (x.ndim - 2))

    y = (wide(x) - fit(mean)) / np.sqrt(fit(var) + eps)
    y = y if weight is None else y * fit(weight)
    return (y if bias is None else y + fit(bias)).astype(x.dtype)


def training(x, running_mean=None, running_var=None, weight=None, bias=None, momentum=0.1, eps=1e-5):
    """In training; and the running statistics, on copies."""
    running = [
        None if r is None else (r.copy() if isinstance(r, np.ndarray) else r.clone())
        for r in (running_mean, running_var)
    ]
    if not isinstance(x, np.ndarray):
        y = ours(x, *running, weight, bias, True, momentum, eps)
    elif x.size == 0:
        y = x
    else:
        mean, var = statistics(x)
        y = normalised(x, mean, var, weight, bias, eps)
        n = x.size // x.shape[1]
        for r, value in zip(running, (mean, var * n / max(n - 1, 1)), strict=True):
            if r is not None:
                r[:] = (1 - momentum) * r + momentum * value.reshape(-1)
    return y if running_mean is None else (y, *running)


def evaluation(x, running_mean, running_var, weight=None, bias=None, eps=1e-5):
    return normalised(x, running_mean, running_var, weight, bias, eps)


def magnitude(x, running_mean=None, running_var=None, weight=None, bias=None, momentum=0.1, eps=1e-5):
    """The terms of the result, and of the running statistics."""
    if x.size == 0:
        return training(x, running_mean, running_var)
    mean, var = statistics(x)
    ones = np.ones(x.shape[1])
    w, b = (np.abs(p) if p is not None else q for p, q in ((weight, ones), (bias, 0 * ones)))
    y = terms(x, mean, var, w, b, eps)
    if running_mean is None:
        return y
    batch = (v.reshape(-1).astype(np.float64) for v in (np.abs(mean) + np.sqrt(var), var * 2))
    return (y, *(np.abs(r) + momentum * v for r, v in zip((running_mean, running_var), batch, strict=True)))


def terms(x, mean, var, weight, bias, eps):
    deviation = np.sqrt(np.reshape(var, -1) + eps)
    shape = (1, -1, *[1] * (x.ndim - 2))
    y = np.abs(wide(x) - np.reshape(mean, shape)) / deviation.reshape(shape) + 1
    return (y * weight.reshape(shape) + bias.reshape(shape)).astype(np.float64)


def given_magnitude(x, running_mean, running_var, weight=None, bias=None, eps=1e-5):
    """x - mean is a difference of two given numbers."""
    ones = np.ones(x.shape[1])
    w, b = (np.abs(p) if p is not None else q for p, q in ((weight, ones), (bias, 0 * ones)))
    return terms(np.abs(x), -np.abs(running_mean), running_var, w, b, eps)


def affine(*shape, **kwargs):
    channels = (shape[1],)
    return Sample(shape, weight=Rand(channels), bias=Rand(channels), **kwargs)


def running(channels, grad=False):
    return {
        "running_mean": Rand((channels,), grad=grad),
        "running_var": Rand((channels,), low=0.5, high=2, grad=grad),
    }


WIDTHS = [n for _, n in around_simd_widths()]
SHAPES = [
    *((5, n) for n in WIDTHS),  # S = 1, across channels
    *((2, 3, n) for n in WIDTHS),  # narrow and wide runs
    (70, 300),  # two blocks of rows, three strips of columns
    (67, 90, 3),
    (3, 5, 7, 9),
    (70, 3, 5, 5),  # several runs in a part
    (1, 2, 5000),  # a run in two parts
    (2, 3, 2, 3, 4),
    (2, 1, 3),
]
FUSED, SHARED, FEW, COLUMNS = (16, 16, 28, 28), (8, 4, 150, 150), (2, 3, 300, 301), (3000, 40)
BENCH = {"resnet": (8, 64, 56, 56), "first": (8, 64, 112, 112), "last": (8, 512, 7, 7), "columns": (256, 1024)}

X = Rand((3, 4, 5))


def fails(x, text, error=ValueError, **kwargs):
    return Fails(x, error=error, text=text, **kwargs)


CASES = [
    OpCase(
        "batch_norm:training",
        op=training,
        reference=training,
        magnitude=magnitude,
        samples=[
            *(affine(*s) for s in SHAPES),
            *(affine(*s, **running(s[1])) for s in ((5, 7), (3, 4, 17), (2, 3, 8, 9))),
            Sample((4, 3, 6), **running(3), momentum=0.7, eps=0.1),
            Sample((4, 3, 6)),
            Sample((4, 3, 6), weight=Rand((3,))),
            Sample((4, 3, 6), bias=Rand((3,))),
        ],
        edges=[
            Sample(1e4 + np.random.default_rng(1).standard_normal((3, 4, 6000)), **running(4)),
            Sample(1e4 + np.random.default_rng(2).standard_normal((200, 30)), **running(30)),
            Sample(1e4 + np.random.default_rng(3).standard_normal((90, 3, 7, 7)), **running(3)),
            Sample(np.full((3, 4, 20), 7.0), **running(4)),
            Sample(np.array([[np.inf, 1, 2], [np.nan, 1, 2], [1, 2, 3]])),
            Sample((0, 5, 2), weight=Rand((5,)), **running(5)),
            Sample((3, 5, 0), weight=Rand((5,)), **running(5)),
            Sample((3, 0, 2)),
        ],
        errors=[
            fails((3,), "[batch_norm] expected input of shape (N, C) or (N, C, ...), got shape (3,)"),
            fails(Rand((3, 4), "int64"), "[batch_norm] expected a floating dtype, got int64", TypeError),
            fails(
                X,
                "[batch_norm] expected weight of shape (4,), one for each channel of the input (3, 4, 5), got "
                "shape (3,)",
                weight=Rand((3,)),
            ),
            fails(X, "[batch_norm] expected bias of shape (4,)", bias=Rand((1, 4))),
            fails(X, "[batch_norm] expected running_mean of shape (4,)", **running(5)),
            fails(
                X,
                "[batch_norm] expected running_var of shape (4,)",
                running_mean=Rand((4,)),
                running_var=Rand((4, 1)),
            ),
            fails(
                X,
                "[batch_norm] expected running_var of a floating dtype, got int64",
                TypeError,
                running_mean=Rand((4,)),
                running_var=Rand((4,), "int64"),
            ),
            fails(
                X,
                "[batch_norm] expected both running_mean and running_var, or neither, got None for running_var",
                running_mean=Rand((4,)),
            ),
            fails(X, "[batch_norm] expected eps above 0 in training, got 0", eps=0.0),
            fails(
                (1, 4),
                "[batch_norm] expected more than one value per channel in training, got input of shape (1, 4)",
            ),
            fails((1, 4, 1, 1), "expected more than one value per channel in training"),
        ],
        eps=Eps(forward=16, backward=64),
        twice=True,
        big=[affine(*s) for s in (FUSED, SHARED, FEW, COLUMNS)],
        bench={k: affine(*s) for k, s in BENCH.items()},
        bytes=lambda x, *a, **k: 2 * x.nbytes,
        flops=lambda x, *a, **k: 8 * x.size,
    ),
    OpCase(
        "batch_norm:evaluation",
        op=ours,
        reference=evaluation,
        magnitude=given_magnitude,
        samples=[
            *(affine(*s, **running(s[1])) for s in SHAPES),
            Sample((1, 3), **running(3)),
            Sample((4, 3, 6), **running(3), eps=0.1),
            Sample((4, 3, 6), **running(3), weight=Rand((3,))),
            Sample((4, 3, 6), **running(3), bias=Rand((3,))),
        ],
        edges=[
            Sample(np.array([[np.inf, 1, 2], [np.nan, 1, 2], [1, 2, 3]]), **running(3)),
            affine(0, 5, 2, **running(5)),
            Sample((3, 0, 2), **running(0)),
        ],
        errors=[
            fails(
                X,
                "[batch_norm] expected running_mean and running_var where training is False, got None for both",
                running_mean=None,
                running_var=None,
            ),
            fails(X, "got None for running_var", running_mean=Rand((4,)), running_var=None),
            fails(X, "got None for running_mean", running_mean=None, running_var=Rand((4,))),
            fails(X, "[batch_norm] expected running_mean of shape (4,)", **running(3)),
            fails((4,), "[batch_norm] expected input of shape (N, C) or (N, C, ...), got shape (4,)", **running(4)),
            fails(X, "[batch_norm] expected eps of at least 0, got -1", eps=-1.0, **running(4)),
        ],
        eps=Eps(forward=16, backward=64),
        twice=True,
        big=[affine(*s, **running(s[1])) for s in (FUSED, SHARED, FEW, COLUMNS)],
        bench={k: affine(*s, **running(s[1])) for k, s in BENCH.items()},
        bytes=lambda x, *a, **k: 2 * x.nbytes,
        flops=lambda x, *a, **k: 2 * x.size,
    ),
]
