"""Samplers on data whose best possible network is known: a normal distribution."""

import math

import numpy as np
import pytest

import dlcore as dl
from dlcore.diffusion import DDIMSampler, DDPMSampler, DPMSolver, GaussianDiffusion

MEAN, DEVIATION = 0.7, 0.3


def best(process):
    """E[ε | x_t] where x_0 ~ N(MEAN, DEVIATION²), as what the process predicts."""

    def model(x, t):
        bar = process.alphas_bar[t.tolist()[0]]
        eps = math.sqrt(1 - bar) / (bar * DEVIATION**2 + 1 - bar) * (x - math.sqrt(bar) * MEAN)
        if process.prediction == "epsilon":
            return eps
        x0 = (x - math.sqrt(1 - bar) * eps) / math.sqrt(bar)
        return x0 if process.prediction == "x0" else math.sqrt(bar) * eps - math.sqrt(1 - bar) * x0

    return model


def error_of(sampler, noise):
    """From the end of the path that the differential equation takes: each x keeps its place among the x_t."""
    # A last step from x_{t=0} to x_0 is the posterior mean, which is short of the path by part of √β_0.
    bar = sampler.diffusion.alphas_bar[sampler.timesteps[0]]
    exact = MEAN + DEVIATION * (noise - math.sqrt(bar) * MEAN) / math.sqrt(bar * DEVIATION**2 + 1 - bar)
    got = sampler.sample(best(sampler.diffusion), noise=dl.tensor(noise)).numpy()
    return np.abs(got - exact).max()


@pytest.mark.parametrize("prediction", ["epsilon", "v", "x0"])
def test_orders_of_convergence(prediction):
    """Twice the steps: half the error at first order, and a quarter at second."""
    process = GaussianDiffusion(20_000, "linear", prediction, beta_start=5e-6, beta_end=1e-3)
    noise = np.linspace(-3, 3, 13)
    for make, most in (
        (lambda n: DDIMSampler(process, n, clip=None), 0.6),
        (lambda n: DPMSolver(process, n, order=1), 0.6),
        (lambda n: DPMSolver(process, n, order=2), 0.35),
    ):
        errors = [error_of(make(n), noise) for n in (20, 40)]
        assert errors[1] < most * errors[0], errors
    assert error_of(DPMSolver(process, 40), noise) < error_of(DPMSolver(process, 40, order=1), noise)


@pytest.mark.parametrize("make", [DDPMSampler, lambda p, **o: DDIMSampler(p, 1000, eta=1.0, **o)], ids=["ddpm", "ddim"])
def test_samples_have_the_distribution(make):
    process, n = GaussianDiffusion(), 20_000
    dl.manual_seed(0)
    x = make(process, clip=None).sample(best(process), (n, 1)).numpy()
    assert abs(x.mean() - MEAN) < 5 * DEVIATION / math.sqrt(n)
    # The smaller of the two variances in question falls short of the right one by a share of about β.
    assert abs(x.var() / DEVIATION**2 - 1) < 5 * math.sqrt(2 / n) + process.betas[-1]


def test_clip_and_callback():
    process, seen = GaussianDiffusion(100), []
    sampler = DDIMSampler(process, 10, clip=0.5)
    x = sampler.sample(best(process), noise=dl.randn((50, 1)), callback=lambda t, x: seen.append(t))
    assert seen == sampler.timesteps == list(range(90, -1, -10))
    assert abs(x.numpy()).max() <= 0.5  # the last step gives x_0
    assert np.array_equal(*(sampler.sample(best(process), noise=dl.ones((2, 2))).numpy() for _ in range(2)))


def test_solver_forgets():
    """A sample does not depend on the one before it."""
    process = GaussianDiffusion(100)
    solver = DPMSolver(process, 10)
    a, _, b = (solver.sample(best(process), noise=dl.full((1, 1), v)).item() for v in (1.0, -2.0, 1.0))
    assert a == b


PROCESS, X = GaussianDiffusion(10), dl.zeros((2, 3))
ERRORS = [
    (lambda: DDPMSampler(PROCESS, 11), "[DDPMSampler] expected between 1 and 10 steps, got 11"),
    (lambda: DDPMSampler(PROCESS, clip=0), "[DDPMSampler] expected clip above 0 or None, got 0"),
    (
        lambda: DDPMSampler(PROCESS, variance="learned"),
        "[DDPMSampler] expected variance 'fixed_small' or 'fixed_large', g",
    ),
    (lambda: DDIMSampler(PROCESS, 5, eta=2.0), "[DDIMSampler] expected eta in [0, 1], got 2.0"),
    (lambda: DPMSolver(PROCESS, 5, order=4), "[DPMSolver] expected order 1 or 2, got 4"),
    (
        lambda: DDIMSampler(PROCESS, 5).step(X, 3, X),
        "[DDIMSampler] expected a t of the timesteps [8, 6, 4, 2, 0], got 3",
    ),
    (
        lambda: DDIMSampler(PROCESS, 5).sample(None),
        "[DDIMSampler] expected shape or noise, got shape None and noise None",
    ),
    (
        lambda: DDIMSampler(PROCESS, 5).step(dl.zeros((2, 4)), 8, X),
        "expected the network's output of shape (2, 3), got (2,",
    ),
]


@pytest.mark.parametrize("call, text", ERRORS, ids=[text for _, text in ERRORS])
def test_errors(call, text):
    with pytest.raises(ValueError) as caught:
        call()
    assert text in str(caught.value)
