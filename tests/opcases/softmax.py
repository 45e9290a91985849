"""Softmax and its logarithm, against NumPy in extended precision."""

import numpy as np

import dlcore as dl
from tests.opcases import Eps, Fails, OpCase, Rand, Sample, around_simd_widths

SHAPES = [(s, -1) for s in around_simd_widths()]
SHAPES += [((9, n), 0) for n in (1, 5, 8, 17, 33)] + [((2, 7, 5), 1), ((3, 4, 2, 3), 2), ((2, 3, 4), -3), ((6,), 0)]
SPECIAL = np.array(
    [
        [1.0, np.inf, 2, 3],
        [np.nan, 1, 2, 3],
        [-np.inf, 1, 2, 3],
        [-np.inf] * 4,
        [1e4, -1e4, 0, 1e4],
        [3e38, -3e38, 0, 0],
    ]
)
BENCH = {
    "gpt2_logits": ((1024, 50257), -1),
    "attention": ((8 * 12 * 1024, 1024), -1),
    "byte_logits": ((768, 256), -1),
    "channels": ((16, 64, 56, 56), 1),
    "columns": ((4096, 1024), 0),
}


def shifted(x, dim):
    x = np.asarray(x, np.longdouble if x.dtype == np.float64 else x.dtype)
    return x - np.max(x, axis=dim, keepdims=True, initial=-np.inf)


def softmax(x, dim):
    e = np.exp(shifted(x, dim))
    return (e / e.sum(axis=dim, keepdims=True)).astype(x.dtype)


def log_softmax(x, dim):
    d = shifted(x, dim)
    return (d - np.log(np.exp(d).sum(axis=dim, keepdims=True))).astype(x.dtype)


def softmax_magnitude(x, dim):
    """x - max is rounded, which is relative to it in its exponential."""
    d = np.nan_to_num(shifted(x, dim).astype(np.float64), nan=0, neginf=0)
    return softmax(x, dim) * (1 + np.abs(d) / 8)


def log_softmax_magnitude(x, dim):
    """Terms of the difference: the sum's relative error is absolute in its logarithm."""
    return np.abs(np.nan_to_num(shifted(x, dim).astype(np.float64))) + np.log(x.shape[dim] if x.ndim else 1) + 1


def case(name, op, reference, magnitude):
    return OpCase(
        name,
        op=op,
        reference=reference,
        magnitude=magnitude,
        samples=[Sample(Rand(s), dim=dim) for s, dim in SHAPES],
        edges=[
            Sample(SPECIAL, dim=1),
            Sample(SPECIAL, dim=0),
            Sample(np.random.default_rng(1).normal(0, 1e4, (5, 70)), dim=1),
            Sample(np.zeros((3, 20)), dim=1),
            Sample((), dim=0),
            *(Sample(s, dim=dim) for s, dim in [((0, 3), 1), ((3, 0), 1), ((3, 0), 0), ((0,), 0)]),
        ],
        errors=[
            Fails((3, 4), dim=2, error=IndexError, text=f"[{name}] axis 2 is out of range for shape (3, 4)"),
            Fails((), dim=1, error=IndexError, text=f"[{name}] axis 1 is out of range for shape ()"),
            Fails(Rand((3,), "int64"), dim=0, error=TypeError, text=f"[{name}] expected a floating dtype, got int64"),
            Fails(1.5, dim=0, error=TypeError, text="expected a dlcore Tensor, got float"),
        ],
        # The exponential 1 ulp (2 units), the sum's tree 10, its reciprocal and the product 2.
        eps=Eps(forward=16, backward=32),
        twice=True,
        big=[Sample(s, dim=dim) for s, dim in [((3, 70001), 1), ((700, 100), 1), ((50, 700), 0), ((300, 5, 40), 1)]],
        bench={k: Sample(Rand(s), dim=dim) for k, (s, dim) in BENCH.items()},
        bytes=lambda x, dim: 2 * x.nbytes,
        flops=lambda x, dim: 16 * x.size,
    )


def prepared(of):
    def call(x, dim, *, mask=None, temperature=1.0):
        x = x / temperature
        return of(x if mask is None else np.where(mask, x, x.dtype.type(-np.inf)), dim)

    return call


def masked(name, op, reference, magnitude):
    """With a mask and a temperature: a composite of what has its case, whose division rounds once more."""
    some = {"mask": Rand((4, 19), "bool")}
    with_mask = [
        Sample((4, 19), dim=1, **some),
        Sample((4, 19), dim=1, temperature=0.3, **some),
        Sample((2, 4, 19), dim=-1, temperature=7.0, **some),
    ]
    finite = name == "softmax"  # infinite results have no differences
    return OpCase(
        f"{name}:masked",
        op=op,
        reference=prepared(reference),
        magnitude=prepared(magnitude),
        samples=[Sample((3, 6), dim=0, temperature=2.0), *(with_mask if finite else [])],
        edges=[Sample((2, 3), dim=1, mask=np.array([[True, False, False], [False] * 3])), *with_mask],
        errors=[
            Fails((3,), dim=0, temperature=0.0, text=f"[{name}] expected temperature > 0, got 0.0"),
            Fails((3,), dim=0, temperature=float("nan"), text=f"[{name}] expected temperature > 0, got nan"),
            Fails((3,), dim=0, mask=Rand((3,)), error=TypeError, text=f"[{name}] expected a bool mask, got"),
            Fails((3,), dim=0, mask=Rand((4,), "bool"), text="(4,)"),
        ],
        eps=Eps(forward=24, backward=48),
        twice=True,
    )


CASES = [
    case("softmax", dl.softmax, softmax, softmax_magnitude),
    case("log_softmax", dl.log_softmax, log_softmax, log_softmax_magnitude),
    masked("softmax", dl.softmax, softmax, softmax_magnitude),
    masked("log_softmax", dl.log_softmax, log_softmax, log_softmax_magnitude),
    *(
        OpCase(
            f"{name}:dtype",
            op=op,
            reference=lambda x, dim, dtype, of=reference: of(x.astype(dtype), dim),
            samples=[Sample(Rand((3, 17), "int32", -5, 5), dim=1, dtype=dtype) for dtype in ("float32", "float64")],
            gradient=False,
            eps=Eps(forward=16),
            output_dtype=lambda x, dim, dtype: dtype,
        )
        for name, op, reference in [("softmax", dl.softmax, softmax), ("log_softmax", dl.log_softmax, log_softmax)]
    ),
]
