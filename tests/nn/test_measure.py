"""Entropy, Kullback-Leibler divergence and cross-entropy: their identities. SciPy's values are in tests/parity."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dlcore as dl
from dlcore import nn
from dlcore.nn import functional as F
from dlcore.ops.measure import check_probabilities

EPS = 2.0**-53

WEIGHTS = st.lists(st.floats(0.0, 1.0), min_size=2, max_size=12).filter(lambda w: sum(w) > 0.1)


def distribution(weights):
    return np.array(weights) / np.sum(weights)


@given(WEIGHTS, st.randoms(use_true_random=False))
def test_cross_entropy_is_entropy_and_divergence(weights, random):
    """CE(p, q) = H(p) + KL(p‖q), KL >= 0, and 0 only for p = q."""
    p = distribution(weights)
    q = distribution([random.uniform(0.01, 1) for _ in weights])
    ce = F.cross_entropy(dl.tensor(np.log(q))[None], dl.tensor(p)[None]).item()
    h = F.entropy(dl.tensor(p)).item()
    kl = F.kl_div(dl.tensor(np.log(q)), dl.tensor(p), reduction="sum").item()
    bound = 16 * EPS * len(p) * (ce + 1)
    assert abs(ce - (h + kl)) <= bound
    assert kl >= -bound and 0 <= h + bound <= math.log(len(p)) + 2 * bound
    assert abs(F.kl_div(dl.tensor(np.log(q)), dl.tensor(q), reduction="sum").item()) <= bound


def test_divergence_from_what_is_impossible():
    p, q = dl.tensor([0.5, 0.5, 0.0]), dl.tensor([1.0, 0.0, 0.0])
    assert F.kl_div(q.log(), p, reduction="sum").item() == math.inf
    assert F.kl_div(p.log(), q, reduction="sum").item() == pytest.approx(math.log(2))
    x = p.log().requires_grad_()
    F.kl_div(x, q, reduction="sum").backward()
    assert x.grad.tolist() == [-1.0, 0.0, 0.0]


def test_asymmetry():
    p, q = dl.tensor([0.9, 0.1]), dl.tensor([0.5, 0.5])
    there, back = (F.kl_div(b.log(), a, reduction="sum").item() for a, b in ((p, q), (q, p)))
    assert there == pytest.approx(0.9 * math.log(1.8) + 0.1 * math.log(0.2)) and back > there


def test_rounded_probabilities_pass():
    for dtype in ("float32", "bfloat16", "float64"):
        check_probabilities(dl.softmax(dl.randn(20, 1000, dtype=dtype), -1), "op")
    check_probabilities(dl.tensor([0.3, 0.9]), "op", dim=None)
    with pytest.raises(ValueError, match=r"\[op\] expected probabilities that sum to 1 along dim 0, got a sum of 0.9"):
        check_probabilities(dl.tensor([0.4, 0.5], dtype="float64"), "op", dim=0)


def test_module():
    a, b = dl.randn(4, 7, 3), dl.randn(4, 7, 3)
    assert (nn.CosineSimilarity(dim=2, eps=0.5)(a, b) == F.cosine_similarity(a, b, dim=2, eps=0.5)).all()
    assert nn.CosineSimilarity()(a, b).shape == (4, 3)


def test_penalty_is_weight_decay():
    model = nn.Linear(3, 2)
    F.l2_penalty(model.parameters(), 0.25).backward()
    assert (model.weight.grad == 0.5 * model.weight).all() and (model.bias.grad == 0.5 * model.bias).all()
