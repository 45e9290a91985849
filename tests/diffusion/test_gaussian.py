"""The diffusion process against its definition, its loss, averaged weights, errors."""

import math

import numpy as np
import pytest

import dlcore as dl
from dlcore import nn
from dlcore.diffusion import EMA, GaussianDiffusion
from tests.opcases import EPS

rng = np.random.default_rng(0)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_closed_form_is_many_single_steps(schedule):
    """x_t = √(1 - β) x_{t-1} + √β z, one by one, has the mean and the variance of x_t in one step."""
    process, n, x0 = GaussianDiffusion(50, schedule, beta_end=0.2), 20_000, 1.7
    x = np.full(n, x0)
    for beta in process.betas[:30]:
        x = math.sqrt(1 - beta) * x + math.sqrt(beta) * rng.standard_normal(n)
    dl.manual_seed(0)
    once = process.q_sample(dl.full((n,), x0), dl.full((n,), 29, dtype=dl.int64)).numpy()
    variance = 1 - process.alphas_bar[29]
    for sample in (x, once):
        assert abs(sample.mean() - math.sqrt(1 - variance) * x0) < 5 * math.sqrt(variance / n)
        assert abs(sample.var() - variance) < 5 * variance * math.sqrt(2 / n)


def test_schedules():
    linear, cosine = GaussianDiffusion(), GaussianDiffusion(schedule="cosine")
    assert linear.betas[0] == 1e-4 and linear.betas[-1] == 0.02 and np.allclose(np.diff(linear.betas, 2), 0)
    ramp = np.cos((np.arange(1, 900) / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2
    start = math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    assert np.abs(cosine.alphas_bar[:899] - ramp / start).max() < 1000 * EPS["float64"]
    assert cosine.betas.max() == 0.999


@pytest.mark.parametrize("prediction", ["epsilon", "v", "x0"])
def test_targets_mean_x0_and_noise(prediction):
    process = GaussianDiffusion(100, prediction=prediction)
    x0, noise = (dl.tensor(rng.standard_normal((3, 2, 4))) for _ in range(2))
    t = dl.tensor([0, 40, 99])
    x = process.q_sample(x0, t, noise)
    got = process.x0_and_noise(process.target(x0, noise, t), x, t)
    smallest = math.sqrt(min(process.betas[0], process.alphas_bar[-1]))  # what is divided by
    for a, b in zip(got, (x0, noise), strict=True):
        assert np.abs(a.numpy() - b.numpy()).max() <= 32 * EPS["float64"] / smallest
    perfect = lambda given, at: process.target(x0, noise, at)  # noqa: E731
    assert process.loss(perfect, x0, t, noise).item() == 0
    assert process.loss(lambda given, at: given * 0, x0).item() > 0


def test_loss_draws_and_passes_on():
    process, seen = GaussianDiffusion(10), []

    def model(x, t, labels=None):
        seen.append((x.shape, t.tolist(), labels))
        return x

    dl.manual_seed(0)
    process.loss(model, dl.zeros((64, 3)), labels="told")
    (shape, t, labels) = seen[0]
    assert shape == (64, 3) and labels == "told" and set(t) == set(range(10))


def test_ema():
    layer = nn.Linear(2, 1)
    average = EMA(layer, 0.5)
    values = []
    for step in range(20):
        with dl.no_grad():
            layer.weight.copy_(dl.full((1, 2), float(step)))
        average.update()
        values.append(average.average["weight"].numpy()[0, 0])
    assert values[0] == 0
    expected = 0.0
    for n in range(1, 20):
        d = min(0.5, (1 + n) / (10 + n))
        expected = d * expected + (1 - d) * n
    assert abs(values[-1] - expected) < 20 * 20 * EPS["float32"]
    with average.applied() as averaged:
        assert averaged is layer and layer.weight.numpy()[0, 0] == values[-1]
    assert layer.weight.numpy()[0, 0] == 19 and layer.weight.requires_grad


PROCESS, X = GaussianDiffusion(10), dl.zeros((2, 3))
ERRORS = [
    (lambda: GaussianDiffusion(0), ValueError, "[GaussianDiffusion] expected steps of at least 1, got 0"),
    (lambda: GaussianDiffusion(schedule="sqrt"), ValueError, "expected schedule 'linear' or 'cosine', got 'sqrt'"),
    (
        lambda: GaussianDiffusion(prediction="score"),
        ValueError,
        "expected prediction of ('epsilon', 'v', 'x0'), got 'sc",
    ),
    (
        lambda: GaussianDiffusion(beta_end=1.5),
        ValueError,
        "expected 0 < beta_start <= beta_end < 1, got 0.0001 and 1.5",
    ),
    (lambda: PROCESS.q_sample(X, dl.tensor([0, 10])), IndexError, "expected t in [0, 10), got 0 to 10"),
    (
        lambda: PROCESS.q_sample(X, dl.tensor([0, 1, 2])),
        ValueError,
        "expected one t for each of 2 samples, got shape (3,)",
    ),
    (
        lambda: PROCESS.q_sample(X, dl.tensor([0.5, 1])),
        ValueError,
        "expected t as a number or integers (N,), got float",
    ),
    (lambda: PROCESS.q_sample(X, 3, dl.zeros((2, 4))), ValueError, "expected noise of shape (2, 3), got (2, 4)"),
    (lambda: PROCESS.x0_and_noise(None, X, 3), TypeError, "expected the network's output as a Tensor, got NoneType"),
    (lambda: EMA(nn.Linear(1, 1), 1.0), ValueError, "[EMA] expected decay in [0, 1), got 1.0"),
]


@pytest.mark.parametrize("call, error, text", ERRORS, ids=[text for _, _, text in ERRORS])
def test_errors(call, error, text):
    with pytest.raises(error) as caught:
        call()
    assert text in str(caught.value)
