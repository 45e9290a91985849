"""RMS norm, against NumPy in extended precision."""

import numpy as np

from dlcore.functional import rms_norm as ours
from tests.opcases import Eps, Fails, OpCase, Rand, Sample, around_simd_widths


def rms_norm(x, normalized_shape, weight=None, eps=None):
    axes = tuple(range(-len(np.atleast_1d(normalized_shape)), 0))
    wide = x.astype(np.longdouble)
    y = wide / np.sqrt(np.mean(wide * wide, axis=axes, keepdims=True) + eps)
    return (y if weight is None else y * weight).astype(x.dtype)


SHAPES = [(s, (s[-1],)) for s in around_simd_widths()] + [((2, 3, 4, 5), (4, 5)), ((6, 5), (6, 5)), ((7,), (7,))]


def weighted(shape, normalized_shape, eps=1e-5):
    return Sample(shape, normalized_shape=normalized_shape, weight=Rand(normalized_shape), eps=eps)


def fails(x, text, error=ValueError, **kwargs):
    return Fails(x, error=error, text=text, **kwargs)


CASES = [
    OpCase(
        "rms_norm",
        op=ours,
        reference=rms_norm,
        samples=[
            *(weighted(s, n) for s, n in SHAPES if s[-1] > 1),
            weighted((3, 1), (1,), eps=1.0),  # with less, nothing but eps is left in the gradient of one column
            *(Sample((5, n), normalized_shape=(n,), eps=1e-6) for n in (7, 33)),
            Sample((5, 9), normalized_shape=(9,), eps=0.1),
            weighted((700, 130), (130,)),
        ],
        edges=[
            Sample(1e4 + np.random.default_rng(1).standard_normal((4, 768)), normalized_shape=(768,), eps=1e-5),
            Sample(np.zeros((3, 20)), normalized_shape=(20,), eps=1e-5),
            Sample(np.array([[np.inf, 1, 2], [np.nan, 1, 2], [1, 2, 3]]), normalized_shape=(3,), eps=1e-5),
            Sample((0, 5), normalized_shape=(5,), eps=1e-5),
            weighted((3, 0), (0,)),
        ],
        errors=[
            fails(
                (3, 4),
                "[rms_norm] normalized_shape (5,) must be the last dimensions of the input, got shape (3, 4)",
                normalized_shape=5,
            ),
            fails((3, 4), "[rms_norm] normalized_shape () must be the last dimensions", normalized_shape=()),
            fails(
                (3, 4),
                "[rms_norm] expected weight of normalized_shape (4,), got shape (3,)",
                normalized_shape=4,
                weight=Rand((3,)),
            ),
            fails((3, 4), "[rms_norm] expected eps of at least 0, got -1", normalized_shape=4, eps=-1.0),
            fails(
                Rand((3,), "int64"), "[rms_norm] expected a floating dtype, got int64", TypeError, normalized_shape=3
            ),
        ],
        eps=Eps(forward=8, backward=32),
        twice=True,
        big=[weighted((900, 768), (768,)), weighted((9000, 33), (33,))],
        bench={"llama": weighted((2048, 2048), (2048,)), "smollm2": weighted((512, 576), (576,))},
        numpy=lambda x, normalized_shape, weight, eps: (
            x / np.sqrt(np.mean(np.square(x), axis=-1, keepdims=True) + np.float32(eps)) * weight
        ),
        bytes=lambda x, *a, **k: 2 * x.nbytes,
        flops=lambda x, *a, **k: 5 * x.size,
    ),
]
