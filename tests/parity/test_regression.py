"""Linear regression and Bayes' estimates against scikit-learn and SciPy, on scikit-learn's diabetes data."""

import numpy as np
import pytest
from scipy import stats
from sklearn import linear_model
from sklearn.datasets import load_diabetes

import dlcore as dl
from dlcore import bayes
from dlcore.distributions import Laplace, Normal
from dlcore.models import LinearRegression

X, Y = load_diabetes(return_X_y=True)


@pytest.mark.parametrize("method", ["normal", "gd"])
@pytest.mark.parametrize("l2", [0.0, 0.5])
def test_diabetes(method, l2):
    theirs = (linear_model.Ridge(l2, solver="cholesky") if l2 else linear_model.LinearRegression()).fit(X, Y)
    ours = LinearRegression(10, l2=l2).fit(X, Y, method=method)
    np.testing.assert_allclose(ours.weight.numpy()[0], theirs.coef_, atol=1e-5)
    assert ours.bias.item() == pytest.approx(theirs.intercept_, abs=1e-5)
    assert ours.score(X, Y) == pytest.approx(theirs.score(X, Y), abs=1e-10)
    np.testing.assert_allclose(ours.predict(X).numpy(), theirs.predict(X), atol=1e-5)


SIGMA = 50.0
XC, YC = dl.tensor(X - X.mean(0)), dl.tensor(Y - Y.mean())


def log_likelihood(w):
    return Normal(XC @ w, SIGMA).log_prob(YC)


def test_ridge_is_the_map_of_a_gaussian_prior():
    """λ = σ² / s² for noise σ and a prior N(0, s²)."""
    ridge = linear_model.Ridge(0.5, solver="cholesky").fit(X, Y).coef_
    prior = Normal(0.0, SIGMA / np.sqrt(0.5))
    fit = bayes.fit_map(log_likelihood, prior.log_prob, [np.zeros(10)])
    np.testing.assert_allclose(fit.params[0].numpy(), ridge, rtol=1e-6)


def test_lasso_is_the_map_of_a_laplace_prior():
    """Lasso's alpha is σ² / (n b). At a corner the gradient says little: the objective is what comes near."""
    alpha = 0.05
    lasso = dl.tensor(linear_model.Lasso(alpha, tol=1e-12, max_iter=100_000).fit(X, Y).coef_)
    prior = Laplace(0.0, SIGMA**2 / (len(Y) * alpha))
    fit = bayes.fit_map(log_likelihood, prior.log_prob, [np.zeros(10)])
    best = log_likelihood(lasso).sum() + prior.log_prob(lasso).sum()
    assert fit.log_prob <= best.item() + 1e-8 and best.item() - fit.log_prob < 1e-6
    assert (np.abs(fit.params[0].numpy())[lasso.numpy() == 0] < 1e-6).all()


def test_beta():
    theta = np.linspace(0, 1, 21)[1:-1]
    ours, theirs = bayes.BetaBernoulli(2.5, 0.7), stats.beta(2.5, 0.7)
    np.testing.assert_allclose(ours.log_prob(theta).numpy(), theirs.logpdf(theta), rtol=1e-13, atol=1e-14)
    assert ours.mean == pytest.approx(theirs.mean()) and ours.variance == pytest.approx(theirs.var())
