"""Batch norm folded into the layer before it gives what the two layers give in evaluation."""

import copy

import numpy as np
import pytest

import dlcore as dl
from dlcore import nn
from dlcore.nn.utils import fuse_conv_bn_eval, fuse_linear_bn_eval

rng = np.random.default_rng(5)


def seen(bn):
    """A norm in evaluation with statistics and parameters of its own."""
    for t in (bn.running_mean, bn.weight, bn.bias):
        if t is not None:
            nn.init.normal_(t)
    nn.init.uniform_(bn.running_var, 0.5, 2.0)
    return bn.eval()


def images(*shape):
    return dl.tensor(rng.standard_normal(shape).astype(np.float32))


def check(fused, layer, bn, x):
    """Against the two layers in float64. A sum of n terms is within n + 4 roundings of its terms' magnitudes: the
    products, and what the fold does to each of them (square root, quotient, two products)."""
    layer, bn, x = copy.deepcopy(layer).double(), copy.deepcopy(bn).double(), x.double()
    truth = bn(layer(x)).detach().numpy()
    terms = layer.weight.numel() // layer.weight.shape[0] + 1
    with dl.no_grad():
        for t in (layer.weight, layer.bias, bn.weight, bn.bias):
            if t is not None:
                t.copy_(t.abs())
        bn.running_mean.copy_(-bn.running_mean.abs())
    magnitude = bn(layer(x.abs())).detach().numpy()
    error = np.abs(fused(x.float()).detach().numpy() - truth)
    assert (error <= (terms + 4) * 2.0**-24 * magnitude).all()


@pytest.mark.parametrize(
    ("conv", "bn"),
    [
        (nn.Conv2d(5, 7, 3, stride=2, padding=1), nn.BatchNorm2d(7)),
        (nn.Conv2d(6, 8, 3, groups=2, bias=False), nn.BatchNorm2d(8, eps=1e-2)),
        (nn.Conv2d(6, 33, 1), nn.BatchNorm2d(33, affine=False)),
        (nn.Conv2d(6, 4, (3, 1), bias=False), nn.BatchNorm2d(4, bias=False)),
    ],
)
def test_convolution(conv, bn):
    conv.eval(), seen(bn)
    before = [t.numpy().copy() for t in (*conv.parameters(), *bn.parameters())]
    fused = fuse_conv_bn_eval(conv, bn)
    check(fused, conv, bn, images(2, conv.in_channels, 9, 8))
    assert type(fused) is nn.Conv2d and fused.stride == conv.stride and fused.weight.requires_grad
    for t, old in zip((*conv.parameters(), *bn.parameters()), before, strict=True):
        assert np.array_equal(t.numpy(), old)


def test_linear():
    linear, bn = nn.Linear(13, 17).eval(), seen(nn.BatchNorm1d(17))
    check(fuse_linear_bn_eval(linear, bn), linear, bn, images(5, 13))


def test_hooks_are_the_fused_layers_own():
    conv, calls = nn.Conv2d(3, 4, 1).eval(), []
    fused = fuse_conv_bn_eval(conv, seen(nn.BatchNorm2d(4)))
    fused.register_forward_hook(lambda *given: calls.append(given))
    conv(images(1, 3, 2, 2))
    assert not calls


@pytest.mark.parametrize(
    ("conv", "bn", "text"),
    [
        (nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4).eval(), "expected layers in evaluation, got a Conv2d in training"),
        (nn.Conv2d(3, 4, 1).eval(), nn.BatchNorm2d(4), "expected layers in evaluation, got a BatchNorm2d in training"),
        (nn.Conv2d(3, 4, 1).eval(), nn.BatchNorm2d(4, track_running_stats=False).eval(), "must track running"),
        (nn.Conv2d(3, 4, 1).eval(), nn.BatchNorm2d(5).eval(), "expected 4 channels, .* got a norm of 5"),
    ],
)
def test_errors(conv, bn, text):
    with pytest.raises(ValueError, match=text):
        fuse_conv_bn_eval(conv, bn)
