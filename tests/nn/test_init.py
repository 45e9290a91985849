"""Initial values: their distributions, PyTorch's defaults, reproducibility."""

import math

import numpy as np
import pytest

import dlcore as dl
from dlcore import nn
from dlcore.nn import init

N = 40_000  # draws behind each statistic


def moments_fit(x, mean, std):
    """Whether sample mean and deviation are within 5 standard errors (kurtosis of at most 3)."""
    n = x.size
    return abs(x.mean() - mean) < 5 * std / math.sqrt(n) and abs(x.std() - std) < 5 * std / math.sqrt(2 * n)


def drawn(function, shape, *args, **kwargs):
    x = dl.zeros(shape)
    assert function(x, *args, generator=dl.Generator(1), **kwargs) is x
    return x.numpy()


def test_uniform_and_normal():
    x = drawn(init.uniform_, (N,), -2.0, 3.0)
    assert x.min() >= -2 and x.max() < 3 and moments_fit(x, 0.5, 5 / math.sqrt(12))
    assert moments_fit(drawn(init.normal_, (N,), 1.0, 0.5), 1.0, 0.5)


def test_constants():
    x = dl.empty((3, 2), dtype=dl.bfloat16)
    assert init.constant_(x, 0.5).tolist() == [[0.5] * 2] * 3
    assert init.ones_(x).tolist() == [[1.0] * 2] * 3 and init.zeros_(x).tolist() == [[0.0] * 2] * 3
    assert init.eye_(dl.empty((2, 3))).tolist() == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    with pytest.raises(ValueError, match=r"\[eye_\] expected a matrix, got shape \(3,\)"):
        init.eye_(dl.empty((3,)))


@pytest.mark.parametrize("shape, fans", [((400, 100), (100, 400)), ((40, 10, 10, 10), (1000, 4000))])
def test_fans(shape, fans):
    fan_in, fan_out = fans
    for function in (init.xavier_uniform_, init.xavier_normal_):
        assert moments_fit(drawn(function, shape, gain=2.0), 0, 2 * math.sqrt(2 / (fan_in + fan_out)))
    for function in (init.kaiming_uniform_, init.kaiming_normal_):
        assert moments_fit(drawn(function, shape), 0, math.sqrt(2 / fan_in))
        assert moments_fit(drawn(function, shape, mode="fan_out", nonlinearity="relu"), 0, math.sqrt(2 / fan_out))
        assert moments_fit(drawn(function, shape, a=math.sqrt(5)), 0, math.sqrt(1 / 3 / fan_in))
    bound = math.sqrt(6 / (fan_in + fan_out))
    assert 0.99 * bound < np.abs(drawn(init.xavier_uniform_, shape)).max() <= bound


def test_gains():
    assert init.calculate_gain("linear") == init.calculate_gain("conv2d") == init.calculate_gain("sigmoid") == 1
    assert init.calculate_gain("tanh") == 5 / 3 and init.calculate_gain("selu") == 0.75
    assert init.calculate_gain("relu") == math.sqrt(2)
    assert init.calculate_gain("leaky_relu") == math.sqrt(2 / (1 + 0.01**2))
    assert init.calculate_gain("leaky_relu", 0.5) == math.sqrt(2 / 1.25)
    with pytest.raises(ValueError, match=r"\[calculate_gain\] expected one of tanh, relu, .* got 'swish'"):
        init.calculate_gain("swish")


@pytest.mark.parametrize("shape", [(20, 20), (30, 12), (12, 30), (8, 3, 5, 2)])
def test_orthogonal(shape):
    q = drawn(init.orthogonal_, shape, gain=2.0).reshape(shape[0], -1).astype(np.float64)
    gram = q @ q.T if q.shape[0] <= q.shape[1] else q.T @ q
    # Each entry is a float32 rounding of an orthonormal one: rows of n products of relative error 2 eps.
    assert np.abs(gram - 4 * np.eye(len(gram))).max() <= 4 * 2 * 2.0**-24 * math.sqrt(q.size)


@pytest.mark.parametrize("mean, std, a, b", [(0, 1, -2, 2), (1, 0.5, 0.5, 3), (0, 1, 3, 5), (0, 1, -0.01, 0.02)])
def test_truncated_normal(mean, std, a, b):
    x = drawn(init.trunc_normal_, (N,), mean, std, a, b)
    assert x.min() >= np.float32(a) and x.max() <= np.float32(b)
    grid = np.linspace(a, b, 200_001)
    density = np.exp(-(((grid - mean) / std) ** 2) / 2)
    density /= density.sum()
    expected = (grid * density).sum()
    deviation = math.sqrt(((grid - expected) ** 2 * density).sum())
    assert abs(x.mean() - expected) < 5 * deviation / math.sqrt(N)
    assert abs(x.std() - deviation) < 5 * deviation / math.sqrt(N)


@pytest.mark.parametrize(
    "call, text",
    [
        (lambda x: init.xavier_uniform_(x), r"\[xavier_uniform_\] fan in and fan out need at least two dimensions"),
        (lambda x: init.kaiming_normal_(x.reshape(2, 2), mode="fan"), "expected mode 'fan_in' or 'fan_out', got 'fan'"),
        (lambda x: init.orthogonal_(x), r"\[orthogonal_\] expected at least two dimensions, got shape \(4,\)"),
        (lambda x: init.trunc_normal_(x, a=2, b=1), "expected a < b and std > 0, got a=2, b=1"),
        (lambda x: init.trunc_normal_(x, std=0), "expected a < b and std > 0"),
    ],
)
def test_errors(call, text):
    with pytest.raises(ValueError, match=text):
        call(dl.zeros((4,)))


def test_parameters_are_filled_without_recording():
    p = nn.Parameter(dl.zeros((4, 4)))
    drawing = (init.uniform_, init.normal_, init.xavier_normal_, init.orthogonal_, init.trunc_normal_)
    for function in (*drawing, init.ones_):
        assert function(p) is p and p.is_leaf and p.requires_grad
    assert p.tolist() == [[1.0] * 4] * 4


def test_the_seed_decides():
    def layers():
        dl.manual_seed(3)
        return nn.Sequential(nn.Linear(5, 6), nn.Conv2d(2, 3, 3), nn.Embedding(7, 4)).state_dict()

    a, b = layers(), layers()
    assert all(np.array_equal(a[k].numpy(), b[k].numpy()) for k in a)


def test_default_values_of_layers():
    dl.manual_seed(0)
    linear = nn.Linear(100, 400)
    assert moments_fit(linear.weight.numpy(), 0, 0.1 / math.sqrt(3)) and np.abs(linear.weight.numpy()).max() <= 0.1
    assert moments_fit(linear.bias.numpy(), 0, 0.1 / math.sqrt(3))
    conv = nn.Conv2d(16, 64, 5, groups=4)
    bound = 1 / math.sqrt(4 * 25)
    assert moments_fit(conv.weight.numpy(), 0, bound / math.sqrt(3)) and np.abs(conv.bias.numpy()).max() <= bound
    embedding = nn.Embedding(200, 200, padding_idx=-1)
    assert embedding.weight.numpy()[199].tolist() == [0.0] * 200
    assert moments_fit(embedding.weight.numpy()[:199], 0, 1)
    norm = nn.LayerNorm((2, 3))
    assert norm.weight.tolist() == [[1.0] * 3] * 2 and norm.bias.tolist() == [[0.0] * 3] * 2
    attention = nn.MultiheadAttention(100, 4)
    assert moments_fit(attention.in_proj_weight.numpy(), 0, math.sqrt(2 / 400))
    assert attention.in_proj_bias.tolist() == [0.0] * 300 and attention.out_proj.bias.tolist() == [0.0] * 100


def test_skipping():
    with init.skip():
        with init.skip():
            pass
        x = dl.zeros((3, 3))
        for function in (init.uniform_, init.normal_, init.ones_, init.orthogonal_, init.trunc_normal_):
            function(x)
        assert x.tolist() == [[0.0] * 3] * 3
    assert init.ones_(x).tolist() == [[1.0] * 3] * 3
