"""Functions of one number, against NumPy in extended precision, so that float64 is judged as well."""

import math

import numpy as np

import dlcore as dl
from tests.opcases import Eps, Fails, OpCase, Rand, Sample, around_simd_widths

SPECIAL = np.array(
    [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 1e-40, -1e-30, 1e-5, 88.0, -88.0, 3e38, -3e38, np.inf, -np.inf, np.nan]
)
HALVES = np.arange(-40, 41) / 4
SHAPES = [*around_simd_widths(), (33,), (2, 3, 4), (2, 1, 2, 1, 2, 1, 2, 1)]


def extended(function):
    """A float64 reference that is computed with more digits where the machine has them."""
    return lambda x: function(x.astype(np.longdouble)).astype(np.float64)


def erf64(x):
    return np.vectorize(math.erf, otypes=[np.float64])(x)


def unary(name, op, reference, eps, low=None, high=None, edges=(), **options):
    """Tolerances: twice the largest error in ulp that simd/math.h states, which is that many units of EPS; one more for
    the second rounding of bfloat16."""
    bench = {
        "gpt2_activations": Sample(Rand((8192, 768), low=low, high=high)),
        "in_cache": Sample(Rand((4096,), low=low, high=high)),
    }
    return OpCase(
        name,
        op=op,
        reference=reference,
        samples=[Sample(Rand(s, low=low, high=high)) for s in SHAPES],
        edges=[Sample(SPECIAL), Sample((0,)), Sample((3, 0, 2)), Sample(Rand((), low=low, high=high)), *edges],
        errors=[Fails(1.5, error=TypeError, text=f"[{name}] expected a tensor, got float")],
        **{
            "eps": Eps(forward=eps, backward=32),
            "twice": True,
            "big": [Sample(Rand((3, 70001), low=low, high=high))],
            "bench": bench,
            "bytes": lambda x: 2 * x.nbytes,
            **options,
        },
    )


def exact(name, op, reference, **options):
    return unary(name, op, reference, 1, exact=True, edges=[Sample(HALVES)], **options)


def integers(name, op, reference):
    dtypes = ("int64", "int32", "uint8")
    samples = [Sample(Rand((3, 65), d, 0 if d == "uint8" else -100, 100)) for d in dtypes]
    least = [Sample(np.array([np.iinfo(d).min, np.iinfo(d).max], d)) for d in dtypes]
    return OpCase(
        f"{name}:integers", op=op, reference=reference, samples=[*samples, *least], exact=True, gradient=False
    )


def as_float32(name, op, reference, eps):
    """Integers and bools become float32."""
    return OpCase(
        f"{name}:integers",
        op=op,
        reference=lambda x: reference(x.astype(np.float64)),
        samples=[Sample(Rand((3, 17), "int64", 1, 9)), Sample(Rand((17,), "uint8", 1, 9)), Sample(Rand((17,), "bool"))],
        eps=Eps(forward=eps),
        gradient=False,
        output_dtype="float32",
    )


def clamp(x, min=None, max=None):
    if min is not None:
        x = np.maximum(x, min)
    return x if max is None else np.minimum(x, max)


CASES = [
    exact("neg", dl.neg, np.negative),
    exact("abs", dl.abs, np.abs),
    exact("sign", dl.sign, np.sign),
    exact("floor", dl.floor, np.floor),
    exact("ceil", dl.ceil, np.ceil),
    exact("round", dl.round, np.rint),
    exact("trunc", dl.trunc, np.trunc),
    unary("square", dl.square, np.square, 2),
    unary("sqrt", dl.sqrt, np.sqrt, 2, 0.5, 2),
    unary("rsqrt", dl.rsqrt, extended(lambda x: 1 / np.sqrt(x)), 4, 0.5, 2),
    unary("reciprocal", dl.reciprocal, lambda x: 1 / x, 2, 0.5, 2),
    unary("exp", dl.exp, extended(np.exp), 3),
    unary("expm1", dl.expm1, extended(np.expm1), 4.2),
    unary("log", dl.log, extended(np.log), 3, 0.1, 4),
    unary("log1p", dl.log1p, extended(np.log1p), 4, -0.9, 4),
    unary("log2", dl.log2, extended(np.log2), 5.4, 0.1, 4, edges=[Sample(2.0 ** np.arange(-20, 20))]),
    unary("erf", dl.erf, erf64, 3.4),
    unary("sin", dl.sin, extended(np.sin), 4.2, edges=[Sample(np.array([1e3, 1e6, 3e9, 1e20, 3.14159265, 355.0]))]),
    unary("cos", dl.cos, extended(np.cos), 4.2, edges=[Sample(np.array([1e3, 1e6, 3e9, 1e20, 1.57079633, 11.0]))]),
    exact("isnan", dl.isnan, np.isnan, gradient=False, twice=False),
    exact("isinf", dl.isinf, np.isinf, gradient=False, twice=False),
    exact("isfinite", dl.isfinite, np.isfinite, gradient=False, twice=False),
    OpCase(
        "clamp",
        op=dl.clamp,
        reference=clamp,
        samples=[Sample(s, -0.5, 0.75) for s in around_simd_widths()]
        + [
            Sample((33,), min=0.125),
            Sample((33,), max=0.125),
            Sample((33,), 1.0, -1.0),
            Sample((5, 7), Rand((7,), low=-1, high=0), Rand((5, 1), low=0, high=1)),
        ],
        edges=[Sample(SPECIAL, -1, 1), Sample(SPECIAL, min=0), Sample((0,), max=0), Sample((), 0, 1)],
        errors=[Fails((3,), text="[clamp] expected min, max or both")],
        exact=True,
        twice=True,
        big=[Sample((3, 70001), -0.5, 0.75)],
        bench={"gpt2_activations": Sample((8192, 768), -0.5, 0.5)},
        bytes=lambda x, *bounds: 2 * x.nbytes,
    ),
    integers("neg", dl.neg, np.negative),
    integers("abs", dl.abs, np.abs),
    integers("sign", dl.sign, np.sign),
    integers("square", dl.square, np.square),
    integers("floor", dl.floor, lambda x: x),
    integers("ceil", dl.ceil, lambda x: x),
    integers("round", dl.round, lambda x: x),
    integers("trunc", dl.trunc, lambda x: x),
    integers("isnan", dl.isnan, np.isnan),
    integers("isinf", dl.isinf, np.isinf),
    integers("isfinite", dl.isfinite, np.isfinite),
    integers("clamp", lambda x: dl.clamp(x, 3, 50), lambda x: np.clip(x, 3, 50)),
    as_float32("exp", dl.exp, np.exp, 3),
    as_float32("sqrt", dl.sqrt, np.sqrt, 2),
    as_float32("sin", dl.sin, np.sin, 4.2),
    OpCase(
        "bitwise_not",
        op=dl.bitwise_not,
        reference=np.invert,
        samples=[Sample(Rand((3, 65), d, 0, 100)) for d in ("int64", "int32", "uint8", "bool")],
        errors=[Fails((3,), error=TypeError, text="[bitwise_not] expected an integer or bool tensor, got float32")],
        exact=True,
        gradient=False,
    ),
    OpCase(
        "logical_not",
        op=dl.logical_not,
        reference=np.logical_not,
        samples=[Sample(Rand((3, 65), d, 0, 2)) for d in ("int64", "int32", "uint8", "bool")] + [Sample(SPECIAL)],
        exact=True,
        gradient=False,
    ),
    OpCase(
        "neg:bool",
        op=dl.neg,
        reference=np.negative,
        samples=[Sample(Rand((3,), "int32"))],
        errors=[Fails(Rand((3,), "bool"), error=TypeError, text="[neg] bool tensors have no such operation")],
        gradient=False,
        exact=True,
    ),
]
