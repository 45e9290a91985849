"""Entropy, cosine similarity and L2 penalty, against NumPy."""

import numpy as np

import dlcore as dl
from tests.opcases import Eps, Fails, OpCase, Rand, Sample, around_simd_widths


def softmax(x, dim):
    e = np.exp(x - x.max(dim, keepdims=True, initial=-np.inf))
    return e / e.sum(dim, keepdims=True)


def entropy(x, base=None, dim=-1):
    """Of probabilities, which single elements cannot be changed of: of their logits."""
    return dl.entropy(dl.softmax(x, dim), base, dim)


def entropy64(x, base=None, dim=-1):
    p = softmax(x, dim)
    return -(p * np.log(np.where(p > 0, p, 1))).sum(dim) / np.log(base or np.e)


def terms(x, base=None, dim=-1):
    """A probability is wrong by the reach of its logits, and its logarithm's error is not relative to p log p."""
    reach = np.ptp(x, axis=dim) if x.size else 0
    return (entropy64(x, base, dim) + 1 + reach) * (2 if base else 1)


def cosine(x1, x2, dim=1, eps=1e-8):
    lengths = [np.maximum(np.sqrt((x * x).sum(dim, keepdims=True)), eps) for x in np.broadcast_arrays(x1, x2)]
    return (x1 / lengths[0] * (x2 / lengths[1])).sum(dim)


# Vectors of one element all have the cosine 1 or -1, and a gradient that is rounding alone.
SHAPES = around_simd_widths()[1:]
COSINE = {
    "op": dl.cosine_similarity,
    "reference": cosine,
    "magnitude": lambda x1, x2, dim=1, eps=1e-8: cosine(np.abs(x1), np.abs(x2), dim, eps),
    "eps": Eps(16, 64),
    "twice": True,
    "same_in_any_layout": False,
}
PENALTY = {"reference": lambda p, weight=1.0: weight * sum((x * x).sum() for x in (p if isinstance(p, list) else [p]))}

CASES = [
    OpCase(
        "entropy",
        op=entropy,
        reference=entropy64,
        magnitude=terms,
        samples=[
            *(Sample(s) for s in around_simd_widths()),
            Sample((4, 5, 3), dim=1),
            Sample((7,), 2),
            Sample((3, 6), 10.0, 0),
        ],
        edges=[Sample(np.array([[0.0, -1e4], [3.0, 3.0]], np.float32)), Sample((0, 3))],
        eps=Eps(8, 64),
        twice=True,
        dtypes=("float32", "float64"),
    ),
    OpCase(
        "entropy:probabilities",
        op=lambda p, base=None, dim=-1: dl.entropy(p.detach(), base, dim),
        reference=lambda p, base=None, dim=-1: np.zeros_like(p).sum(dim),
        samples=[Sample(np.array([[1.0]], np.float32), 2), Sample(np.array([1.0], np.float32))],
        errors=[
            Fails(np.array([0.5, 0.6], np.float32), text="[entropy] expected probabilities that sum to 1 along dim -1"),
            Fails(
                np.array([[1.5, -0.5]], np.float32),
                text="[entropy] expected probabilities in [0, 1], got 1.5 at (0, 0)",
            ),
            Fails(
                np.array([0.0, np.nan], np.float32), text="[entropy] expected probabilities in [0, 1], got nan at (1,)"
            ),
            Fails(np.array([1.0], np.float32), 1.0, text="[entropy] expected a base > 0 other than 1, got 1.0"),
            Fails(np.array([1.0], np.float32), -2, text="[entropy] expected a base > 0 other than 1, got -2"),
            Fails(Rand((3,), "int64"), error=TypeError, text="[entropy] expected floating probabilities, got"),
        ],
        gradient=False,
    ),
    OpCase(
        "cosine_similarity",
        samples=[
            *(Sample(s, s) for s in SHAPES),
            Sample((4, 5, 3), (4, 5, 3), dim=-1),
            Sample((6, 5), (1, 5)),
            Sample((2, 5, 3), (5, 1)),
        ],
        edges=[
            Sample(np.zeros((2, 3), np.float32), (2, 3)),
            Sample(np.full((1, 3), 1e18, np.float32), np.full((1, 3), -1e18, np.float32)),
            Sample((0, 3), (0, 3)),
        ],
        errors=[
            Fails((2, 3), (2, 4), text="(2, 3) and (2, 4)"),
            Fails((3,), (3,), error=IndexError, text="axis 1 is out of range for shape (3,)"),
        ],
        **COSINE,
    ),
    OpCase("cosine_similarity:short", samples=[Sample((3, 4), (3, 4), eps=100.0)], **COSINE),
    OpCase(
        "l2_penalty",
        op=dl.l2_penalty,
        samples=[Sample([Rand((4, 3)), Rand((5,)), Rand(())], 0.3), Sample((70, 3)), Sample([Rand((3,))], weight=0)],
        errors=[
            Fails([], text="[l2_penalty] expected at least one parameter, got none"),
            Fails((3,), -1.0, text="[l2_penalty] expected weight >= 0, got -1.0"),
        ],
        eps=Eps(16, 16),
        twice=True,
        **PENALTY,
    ),
]
