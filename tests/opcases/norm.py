"""Layer norm, against NumPy in extended precision."""

import numpy as np

import dlcore as dl
from tests.opcases import Eps, Fails, OpCase, Rand, Sample, around_simd_widths


def parts(x, normalized_shape, eps):
    axes = tuple(range(-len(np.atleast_1d(normalized_shape)), 0))
    x = x.astype(np.longdouble if x.dtype == np.float64 else x.dtype)
    centred = x - x.mean(axis=axes, keepdims=True)
    var = np.mean(centred * centred, axis=axes, keepdims=True)
    return centred / np.sqrt(var + eps), np.sqrt(var + eps)


def layer_norm(x, normalized_shape, weight=None, bias=None, eps=1e-5):
    y, _ = parts(x, normalized_shape, eps)
    if weight is not None:
        y = y * weight
    if bias is not None:
        y = y + bias
    return y.astype(x.dtype)


def add_layer_norm(x, residual, normalized_shape, weight=None, bias=None, eps=1e-5):
    return layer_norm(x + residual, normalized_shape, weight, bias, eps), x + residual


def magnitude(x, normalized_shape, weight=None, bias=None, eps=1e-5):
    """Terms of the result; where the deviations are smaller than 1, their own rounding is larger after the division."""
    y, deviation = parts(x, normalized_shape, eps)
    m = (np.abs(y) + 1 + np.abs(np.nan_to_num(x, posinf=0)).max(initial=0) * EXACT_MEAN / deviation) * (
        1 if weight is None else np.abs(weight)
    )
    return (m + (0 if bias is None else np.abs(bias))).astype(np.float64)


def magnitudes(x, residual, *args, **kwargs):
    """The sum is rounded before it is normalised: to a unit of its terms, of which the deviation is a part."""
    added = np.abs(np.nan_to_num(x, posinf=0)) + np.abs(np.nan_to_num(residual, posinf=0))
    shape = kwargs.get("normalized_shape", args[0] if args else None)
    _, deviation = parts(x + residual, shape, kwargs.get("eps", 1e-5))
    scale = 1 if kwargs.get("weight") is None else np.abs(kwargs["weight"]).max(initial=0)
    rounding = added.max(initial=0) / deviation * scale
    return (magnitude(x + residual, *args, **kwargs) + rounding).astype(np.float64), added


# x - mean is exact to a unit of the deviation, not of the mean: see the contract.
EXACT_MEAN = 2.0**-10

AFFINE = [(s, (s[-1],)) for s in around_simd_widths()] + [((2, 3, 4, 5), (4, 5)), ((6, 5), (6, 5)), ((7,), (7,))]


def affine(shape, normalized_shape):
    return Sample(shape, normalized_shape=normalized_shape, weight=Rand(normalized_shape), bias=Rand(normalized_shape))


def added(shape, normalized_shape, **kwargs):
    of = {"weight": Rand(normalized_shape), "bias": Rand(normalized_shape)}
    return Sample(shape, shape, normalized_shape=normalized_shape, **of, **kwargs)


BENCH = {"gpt2": (8192, 768), "gpt2_large": (1024, 1280), "byte_model": (768, 128)}

CASES = [
    OpCase(
        "layer_norm",
        op=dl.layer_norm,
        reference=layer_norm,
        magnitude=magnitude,
        samples=[
            *(affine(s, n) for s, n in AFFINE),
            *(Sample((5, n), normalized_shape=n) for n in (1, 7, 33)),
            Sample((5, 9), normalized_shape=9, weight=Rand((9,))),
            Sample((5, 9), normalized_shape=9, bias=Rand((9,)), eps=0.1),
            affine((700, 130), (130,)),
        ],
        edges=[
            Sample(1e4 + np.random.default_rng(1).standard_normal((4, 768)), normalized_shape=768),
            Sample(np.full((3, 20), 7.0), normalized_shape=20),
            Sample(np.array([[np.inf, 1, 2], [np.nan, 1, 2], [1, 2, 3]]), normalized_shape=3),
            Sample((0, 5), normalized_shape=5),
            affine((3, 0), (0,)),
        ],
        errors=[
            Fails(
                (3, 4),
                normalized_shape=5,
                text="[layer_norm] normalized_shape (5,) must be the last dimensions of the input, got shape (3, 4)",
            ),
            Fails(
                (3, 4), normalized_shape=(2, 3, 4), text="must be the last dimensions of the input, got shape (3, 4)"
            ),
            Fails((3, 4), normalized_shape=(), text="[layer_norm] normalized_shape () must be the last dimensions"),
            Fails(
                (3, 4),
                normalized_shape=4,
                weight=Rand((3,)),
                text="[layer_norm] expected weight of normalized_shape (4,), got shape (3,)",
            ),
            Fails(
                (3, 4),
                normalized_shape=4,
                bias=Rand((1, 4)),
                text="[layer_norm] expected bias of normalized_shape (4,), got shape (1, 4)",
            ),
            Fails(
                Rand((3,), "int64"),
                normalized_shape=3,
                error=TypeError,
                text="[layer_norm] expected a floating dtype, got int64",
            ),
        ],
        eps=Eps(forward=16, backward=64),
        twice=True,
        big=[affine((900, 768), (768,)), affine((9000, 33), (33,))],
        bench={k: affine(s, s[-1:]) for k, s in BENCH.items()},
        bytes=lambda x, *a, **k: 2 * x.nbytes,
        flops=lambda x, *a, **k: 8 * x.size,
    ),
    OpCase(
        "add_layer_norm",
        op=dl.add_layer_norm,
        reference=add_layer_norm,
        magnitude=magnitudes,
        samples=[
            *(added(s, n) for s, n in AFFINE),
            Sample((5, 9), (5, 9), normalized_shape=9, bias=Rand((9,)), eps=0.1),
            Sample((5, 9), (5, 9), normalized_shape=(5, 9)),
            added((700, 130), (130,)),
        ],
        edges=[
            Sample((3, 20), np.full((3, 20), 7.0), normalized_shape=20),
            Sample(np.array([[np.inf, 1, 2], [np.nan, 1, 2], [1, 2, 3]]), (3, 3), normalized_shape=3),
            Sample((0, 5), (0, 5), normalized_shape=5),
        ],
        errors=[
            Fails(
                (3, 4),
                (4,),
                normalized_shape=4,
                text="[layer_norm] expected a residual of the input's shape (3, 4), got (4,)",
            ),
            Fails(
                (3, 4), (3, 4), normalized_shape=5, text="must be the last dimensions of the input, got shape (3, 4)"
            ),
            Fails(
                Rand((3,), "int64"),
                Rand((3,), "int64"),
                normalized_shape=3,
                error=TypeError,
                text="[layer_norm] expected a floating dtype, got int64",
            ),
        ],
        eps=Eps(forward=16, backward=64),
        twice=True,
        big=[added((900, 768), (768,)), added((9000, 33), (33,))],
        bench={k: added(s, s[-1:]) for k, s in BENCH.items()},
        bytes=lambda x, *a, **k: 4 * x.nbytes,
        flops=lambda x, *a, **k: 9 * x.size,
    ),
]
