"""EfficientNet-lite: shapes and sizes, TensorFlow's padding, errors."""

import numpy as np
import pytest

import dlcore as dl
from dlcore.models import EfficientNetLite, EfficientNetLiteConfig, efficientnet_lite0
from dlcore.models.efficientnet import _SameConv2d


def small(**options):
    dl.manual_seed(0)
    stages = ((1, 3, 1, 1, 4), (2, 5, 2, 6, 8))
    return EfficientNetLite(
        EfficientNetLiteConfig(**{"stages": stages, "stem": 4, "head": 16, "num_classes": 5, **options})
    )


def test_size():
    """The parameters that the package's description counts."""
    assert sum(p.numel() for p in efficientnet_lite0().parameters()) == 4_652_008


def test_shapes():
    model = small()
    for size in (8, 33):
        assert model(dl.zeros((2, 3, size, size))).shape == (2, 5)


@pytest.mark.parametrize("size, kernel, stride", [(8, 3, 2), (9, 3, 2), (8, 5, 2), (7, 5, 1), (10, 3, 3)])
def test_same_padding(size, kernel, stride):
    """⌈size / stride⌉ windows, with what they lack split over both sides and the odd one at the end."""
    layer = _SameConv2d(1, 1, kernel, stride, bias=False)
    with dl.no_grad():
        layer.weight.copy_(dl.ones(layer.weight.shape))
    y = layer(dl.ones((1, 1, size, size))).numpy()[0, 0]
    out = -(-size // stride)
    before = max((out - 1) * stride + kernel - size, 0) // 2
    inside = [
        len([i for i in range(o * stride - before, o * stride - before + kernel) if 0 <= i < size]) for o in range(out)
    ]
    assert np.array_equal(y, np.outer(inside, inside))


def test_renamed():
    assert EfficientNetLite.renamed({"_blocks.0._bn1.weight": 1, "_fc.bias": 2}) == {
        "blocks.0.bn1.weight": 1,
        "fc.bias": 2,
    }


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda: small(stages=()), r"\[EfficientNetLite\] expected stages, odd kernels and sizes of at least 1"),
        (lambda: small(stages=((1, 4, 1, 1, 8),)), r"\[EfficientNetLite\] expected stages, odd kernels"),
        (lambda: small(dropout=2.0), r"\[EfficientNetLite\] expected a dropout in \[0, 1\], got 2.0"),
        (lambda: small()(dl.zeros((1, 1, 8, 8))), r"^conv_stem: expected 3 channels, got 1"),
    ],
)
def test_errors(make, text):
    with pytest.raises(ValueError, match=text):
        make()
