"""MLP and LeNet: shapes, structure, learning, errors."""

import numpy as np
import pytest

import dlcore as dl
from dlcore import nn
from dlcore.models import MLP, LeNet, LeNetConfig, MLPConfig
from tests.opcases import EPS


def test_mlp_is_its_formula():
    dl.manual_seed(0)
    model = MLP(MLPConfig(5, (7, 6), 3, activation="tanh")).double()
    x = np.random.default_rng(0).standard_normal((2, 4, 5))
    expected = x
    for i in range(3):
        w, b = model.layers[i].weight.numpy(), model.layers[i].bias.numpy()
        expected = expected @ w.T + b
        expected = np.tanh(expected) if i < 2 else expected
    # Sums of at most 7 products of numbers below 1, three layers deep.
    assert np.abs(model(dl.tensor(x)).numpy() - expected).max() <= 3 * 16 * EPS["float64"]
    assert [n for n, _ in model.named_parameters()] == [f"layers.{i}.{k}" for i in range(3) for k in ("weight", "bias")]


def test_mlp_options():
    assert len(list(MLP(MLPConfig(2, (), 3, bias=False)).parameters())) == 1
    model = MLP(MLPConfig(4, (64,), 2, dropout=0.5, activation="gelu"))
    x = dl.ones((3, 4))
    assert not np.array_equal(model(x).numpy(), model(x).numpy())
    assert np.array_equal(model.eval()(x).numpy(), model(x).numpy())


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda: MLPConfig(0, (3,), 2), r"\[MLP\] expected sizes of at least 1, got \(0, 3, 2\)"),
        (lambda: MLPConfig(1, (3,), 2, "swish"), "expected activation to be one of relu, gelu, .* got 'swish'"),
        (lambda: MLPConfig(1, (3,), 2, dropout=-1), "expected a probability dropout"),
        (lambda: LeNetConfig(image_size=8), "images of 8 pixels with padding 2 are too small"),
        (lambda: LeNetConfig(in_channels=0), r"\[LeNet\] expected positive sizes"),
        (lambda: MLP(MLPConfig(4, (3,), 2))(dl.zeros((2, 5))), r"^layers.0: expected last dimension 4, got 5"),
        (lambda: LeNet()(dl.zeros((1, 3, 28, 28))), r"^conv1: expected 1 channels, got 3 \(input \(1, 3, 28, 28\)\)"),
        (lambda: LeNet()(dl.zeros((1, 1, 32, 32))), r"^fc1: expected last dimension 400, got 576 \(input \(1, 576\)\)"),
    ],
)
def test_errors(make, text):
    with pytest.raises(ValueError, match=text):
        make()


@pytest.mark.parametrize("size, padding, channels", [(28, 2, 1), (32, 0, 3), (13, 2, 1)])
def test_lenet_shapes(size, padding, channels):
    model = LeNet(LeNetConfig(channels, size, 10, padding))
    assert model(dl.zeros((2, channels, size, size))).shape == (2, 10)


def test_lenet_size_and_summary():
    model = LeNet()
    assert sum(p.numel() for p in model.parameters()) == 61_706
    summary = model.summary(dl.zeros((1, 1, 28, 28)))
    rows = {row.path: row for row in summary.layers}
    assert rows["conv1"].multiply_adds == 6 * 28 * 28 * 25 and rows["conv2"].multiply_adds == 16 * 10 * 10 * 6 * 25
    assert summary.parameters == 61_706


def blobs(n, seed):
    """Bright squares in one of four corners: images and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, n)
    images = rng.standard_normal((n, 1, 16, 16)).astype(np.float32) * 0.3
    for i, label in enumerate(labels):
        r, c = 8 * (label // 2) + 1, 8 * (label % 2) + 1
        images[i, 0, r : r + 6, c : c + 6] += 1
    return dl.tensor(images), dl.tensor(labels)


@pytest.mark.parametrize("kind", ["lenet", "mlp"])
def test_learning(kind):
    """Plain gradient descent, by hand, on 64 images: the corner of a bright square is learnt and carries over."""
    dl.manual_seed(0)
    if kind == "lenet":
        model, rate = LeNet(LeNetConfig(1, 16, 4, padding=2)), 0.3
    else:
        model, rate = nn.Sequential(nn.Flatten(), MLP(MLPConfig(256, (32,), 4))), 0.1
    x, y = blobs(64, 0)
    criterion, losses = nn.CrossEntropyLoss(), []
    for _ in range(60):
        loss = criterion(model(x), y)
        losses.append(loss.item())
        model.zero_grad()
        loss.backward()
        with dl.no_grad():
            for p in model.parameters():
                p -= rate * p.grad
    assert losses[0] > 1.2 and losses[-1] < 0.2
    test_x, test_y = blobs(100, 1)
    with dl.no_grad():
        assert (model.eval()(test_x).argmax(1) == test_y).float().mean().item() >= 0.95
