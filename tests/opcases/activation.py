"""Activations, against their formulas in float64."""

import math

import numpy as np

import dlcore as dl
from tests.opcases import Eps, Fails, OpCase, Rand, Sample
from tests.opcases.unary import SHAPES, SPECIAL, extended, integers, unary

TAILS = np.array([-100.0, -50.0, -20.0, -14.0, -10.0, -7.5, -5.0, -3.0, 3.0, 5.0, 7.5, 20.0, 100.0])


def sigmoid(x):
    return extended(lambda v: np.where(v < 0, np.exp(v), 1) / (1 + np.exp(-np.abs(v))))(x)


def times(x, factor):
    """x factor, with the limit 0 at x = -inf."""
    return np.where(factor == 0, 0.0, x * factor)


def normal_cdf(x):
    """erfc(-x / sqrt 2) / 2, the argument's rounding error put back in."""
    wide = -x.astype(np.longdouble) / np.sqrt(np.longdouble(2))
    near = np.where(np.isfinite(x), wide, 0).astype(np.float64)
    low = (np.where(np.isfinite(x), wide, 0) - near).astype(np.float64)
    erfc = np.vectorize(math.erfc, otypes=[np.float64])
    value = 0.5 * (erfc(near) - low * 2 / math.sqrt(math.pi) * np.exp(-near * near))
    return np.where(np.isfinite(x), value, np.where(np.isnan(x), np.nan, (x > 0) * 1.0))


def gelu(x, approximate="none"):
    if approximate == "none":
        return times(x, normal_cdf(x))
    return times(x, sigmoid(_inner(x)))


def _inner(x):
    return 2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)


def gelu_tanh_magnitude(x, approximate="tanh"):
    """The rounding of the sigmoid's argument v comes out multiplied by |v|."""
    v = np.where(np.isfinite(x), _inner(x), 0)
    return np.abs(gelu(x, "tanh")) * (1 + np.abs(v))


def rectified(name, op, reference, samples, **options):
    return OpCase(
        name,
        op=op,
        reference=reference,
        samples=samples,
        edges=[Sample(SPECIAL), Sample((0,)), Sample(())],
        twice=True,
        **options,
    )


BENCH = {"gpt2_mlp": Sample((1024, 3072)), "in_cache": Sample((4096,))}

CASES = [
    unary("relu", dl.relu, lambda x: np.maximum(x, 0), 1, exact=True),
    integers("relu", dl.relu, lambda x: np.maximum(x, 0)),
    unary("tanh", dl.tanh, extended(np.tanh), 3.6, edges=[Sample(TAILS)]),
    unary("sigmoid", dl.sigmoid, sigmoid, 5.4, edges=[Sample(TAILS)]),
    # math.h: the normal distribution 6.5 ulp; then one product.
    unary("gelu", dl.gelu, gelu, 15, edges=[Sample(TAILS)], bench=BENCH),
    OpCase(
        "gelu:tanh",
        op=dl.gelu,
        reference=gelu,
        samples=[Sample(s, approximate="tanh") for s in SHAPES],
        edges=[Sample(SPECIAL, "tanh"), Sample(TAILS, "tanh"), Sample((0,), "tanh")],
        errors=[Fails((3,), "fast", text="[gelu] approximate must be 'none' or 'tanh', got 'fast'")],
        # Four roundings in v, the sigmoid's 4.4 units and one product.
        eps=Eps(forward=6.4, backward=32),
        magnitude=gelu_tanh_magnitude,
        twice=True,
        big=[Sample((3, 70001), "tanh")],
        bench={name: Sample(*sample.spec, "tanh") for name, sample in BENCH.items()},
        bytes=lambda x, approximate: 2 * x.nbytes,
    ),
    unary("silu", dl.silu, lambda x: times(x, sigmoid(x)), 6.4, edges=[Sample(TAILS)], bench=BENCH),
    unary(
        "softplus",
        dl.softplus,
        extended(lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))),
        4.6,
        edges=[Sample(TAILS)],
    ),
    rectified(
        "leaky_relu",
        dl.leaky_relu,
        lambda x, negative_slope=0.01: np.where(x > 0, x, x * negative_slope),
        [*(Sample(s) for s in SHAPES), Sample((33,), 0.2), Sample((33,), negative_slope=-0.5)],
        # The slope is rounded to float32; bfloat16 rounds twice.
        eps=Eps(forward=3),
        big=[Sample((3, 70001))],
    ),
    rectified(
        "elu",
        dl.elu,
        lambda x, alpha=1.0: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))),
        [*(Sample(s) for s in SHAPES), Sample((33,), 0.3), Sample(Rand((33,), low=-20, high=90), alpha=2)],
        eps=Eps(forward=6.2, backward=32),
        big=[Sample((3, 70001))],
    ),
]
