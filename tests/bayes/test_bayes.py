"""Conjugate updates against the grid and closed forms, fits against closed forms, errors. SciPy's and scikit-learn's
values are in tests/parity."""

import math

import numpy as np
import pytest

import dlcore as dl
from dlcore import bayes
from dlcore.distributions import Bernoulli, Normal, Uniform

COINS = [1, 0, 1, 1, 0, 1, 1, 1]
LENGTHS = np.array([2.1, 1.9, 2.6, 2.4])


def test_beta_bernoulli():
    prior = bayes.BetaBernoulli(2.0, 3.0)
    post = prior.update(COINS)
    assert (post.alpha, post.beta) == (8.0, 5.0) and post == prior.update(COINS[:3]).update(dl.tensor(COINS[3:]))
    assert post.mean == 8 / 13 and post.mode == 7 / 11 and post.variance == pytest.approx(40 / (13**2 * 14))
    assert post.predictive().mean.item() == np.float32(8 / 13)
    # The evidence is the product of what each observation was predicted with.
    told, steps = prior, 0.0
    for x in COINS:
        steps += math.log(told.mean if x else 1 - told.mean)
        told = told.update([x])
    assert prior.log_evidence(COINS) == pytest.approx(steps, rel=1e-13)
    theta = dl.linspace(0, 1, 2001, dtype="float64")
    density = post.log_prob(theta).exp().numpy()
    assert np.trapezoid(density, theta.numpy()) == pytest.approx(1, rel=1e-6)
    flat = bayes.BetaBernoulli()
    assert flat.log_prob([-0.1, 0.0, 0.5, 1.0, 1.1]).tolist() == [-math.inf, 0, 0, 0, -math.inf]


def test_normal_normal():
    prior = bayes.NormalNormal(1.0, 2.0, 0.5)
    post = prior.update(LENGTHS)
    precision = 1 / 4 + 4 / 0.25
    assert post.variance == pytest.approx(1 / precision, rel=1e-15)
    assert post.mean == pytest.approx((1 / 4 + LENGTHS.sum() / 0.25) / precision, rel=1e-15)
    one_by_one = prior
    steps = 0.0
    for x in LENGTHS:
        steps += Normal(np.float64(one_by_one.loc), math.hypot(one_by_one.scale, 0.5)).log_prob(x).item()
        one_by_one = one_by_one.update([x])
    assert one_by_one.loc == pytest.approx(post.loc, rel=1e-14)
    assert prior.log_evidence(LENGTHS) == pytest.approx(steps, rel=1e-13)
    assert prior.log_evidence([]) == 0 and prior.update([]).loc == 1.0
    assert post.predictive().stddev.item() == pytest.approx(math.sqrt(1 / precision + 0.25))
    # A mean far from 0 costs no digits.
    far = bayes.NormalNormal(1e8, 2.0, 0.5).update(LENGTHS + 1e8)
    assert far.loc - 1e8 == pytest.approx(bayes.NormalNormal(0.0, 2.0, 0.5).update(LENGTHS).loc, abs=2e-8)


def test_the_grid_finds_the_conjugate_posterior():
    prior = bayes.BetaBernoulli(2.0, 3.0)
    coins = dl.tensor(COINS, dtype="float64")

    def log_likelihood(theta):
        return dl.stack([Bernoulli(theta).log_prob(x) for x in coins]).sum(0)

    found = bayes.posterior_grid(log_likelihood, prior, dl.linspace(0, 1, 4001, dtype="float64"))
    exact = prior.update(COINS)
    # The rule's error: h² / 12 times the slopes at the ends, which are 0 here; the rest is of order h⁴.
    assert found.mean() == pytest.approx(exact.mean, abs=1e-10)
    assert found.variance() == pytest.approx(exact.variance, abs=1e-10)
    assert found.mode()[0] == pytest.approx(exact.mode, abs=1 / 4000)
    assert found.log_evidence == pytest.approx(prior.log_evidence(COINS), abs=1e-10)
    assert (found.marginal(0) == found.density).all()


def test_a_grid_of_two_parameters():
    """Mean and deviation of normal observations; given the deviation, the mean's posterior is that of NormalNormal."""
    x = dl.tensor(LENGTHS)

    def log_likelihood(mu, sigma):
        return dl.stack([Normal(mu, sigma).log_prob(v) for v in x]).sum(0)

    mu, sigma = np.linspace(0, 5, 401), np.array([0.4, 0.5, 0.6])
    found = bayes.posterior_grid(log_likelihood, lambda m, s: Normal(1.0, 2.0).log_prob(m) + 0 * s, mu, sigma)
    assert found.density.shape == (401, 3) and found.marginal(1).shape == (3,)
    slice_ = found.density[:, 1].numpy()
    mean = np.trapezoid(slice_ * mu, mu) / np.trapezoid(slice_, mu)
    assert mean == pytest.approx(bayes.NormalNormal(1.0, 2.0, 0.5).update(LENGTHS).loc, abs=1e-8)
    assert 2 < found.mean(0) < 2.5 and 0.4 < found.mean(1) < 0.6 and len(found.mode()) == 2


def test_mle_of_the_gaussian():
    x = dl.tensor(LENGTHS)
    fit = bayes.fit_mle(lambda mu, log_sigma: Normal(mu, log_sigma.exp()).log_prob(x), [0.0, 0.0])
    mu, log_sigma = fit.params
    assert mu.item() == pytest.approx(LENGTHS.mean(), rel=1e-9)
    assert math.exp(log_sigma.item()) == pytest.approx(LENGTHS.std(), rel=1e-9)  # biased: divided by n
    expected = -4 * (math.log(LENGTHS.std()) + 0.5 * math.log(2 * math.pi * math.e))
    assert fit.log_prob == pytest.approx(expected, rel=1e-14) and fit.steps < 30


def test_mle_of_an_ill_conditioned_quadratic():
    scale = dl.tensor(10.0 ** np.arange(6))
    fit = bayes.fit_mle(lambda t: -(scale * (t - 1) ** 2), [np.zeros(6)])
    np.testing.assert_allclose(fit.params[0].numpy(), 1, atol=1e-9)


def test_map_with_a_laplace_prior_shrinks_to_zero():
    """(x - θ)² / 2 + |θ| / b is least at the soft threshold: x - sign(x) / b, or 0 where |x| <= 1 / b."""
    x = dl.tensor([3.0, -0.4, -2.0], dtype="float64")
    fit = bayes.fit_map(lambda t: -0.5 * (x - t) ** 2, lambda t: -dl.abs(t) / 2.0, [dl.ones(3)])
    np.testing.assert_allclose(fit.params[0].numpy(), [2.5, 0.0, -1.5], atol=1e-7)


def test_map_of_a_coin():
    """Under a Beta prior the most probable probability is the posterior's mode."""
    prior = bayes.BetaBernoulli(2.0, 3.0)
    coins = dl.tensor(COINS, dtype="float64")
    fit = bayes.fit_map(
        lambda logit: Bernoulli(logits=logit).log_prob(coins), lambda logit: prior.log_prob(logit.sigmoid()), [0.0]
    )
    assert fit.params[0].sigmoid().item() == pytest.approx(prior.update(COINS).mode, abs=1e-9)


def test_what_does_not_converge_is_said():
    with pytest.warns(RuntimeWarning, match=r"\[fit_mle\] no maximum after 3 steps; the largest derivative is "):
        bayes.fit_mle(lambda t: t, [0.0], max_steps=3)


BAD = [
    (lambda: bayes.BetaBernoulli(0.0), r"\[BetaBernoulli\] expected a finite alpha > 0, got 0.0"),
    (lambda: bayes.BetaBernoulli(1.0, math.nan), r"\[BetaBernoulli\] expected a finite beta > 0, got nan"),
    (lambda: bayes.BetaBernoulli().update([0, 2]), r"\[BetaBernoulli\] expected observations 0 or 1, got 2"),
    (lambda: bayes.BetaBernoulli().mode, r"\[BetaBernoulli.mode\] expected alpha and beta >= 1, not both 1, got 1.0"),
    (lambda: bayes.NormalNormal(0.0, -1.0, 1.0), r"\[NormalNormal\] expected a finite scale > 0, got -1.0"),
    (lambda: bayes.NormalNormal(0.0, 1.0, 0.0), r"\[NormalNormal\] expected a finite noise > 0, got 0.0"),
    (lambda: bayes.NormalNormal(0.0, 1.0, 1.0).update([math.nan]), r"expected finite observations, got nan"),
    (lambda: bayes.posterior_grid(dl.log, dl.log), r"\[posterior_grid\] expected at least one grid"),
    (
        lambda: bayes.posterior_grid(dl.log, dl.log, [0.0, 1.0, 1.0]),
        r"expected ascending points \(n,\), n >= 2, got grid 0",
    ),
    (
        lambda: bayes.posterior_grid(lambda t: t.sum(), dl.log, [1.0, 2.0]),
        r"\[posterior_grid\] expected log_likelihood to give a tensor of shape \(2,\), got shape \(\)",
    ),
    (
        lambda: bayes.posterior_grid(dl.log, lambda t: 0.0, [1.0, 2.0]),
        r"\[posterior_grid\] expected log_prior to give a tensor of shape \(2,\), got float",
    ),
    (
        lambda: bayes.posterior_grid(dl.log, dl.log, [-1.0, 2.0]),
        r"expected log_likelihood to give numbers below infinity",
    ),
    (
        lambda: bayes.posterior_grid(dl.log, Uniform(0.0, 1.0), [2.0, 3.0]),
        r"\[posterior_grid\] expected a point of the grid with a posterior above 0, got none",
    ),
    (lambda: bayes.fit_mle(dl.log, []), r"\[fit_mle\] expected at least one parameter in init"),
    (lambda: bayes.fit_mle(dl.log, [0.0]), r"\[fit_mle\] expected a finite objective at init, got -inf"),
]


@pytest.mark.parametrize(("call", "text"), BAD)
def test_bad_values(call, text):
    with pytest.raises(ValueError, match=text):
        call()
