"""Entropy and divergence against SciPy's."""

import numpy as np
from hypothesis import given, settings
from scipy import special, stats

import dlcore as dl
from dlcore.nn import functional as F
from tests.nn.test_measure import EPS, WEIGHTS, distribution


@settings(deadline=None)
@given(WEIGHTS)
def test_entropy_and_divergence(weights):
    p, q = distribution(weights), distribution(weights[::-1])
    for base in (None, 2, 10):
        expected = stats.entropy(p, base=base)
        assert abs(F.entropy(dl.tensor(p), base=base).item() - expected) <= 8 * EPS * len(p) * (expected + 1)
    with np.errstate(divide="ignore"):
        kl = F.kl_div(dl.tensor(np.log(q)), dl.tensor(p), reduction="none").numpy()
    expected = special.rel_entr(p, q)
    assert (np.isinf(kl) == np.isinf(expected)).all()
    finite = np.isfinite(expected)
    # log p - log q against log(p / q): each logarithm is right to half a unit of its own size.
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.where(p > 0, p * (np.abs(np.log(p)) + np.abs(np.log(q)) + 1), 0)
    assert (np.abs(kl[finite] - expected[finite]) <= 4 * EPS * size[finite] + 1e-300).all()
