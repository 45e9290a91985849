"""Distributions against SciPy's: densities, cumulative probabilities, moments, entropies, samples and divergences.

The allowed errors are units of rounding in float64, times the size of the terms that a value is the sum of.
"""

import math

import numpy as np
import pytest
from scipy import special, stats

import dlcore as dl
from dlcore.distributions import Bernoulli, Categorical, Laplace, MultivariateNormal, Normal, Uniform, kl_divergence
from tests.distributions.common import LOC, MU, SCALE, SIGMA, WEIGHTS, P, close

X = np.concatenate([np.linspace(-40, 61, 41), LOC])[:, None]

LINE = {
    "normal": (Normal(LOC, SCALE), stats.norm(LOC, SCALE)),
    "laplace": (Laplace(LOC, SCALE), stats.laplace(LOC, SCALE)),
    "uniform": (Uniform(LOC, LOC + SCALE), stats.uniform(LOC, SCALE)),
}


@pytest.mark.parametrize("name", LINE)
def test_on_the_line(name):
    ours, theirs = LINE[name]
    assert ours.batch_shape == (4,) and ours.event_shape == ()
    close(ours.log_prob(X), theirs.logpdf(X), terms=4)
    close(ours.cdf(X), theirs.cdf(X), terms=1)
    close(ours.entropy(), theirs.entropy(), terms=4)
    close(ours.mean, theirs.mean(), terms=np.abs(LOC))
    close(ours.variance, theirs.var())
    close(ours.stddev, theirs.std())


@pytest.mark.parametrize("name", LINE)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_samples_pass_kolmogorov_smirnov(name, dtype):
    """At the level 1e-3, with a seed: the numbers are always the same."""
    ours, theirs = LINE[name]
    given = (ours.low, ours.high) if name == "uniform" else (ours.loc, ours.scale)
    draws = type(ours)(*(p.to(dtype) for p in given)).sample((20_000,), generator=dl.Generator(3)).numpy()
    assert draws.shape == (20_000, 4) and draws.dtype == dtype
    uniform = theirs.cdf(draws)  # float32's parameters are those of float64 to 6e-8, which 20,000 draws do not show
    for column in uniform.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-3


def test_multivariate_normal():
    ours, theirs = MultivariateNormal(MU, SIGMA), stats.multivariate_normal(MU, SIGMA)
    x = np.random.default_rng(0).normal(size=(7, 3)) * 3
    close(ours.log_prob(x), theirs.logpdf(x), terms=40)
    close(ours.log_prob(x[0]), theirs.logpdf(x[0]), terms=40)
    close(ours.entropy(), theirs.entropy(), terms=4)
    close(ours.variance, np.diag(SIGMA))
    close(ours.covariance_matrix, SIGMA, terms=1)
    close(MultivariateNormal(MU, scale_tril=np.linalg.cholesky(SIGMA)).log_prob(x), theirs.logpdf(x), terms=40)
    # Whitened, draws are standard normal in every direction.
    draws = np.asarray(ours.sample((20_000,), generator=dl.Generator(5)))
    white = np.linalg.solve(np.linalg.cholesky(SIGMA), (draws - MU).T)
    for direction in np.concatenate([np.eye(3), np.ones((1, 3)) / np.sqrt(3)]):
        assert stats.kstest(direction @ white, "norm").pvalue > 1e-3


def test_a_batch_of_multivariate_normals():
    mus, sigmas = np.stack([MU, -MU]), np.stack([SIGMA, 2 * SIGMA])
    ours = MultivariateNormal(mus, sigmas)
    assert ours.batch_shape == (2,) and ours.sample((5,)).shape == (5, 2, 3) and ours.entropy().shape == (2,)
    x = np.random.default_rng(1).normal(size=(4, 2, 3))
    expected = [
        stats.multivariate_normal(m, s).logpdf(x[:, i]) for i, (m, s) in enumerate(zip(mus, sigmas, strict=True))
    ]
    close(ours.log_prob(x), np.stack(expected, 1), terms=40)
    assert MultivariateNormal(mus, SIGMA).log_prob(x).shape == (4, 2)


def test_bernoulli():
    ours, theirs = Bernoulli(P), stats.bernoulli(P)
    k = np.array([[0.0], [1.0]])
    close(ours.log_prob(k), theirs.logpmf(k))
    close(ours.cdf([[-0.5], [0.0], [0.7], [1.0]]), theirs.cdf(np.array([[-0.5], [0.0], [0.7], [1.0]])))
    close(ours.entropy(), theirs.entropy())
    close(ours.variance, theirs.var())
    draws = np.asarray(ours.sample((40_000,), generator=dl.Generator(1)))
    assert set(np.unique(draws)) == {0.0, 1.0}
    assert (np.abs(draws.mean(0) - P) <= 4 * np.sqrt(P * (1 - P) / 40_000)).all()
    logits = np.array([-1e4, -3.0, 0.0, 40.0])
    close(Bernoulli(logits=logits).log_prob(k), -np.logaddexp(0, np.where(k == 1, -logits, logits)))
    close(Bernoulli(logits=logits).logits, logits, terms=np.abs(logits))


@pytest.mark.parametrize("how", ["probs", "logits"])
def test_categorical(how):
    with np.errstate(divide="ignore"):
        ours = Categorical(**{how: WEIGHTS if how == "probs" else np.log(WEIGHTS) + 3})
        close(ours.log_prob(np.array([[0], [1], [2]])), np.log(WEIGHTS).T, terms=4)
    close(ours.entropy(), [stats.entropy(w) for w in WEIGHTS], terms=4)
    draws = np.asarray(ours.sample((30_000,), generator=dl.Generator(2)))
    assert draws.shape == (30_000, 2) and ours.sample().shape == (2,) and ours.sample((0,)).shape == (0, 2)
    for i, w in enumerate(WEIGHTS):
        counts = np.bincount(draws[:, i], minlength=3)
        assert counts[w == 0].sum() == 0
        assert stats.chisquare(counts[w > 0], w[w > 0] * 30_000).pvalue > 1e-3
    assert Categorical(logits=dl.zeros(5)).sample((2, 3)).shape == (2, 3)


def test_divergences():
    """Closed forms against the definition: by quadrature on the line, by sums over outcomes, by their formula."""
    grid = np.linspace(-60, 60, 600_001)
    for make, frozen in ((Normal, stats.norm), (Laplace, stats.laplace)):
        p, q = make(0.5, np.array(1.5)), make(-1.0, np.array(2.5))
        lp, lq = frozen.logpdf(grid, 0.5, 1.5), frozen.logpdf(grid, -1.0, 2.5)
        expected = np.trapezoid(np.exp(lp) * (lp - lq), grid)
        assert kl_divergence(p, q).item() == pytest.approx(expected, rel=1e-8)  # the trapezoidal rule's error
        assert kl_divergence(p, p).item() == 0 and kl_divergence(q, p).item() != kl_divergence(p, q).item()
    a, b = MultivariateNormal(MU, SIGMA), MultivariateNormal(-MU, np.diag([1.0, 2.0, 3.0]))
    inverse = np.diag([1, 1 / 2, 1 / 3])
    formula = np.trace(inverse @ SIGMA) + 2 * MU @ inverse @ MU * 2 - 3 + math.log(6) - np.linalg.slogdet(SIGMA)[1]
    close(kl_divergence(a, b), formula / 2, terms=8)
    one = MultivariateNormal([0.5], [[2.25]]), MultivariateNormal([-1.0], [[6.25]])
    close(
        kl_divergence(*one),
        np.float64(kl_divergence(Normal(0.5, np.array(1.5)), Normal(-1.0, np.array(2.5)))),
        4,
        2**30,
    )
    close(
        kl_divergence(Bernoulli(P), Bernoulli(P[::-1].copy())),
        [np.inf, 0.6 * 0, 0, np.inf][:1]
        + [
            0.2 * math.log(0.2 / 0.5) + 0.8 * math.log(0.8 / 0.5),
            0.5 * math.log(0.5 / 0.2) + 0.5 * math.log(0.5 / 0.8),
            np.inf,
        ],
        4,
    )
    close(
        kl_divergence(Categorical(WEIGHTS[:1]), Categorical(WEIGHTS[1:])), special.rel_entr(*WEIGHTS).sum(keepdims=True)
    )
    close(
        kl_divergence(Categorical(WEIGHTS[1:]), Categorical(WEIGHTS[:1])),
        special.rel_entr(*WEIGHTS[::-1]).sum(keepdims=True),
        4,
    )
    inside = kl_divergence(Uniform(0.0, np.array(1.0)), Uniform(-1.0, np.array(3.0)))
    close(inside, np.float64(math.log(4)))
    assert kl_divergence(Uniform(-1.0, 3.0), Uniform(0.0, 1.0)).item() == math.inf
