"""Batch norm folded into the layer before it, for inference."""

from __future__ import annotations

import copy
from typing import TypeVar

from dlcore.nn.conv import Conv2d
from dlcore.nn.linear import Linear
from dlcore.nn.normalization import BatchNorm1d, BatchNorm2d
from dlcore.nn.parameter import Parameter
from dlcore.state import no_grad

__all__ = ["fuse_conv_bn_eval", "fuse_linear_bn_eval"]

Layer = TypeVar("Layer", Conv2d, Linear)


def fuse_conv_bn_eval(conv: Conv2d, bn: BatchNorm2d) -> Conv2d:
    """A convolution that gives what `bn(conv(x))` gives in evaluation, without the pass over its output.

    With s = bn.weight / √(running_var + eps) its weight is w · s for each channel made, its bias
    (b - running_mean) · s + bn.bias. The two layers stay as they are.

    Args:
        conv, bn: layers in evaluation (`.eval()`); bn tracks running statistics of as many channels as conv makes.

    Raises:
        ValueError: a layer is in training, bn has no running statistics, or the numbers of channels differ.

    Source: as `torch.nn.utils.fuse_conv_bn_eval`.
    """
    return _fused(conv, conv.out_channels, bn, "fuse_conv_bn_eval")


def fuse_linear_bn_eval(linear: Linear, bn: BatchNorm1d) -> Linear:
    """A linear layer that gives what `bn(linear(x))` gives in evaluation for x (N, I); see `fuse_conv_bn_eval`."""
    return _fused(linear, linear.out_features, bn, "fuse_linear_bn_eval")


def _fused(layer: Layer, channels: int, bn: BatchNorm1d | BatchNorm2d, op: str) -> Layer:
    for module in (layer, bn):
        if module.training:
            raise ValueError(f"[{op}] expected layers in evaluation, got a {type(module).__name__} in training")
    if bn.running_mean is None or bn.running_var is None:
        raise ValueError(f"[{op}] {type(bn).__name__} must track running statistics")
    if bn.num_features != channels:
        raise ValueError(f"[{op}] expected {channels} channels, as the layer makes, got a norm of {bn.num_features}")
    with no_grad():
        scale = (bn.running_var + bn.eps).rsqrt()
        if bn.weight is not None:
            scale = scale * bn.weight
        shift = -bn.running_mean if layer.bias is None else layer.bias - bn.running_mean
        shift = shift * scale if bn.bias is None else shift * scale + bn.bias
        fused = copy.deepcopy(layer)
        fused.weight = Parameter(layer.weight * scale.reshape(channels, *[1] * (layer.weight.ndim - 1)))
        fused.bias = Parameter(shift)
    return fused
