"""Loss modules against NumPy in float64, every reduction, and logits so large that careless formulas overflow."""

import math

import numpy as np
import pytest

import dlcore as dl
from dlcore import nn
from tests.opcases import EPS

rng = np.random.default_rng(0)
A, B = rng.standard_normal((6, 4)), rng.standard_normal((6, 4))
P = rng.uniform(0.01, 0.99, (6, 4))
Y = (rng.random((6, 4)) < 0.5).astype(np.float64)
LABELS = np.array([0, 3, 1, 1, -100, 2])
W = np.array([0.5, 1.0, 2.0, 0.25])
DISTRIBUTION = P / P.sum(1, keepdims=True)


def log_softmax(x):
    x = x - x.max(1, keepdims=True)
    return x - np.log(np.exp(x).sum(1, keepdims=True))


def softplus(x):
    return np.logaddexp(0, x)


def picked(logp, weight=None, labels=LABELS):
    weight = np.ones(logp.shape[1]) if weight is None else weight
    counts = labels >= 0
    at = np.where(counts, labels, 0)
    weights = np.where(counts, weight[at], 0.0)
    return -logp[np.arange(len(labels)), at] * weights, weights.sum()


def smoothed(logp, smoothing, weight=None):
    own, total = picked(logp, weight)
    weight = np.ones(logp.shape[1]) if weight is None else weight
    even = np.where(LABELS >= 0, -(logp * weight).sum(1) / logp.shape[1], 0.0)
    return (1 - smoothing) * own + smoothing * even, total


def d(x):
    return dl.tensor(x)


DIVERGENCE = DISTRIBUTION * (np.log(DISTRIBUTION) - log_softmax(A))

# (module given a reduction, arguments, unreduced values, divisor of the mean or None for their number)
CASES = {
    "MSE": (nn.MSELoss, {}, (A, B), (A - B) ** 2, None),
    "L1": (nn.L1Loss, {}, (A, B), np.abs(A - B), None),
    "SmoothL1": (
        nn.SmoothL1Loss,
        {"beta": 0.5},
        (A, B),
        np.where(np.abs(A - B) < 0.5, (A - B) ** 2, np.abs(A - B) - 0.25),
        None,
    ),
    "Huber": (
        nn.HuberLoss,
        {"delta": 0.5},
        (A, B),
        np.where(np.abs(A - B) <= 0.5, (A - B) ** 2 / 2, 0.5 * (np.abs(A - B) - 0.25)),
        None,
    ),
    "CrossEntropy": (nn.CrossEntropyLoss, {}, (A, LABELS), *picked(log_softmax(A))),
    "CrossEntropy weighted": (nn.CrossEntropyLoss, {"weight": W}, (A, LABELS), *picked(log_softmax(A), W)),
    "CrossEntropy smoothed": (
        nn.CrossEntropyLoss,
        {"label_smoothing": 0.1},
        (A, LABELS),
        *smoothed(log_softmax(A), 0.1),
    ),
    "CrossEntropy weighted and smoothed": (
        nn.CrossEntropyLoss,
        {"label_smoothing": 0.1, "weight": W},
        (A, LABELS),
        *smoothed(log_softmax(A), 0.1, W),
    ),
    "CrossEntropy probabilities": (
        nn.CrossEntropyLoss,
        {},
        (A, DISTRIBUTION),
        -(log_softmax(A) * DISTRIBUTION).sum(1),
        None,
    ),
    "CrossEntropy large": (nn.CrossEntropyLoss, {}, (A * 1e4, LABELS), *picked(log_softmax(A * 1e4))),
    "NLL": (nn.NLLLoss, {"weight": W}, (log_softmax(A), LABELS), *picked(log_softmax(A), W)),
    "BCE": (nn.BCELoss, {}, (P, Y), -(Y * np.log(P) + (1 - Y) * np.log(1 - P)), None),
    "BCE certain": (nn.BCELoss, {}, (Y, 1 - Y), np.full(Y.shape, 100.0), None),
    "BCEWithLogits": (nn.BCEWithLogitsLoss, {}, (A, Y), softplus(A) - A * Y, None),
    "BCEWithLogits large": (nn.BCEWithLogitsLoss, {}, (A * 1e4, Y), softplus(A * 1e4) - A * 1e4 * Y, None),
    "BCEWithLogits weighted": (
        nn.BCEWithLogitsLoss,
        {"weight": W, "pos_weight": W[::-1].copy()},
        (A, Y),
        W * (W[::-1] * Y * softplus(-A) + (1 - Y) * softplus(A)),
        None,
    ),
    "KLDiv": (nn.KLDivLoss, {}, (log_softmax(A), DISTRIBUTION), DIVERGENCE, None),
    "KLDiv logs": (
        nn.KLDivLoss,
        {"log_target": True},
        (log_softmax(A), np.log(DISTRIBUTION)),
        DIVERGENCE,
        None,
    ),
}


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("case", CASES)
def test_values(case, reduction):
    module, options, args, values, divisor = CASES[case]
    options = {k: d(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    x = dl.tensor(args[0], requires_grad=True)
    loss = module(reduction=reduction, **options)(x, d(args[1]))
    expected = {"none": values, "sum": values.sum(), "mean": values.sum() / (divisor or values.size)}[reduction]
    assert loss.shape == np.shape(expected)
    # A few float64 roundings of each term and of the sum.
    scale = np.abs(values).sum() if reduction != "none" else np.abs(values) + np.abs(args[0]).max()
    assert (np.abs(loss.numpy() - expected) <= 64 * EPS["float64"] * scale).all()
    loss.sum().backward()
    assert np.isfinite(x.grad.numpy()).all()


def test_batchmean():
    x, y = log_softmax(A), DISTRIBUTION
    loss = nn.KLDivLoss(reduction="batchmean")(d(x), d(y)).item()
    assert math.isclose(loss, (y * (np.log(y) - x)).sum() / 6, rel_tol=64 * EPS["float64"])


def test_weights_are_saved():
    assert list(nn.CrossEntropyLoss(weight=d(W)).state_dict()) == ["weight"]
    assert list(nn.CrossEntropyLoss().state_dict()) == []


@pytest.mark.parametrize("module", [nn.MSELoss, nn.CrossEntropyLoss, nn.BCELoss])
def test_bad_reduction(module):
    name = module.__name__
    with pytest.raises(ValueError, match=rf"\[{name}\] expected reduction to be one of 'mean', 'sum', 'none', got"):
        module(reduction="avg")
