"""ResNets: torchvision's names and shapes, sizes of images, norms folded away, learning, errors."""

import hashlib

import numpy as np
import pytest

import dlcore as dl
from dlcore import models, nn, optim
from dlcore.models import ResNet, ResNetConfig
from tests.opcases import EPS

# sha256 of repr([(key, shape), ...]) of torchvision 0.28's state_dict, in its order.
TORCHVISION = {
    "resnet18": "9682c6fd405d8d701ab48875427c1aae63e06927fe09b4b1f8d66f5cc28da7d3",
    "resnet34": "b5362b8c319971db113c84a186ac5c3ccbb4750f9ef781b40fc7cd53bde9a968",
    "resnet50": "f398fe5f16a958c815e2e2a8a6359aa7364268391e2d346b12b97b523d9b02f0",
    "resnet101": "08d49ebbdc97fd5e8745e0341d69c22c335d017c20da0b99c267b89e624bfaa9",
    "resnet152": "e0308459e9c0dd3381051ca37e706448aad106cd620480e3501a2b0ec5f64087",
}


@pytest.mark.parametrize("name", TORCHVISION)
def test_names_and_shapes_are_torchvisions(name):
    with nn.init.skip():
        model = getattr(models, name)()
    listed = [(k, v.shape) for k, v in model.state_dict().items()]
    assert hashlib.sha256(repr(listed).encode()).hexdigest() == TORCHVISION[name]


def small(block, **options):
    dl.manual_seed(0)
    return ResNet(ResNetConfig(block, (1, 1, 1, 1), num_classes=10, **options))


def images(*shape):
    return dl.tensor(np.random.default_rng(0).standard_normal(shape).astype(np.float32))


@pytest.mark.parametrize("block, e", [("basic", 1), ("bottleneck", 4)])
def test_shapes(block, e):
    model = small(block, in_channels=1).eval()
    with dl.no_grad():
        stages = model.features(images(2, 1, 64, 96))
        assert [s.shape for s in stages] == [(2, 64 * e << i, 16 >> i, 24 >> i) for i in range(4)]
        for size in (1, 33):
            assert model(images(1, 1, size, size)).shape == (1, 10)


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_norms_are_folded(block):
    """The same sums with weights that were rounded once more: a few units of each layer's rounding."""
    model, x = small(block), images(2, 3, 40, 40)
    model(x)  # running statistics that are not 0 and 1
    model.eval()
    with dl.no_grad():
        y, fused = model(x).numpy(), model.fused()
        assert not any(isinstance(m, nn.BatchNorm2d) for m in fused.modules())
        layers = sum(isinstance(m, nn.Conv2d) for m in fused.modules())
        assert np.abs(fused(x).numpy() - y).max() <= layers * 8 * EPS["float32"] * np.abs(y).max()
    assert any(isinstance(m, nn.BatchNorm2d) for m in model.modules())


def test_blocks_begin_as_the_identity():
    model = small("basic", zero_init_residual=True).eval()
    x = dl.abs(images(2, 64, 8, 8))
    assert np.array_equal(model.layer1(x).numpy(), x.numpy())


def test_learning():
    """Four images by heart, in ten steps."""
    model, x, y = small("basic"), images(4, 3, 32, 32), dl.tensor([0, 1, 2, 3])
    optimizer = optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    for _ in range(10):
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05 and model(x).argmax(1).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda: ResNetConfig("wide"), r"\[ResNet\] expected block 'basic' or 'bottleneck', got 'wide'"),
        (lambda: ResNetConfig(layers=(1, 1, 1)), r"\[ResNet\] expected four depths and sizes of at least 1"),
        (lambda: models.resnet18(num_classes=0), r"\[ResNet\] expected four depths and sizes of at least 1"),
        (
            lambda: small("basic")(dl.zeros((1, 1, 8, 8))),
            r"^conv1: expected 3 channels, got 1 \(input \(1, 1, 8, 8\)\)",
        ),
    ],
)
def test_errors(make, text):
    with pytest.raises(ValueError, match=text):
        make()
