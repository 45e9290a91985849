"""Diagnostics: vanishing and exploding gradients, Jacobians against their products, feature maps, drawing, errors."""

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pytest
from matplotlib import pyplot

import dlcore as dl
from dlcore import nn
from dlcore.diagnostics import feature_maps, gradient_flow, jacobian_flow
from dlcore.models import MLP, LeNet, MLPConfig

DEPTH, WIDTH = 30, 32


class Residual(nn.Module):
    def __init__(self, width):
        self.linear = nn.Linear(width, width)

    def forward(self, x):
        return x + dl.relu(self.linear(x)) * DEPTH**-0.5


def sigmoid_mlp():
    return MLP(MLPConfig(WIDTH, (WIDTH,) * (DEPTH - 1), WIDTH, activation="sigmoid"))


def residual_mlp():
    return nn.Sequential(*(Residual(WIDTH) for _ in range(DEPTH)))


@pytest.fixture(autouse=True)
def seeds():
    dl.manual_seed(0)
    yield
    pyplot.close("all")


def flow_of(model):
    model.zero_grad()
    model(dl.randn(16, WIDTH)).square().mean().backward()
    return gradient_flow(model)


def test_sigmoid_vanishes_and_residual_does_not():
    """Each sigmoid's slope is at most 1/4, and so is a layer's factor here; over 29 layers less than 4⁻²⁹ is left."""
    vanishing = flow_of(sigmoid_mlp())
    assert len(vanishing.names) == DEPTH and vanishing.names[0] == "layers.0.weight"
    assert 0 < vanishing.norms[0] < 4.0**-29 * vanishing.norms[-1]
    steady = flow_of(residual_mlp())
    assert steady.names[0] == "0.linear.weight" and len(steady.names) == DEPTH
    assert 0.1 < steady.norms[0] / steady.norms[-1] < 10


def test_jacobians():
    x = dl.randn(8, WIDTH)
    vanishing = jacobian_flow(residual_mlp(), x)
    assert len(vanishing.names) == DEPTH  # the linear layers, whose outputs are before the shortcut
    # A chain of linear layers: the Jacobian is the product of their weights, for every sample.
    model = nn.Sequential(*(nn.Linear(6, 6) for _ in range(4))).double()
    flow = jacobian_flow(model, dl.randn(5, 6, dtype="float64"), draws=4000)
    product, expected = np.eye(6), []
    for layer in reversed(model):
        expected.append(np.linalg.norm(product))
        product = product @ layer.weight.detach().numpy()
    # ‖Jᵀv‖² has at most the relative variance 2; the draws of 5 samples are independent.
    assert np.abs(flow.norms / expected[::-1] - 1).max() < 4 * np.sqrt(2 / 20_000) / 2
    assert flow.names == ["0", "1", "2", "3"] and all(p.grad is None for p in model.parameters())


def test_sigmoid_jacobian_shrinks_by_a_quarter_each_layer():
    model = sigmoid_mlp()
    flow = jacobian_flow(
        nn.Sequential(*(nn.Sequential(layer, nn.Sigmoid()) for layer in model.layers)), dl.randn(8, WIDTH)
    )
    linear = flow.norms[::2]
    assert (linear[:-1] < linear[1:] / 4).all()
    explode = nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(DEPTH)))
    for layer in explode:
        nn.init.normal_(layer.weight, 0.0, 2 * WIDTH**-0.5)
    norms = jacobian_flow(explode, dl.randn(8, WIDTH)).norms
    assert norms[0] > 1e6 * norms[-1]


def test_feature_maps():
    model = LeNet()
    x = dl.randn(2, 1, 28, 28)
    found = feature_maps(model, x)
    assert {n: m.shape for n, m in found.maps.items()} == {
        "conv1": (2, 6, 28, 28),
        "pool": (2, 16, 5, 5),
        "conv2": (2, 16, 10, 10),
    }
    assert {n: w.shape for n, w in found.filters.items()} == {"conv1": (6, 1, 5, 5), "conv2": (16, 6, 5, 5)}
    assert (found.maps["conv1"] == model.conv1(x).detach().numpy()).all()
    assert list(feature_maps(model, x, ["conv2"]).maps) == ["conv2"]
    assert not model.conv2._forward_hooks


def test_drawings():
    found = feature_maps(LeNet(), dl.randn(1, 1, 28, 28))
    figure = found.plot(columns=4)
    assert len(figure.axes) == 12 and sum(len(ax.images) for ax in figure.axes) == 12
    assert [ax.get_title(loc="left") for ax in figure.axes[::4]] == list(found.maps)
    assert sum(len(ax.images) for ax in found.plot_filters(columns=20).axes) == 6 + 16
    flow = flow_of(sigmoid_mlp())
    axes = flow.plot(label="sigmoid")
    (line,) = axes.lines
    assert (line.get_ydata() == flow.norms).all() and axes.get_yscale() == "log" and "∂L/∂W" in axes.get_ylabel()
    assert flow_of(residual_mlp()).plot(axes) is axes and len(axes.lines) == 2


def test_errors():
    model = sigmoid_mlp()
    for call, text in (
        (
            lambda: gradient_flow(model),
            r"\[gradient_flow\] expected parameters with gradients, got none; call backward",
        ),
        (lambda: jacobian_flow(model, dl.ones((1, WIDTH)), draws=0), r"\[jacobian_flow\] expected draws >= 1, got 0"),
        (
            lambda: jacobian_flow(nn.ReLU(), dl.ones((1, 2))),
            r"\[jacobian_flow\] expected layers of the model, got none",
        ),
        (
            lambda: feature_maps(LeNet(), dl.ones((1, 1, 28, 28)), ["conv3"]),
            r"\[feature_maps\] expected layers of the model, got \['conv3'\]; there are 'conv1', 'conv2'",
        ),
        (
            lambda: feature_maps(model, dl.ones((1, WIDTH)), ["layers.0"]),
            r"\[feature_maps\] expected layers with outputs \(N, C, H, W\), got \{'layers.0': \(1, 32\)\}",
        ),
    ):
        with pytest.raises(ValueError, match=text):
            call()
