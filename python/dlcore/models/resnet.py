"""Residual networks of 18 to 152 layers, with torchvision's names.

Source: K. He et al., "Deep residual learning for image recognition", 2015; as in torchvision, a bottleneck's stride is
in its 3 × 3 convolution.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, ClassVar

from dlcore import nn, ops
from dlcore.nn import init
from dlcore.nn.utils import fuse_conv_bn_eval
from dlcore.tensor import Tensor

__all__ = ["ResNet", "ResNetConfig", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]


@dataclass
class ResNetConfig:
    """The depth of each of four stages, whose images have 64, 128, 256 and 512 channels inside a block.

    Raises:
        ValueError: a block that does not exist, or sizes below 1.
    """

    block: str = "basic"  # two 3 × 3 convolutions; "bottleneck": 1 × 1, 3 × 3 and 1 × 1 to four times the channels
    layers: tuple[int, int, int, int] = (2, 2, 2, 2)
    in_channels: int = 3
    num_classes: int = 1000
    zero_init_residual: bool = False  # each block begins as the identity: its last norm's weight is 0

    def __post_init__(self) -> None:
        if self.block not in BLOCKS:
            raise ValueError(f"[ResNet] expected block 'basic' or 'bottleneck', got {self.block!r}")
        if len(self.layers) != 4 or min(*self.layers, self.in_channels, self.num_classes) < 1:
            raise ValueError(f"[ResNet] expected four depths and sizes of at least 1, got {self}")


def _convolved(
    conv: nn.Conv2d, norm: nn.Module, x: Tensor, relu: bool = True, residual: Tensor | None = None
) -> Tensor:
    """relu(norm(conv(x)) + residual). Where the norm is folded into the convolution, that does it all as it stores."""
    if isinstance(norm, nn.Identity):
        options = (conv.stride, conv.padding, conv.dilation, conv.groups, "relu" if relu else None, residual)
        return ops.conv2d(x, conv.weight, conv.bias, *options)
    y = norm(conv(x))
    y = y if residual is None else y + residual
    return ops.relu(y) if relu else y


class _Block(nn.Module):
    """x + F(x), with F's convolutions and norms named conv1, bn1, ...; `downsample` fits x to another size of F(x)."""

    expansion: ClassVar[int]
    depth: ClassVar[int]

    def __init__(self, channels: int, width: int, stride: int) -> None:
        made = width * self.expansion
        self.downsample: nn.Sequential | None = None
        if stride != 1 or channels != made:
            self.downsample = nn.Sequential(nn.Conv2d(channels, made, 1, stride, bias=False), nn.BatchNorm2d(made))

    def forward(self, x: Tensor) -> Tensor:
        skip = x if self.downsample is None else _convolved(self.downsample[0], self.downsample[1], x, relu=False)
        for i in range(1, self.depth):
            x = _convolved(getattr(self, f"conv{i}"), getattr(self, f"bn{i}"), x)
        return _convolved(getattr(self, f"conv{self.depth}"), getattr(self, f"bn{self.depth}"), x, residual=skip)


class _Basic(_Block):
    expansion, depth = 1, 2

    def __init__(self, channels: int, width: int, stride: int) -> None:
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        super().__init__(channels, width, stride)


class _Bottleneck(_Block):
    expansion, depth = 4, 3

    def __init__(self, channels: int, width: int, stride: int) -> None:
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * 4, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * 4)
        super().__init__(channels, width, stride)


BLOCKS: dict[str, type[_Block]] = {"basic": _Basic, "bottleneck": _Bottleneck}


class ResNet(nn.Module):
    """Images (N, C, H, W) to logits (N, num_classes). They may be of any size; it is made for 224."""

    layer1: nn.Sequential
    layer2: nn.Sequential
    layer3: nn.Sequential
    layer4: nn.Sequential

    def __init__(self, config: ResNetConfig | None = None) -> None:
        self.config = config = config or ResNetConfig()
        self.conv1 = nn.Conv2d(config.in_channels, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        block, channels = BLOCKS[config.block], 64
        for i, depth in enumerate(config.layers):
            blocks = []
            for j in range(depth):
                blocks.append(block(channels, 64 << i, 2 if i > 0 and j == 0 else 1))
                channels = (64 << i) * block.expansion
            setattr(self, f"layer{i + 1}", nn.Sequential(*blocks))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, config.num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, _Block) and config.zero_init_residual:
                init.zeros_(getattr(module, f"bn{module.depth}").weight)

    def features(self, x: Tensor) -> list[Tensor]:
        """The output of each stage, from fine to coarse: (N, 64 e, H / 4, W / 4) to (N, 512 e, H / 32, W / 32)."""
        x = self.maxpool(_convolved(self.conv1, self.bn1, x))  # (N, 64, H / 4, W / 4)
        stages = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            stages.append(x)
        return stages

    def forward(self, x: Tensor) -> Tensor:
        x = self.avgpool(self.features(x)[-1])  # (N, 512 e, 1, 1)
        return self.fc(ops.flatten(x, 1))

    def fused(self) -> ResNet:
        """A copy for inference, with every norm folded into the convolution before it. It has no norms to load."""
        model = copy.deepcopy(self).eval()
        for module in list(model.modules()):
            if isinstance(module, (ResNet, _Block)):
                for i in range(1, (module.depth if isinstance(module, _Block) else 1) + 1):
                    conv, norm = getattr(module, f"conv{i}"), getattr(module, f"bn{i}")
                    setattr(module, f"conv{i}", fuse_conv_bn_eval(conv, norm))
                    setattr(module, f"bn{i}", nn.Identity())
            if isinstance(module, _Block) and module.downsample is not None:
                down = module.downsample
                down[0], down[1] = fuse_conv_bn_eval(down[0], down[1]), nn.Identity()
        return model


def resnet18(**options: Any) -> ResNet:
    """`ResNet` of 18 layers; options of `ResNetConfig`, such as num_classes."""
    return ResNet(ResNetConfig("basic", (2, 2, 2, 2), **options))


def resnet34(**options: Any) -> ResNet:
    """`ResNet` of 34 layers; options of `ResNetConfig`, such as num_classes."""
    return ResNet(ResNetConfig("basic", (3, 4, 6, 3), **options))


def resnet50(**options: Any) -> ResNet:
    """`ResNet` of 50 layers; options of `ResNetConfig`, such as num_classes."""
    return ResNet(ResNetConfig("bottleneck", (3, 4, 6, 3), **options))


def resnet101(**options: Any) -> ResNet:
    """`ResNet` of 101 layers; options of `ResNetConfig`, such as num_classes."""
    return ResNet(ResNetConfig("bottleneck", (3, 4, 23, 3), **options))


def resnet152(**options: Any) -> ResNet:
    """`ResNet` of 152 layers; options of `ResNetConfig`, such as num_classes."""
    return ResNet(ResNetConfig("bottleneck", (3, 8, 36, 3), **options))
