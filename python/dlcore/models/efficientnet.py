"""EfficientNet-lite: a small image classifier of depthwise convolutions, without squeeze-and-excitation.

Source: M. Tan, Q. Le, "EfficientNet: rethinking model scaling for convolutional neural networks", 2019; the lite
variants are TensorFlow's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dlcore import nn, ops
from dlcore.nn import init
from dlcore.nn.conv import check_input
from dlcore.tensor import Tensor

__all__ = ["EfficientNetLite", "EfficientNetLiteConfig", "efficientnet_lite0"]


@dataclass
class EfficientNetLiteConfig:
    """Each stage as (blocks, kernel, stride, expansion, channels); the first block of a stage has its stride.

    Raises:
        ValueError: sizes below 1, kernels of even size, or a dropout outside of [0, 1].
    """

    stages: tuple[tuple[int, int, int, int, int], ...] = (
        (1, 3, 1, 1, 16),
        (2, 3, 2, 6, 24),
        (2, 5, 2, 6, 40),
        (3, 3, 2, 6, 80),
        (3, 5, 1, 6, 112),
        (4, 5, 2, 6, 192),
        (1, 3, 1, 6, 320),
    )
    stem: int = 32
    head: int = 1280
    num_classes: int = 1000
    dropout: float = 0.2
    norm_eps: float = 1e-3
    norm_momentum: float = 0.01

    def __post_init__(self) -> None:
        sizes = (self.stem, self.head, self.num_classes, *(n for stage in self.stages for n in stage))
        if not self.stages or min(sizes) < 1 or any(kernel % 2 == 0 for _, kernel, *_ in self.stages):
            raise ValueError(f"[EfficientNetLite] expected stages, odd kernels and sizes of at least 1, got {self}")
        if not 0 <= self.dropout <= 1:
            raise ValueError(f"[EfficientNetLite] expected a dropout in [0, 1], got {self.dropout}")


class _SameConv2d(nn.Conv2d):
    """Padded so that the output has ⌈size / stride⌉ rows and columns, an odd row at the bottom, as in TensorFlow."""

    def forward(self, x: Tensor) -> Tensor:
        check_input(self, x, 2, self.in_channels)
        widths: list[int] = []
        for size, k, s in zip(x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            both = max((-(-size // s) - 1) * s + k - size, 0)
            widths += [both // 2, both - both // 2]
        even = widths[0] == widths[1] and widths[2] == widths[3]
        padding = (widths[2], widths[0]) if even else 0
        x = x if even else ops.pad(x, widths)
        return ops.conv2d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


def _relu6(x: Tensor) -> Tensor:
    return ops.clamp(x, 0.0, 6.0)


class _Block(nn.Module):
    """Expand to many channels, convolve each by itself, project to few; added to x where the shapes are the same."""

    def __init__(
        self, config: EfficientNetLiteConfig, c: int, kernel: int, stride: int, expand: int, made: int
    ) -> None:
        wide, norm = c * expand, (config.norm_eps, config.norm_momentum)
        self.residual = stride == 1 and c == made
        self.expand_conv = nn.Conv2d(c, wide, 1, bias=False) if expand > 1 else None
        self.bn0 = nn.BatchNorm2d(wide, *norm) if expand > 1 else None
        self.depthwise_conv = _SameConv2d(wide, wide, kernel, stride, groups=wide, bias=False)
        self.bn1 = nn.BatchNorm2d(wide, *norm)
        self.project_conv = nn.Conv2d(wide, made, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(made, *norm)

    def forward(self, x: Tensor) -> Tensor:
        y = x
        if self.expand_conv is not None and self.bn0 is not None:
            y = _relu6(self.bn0(self.expand_conv(y)))
        y = _relu6(self.bn1(self.depthwise_conv(y)))
        y = self.bn2(self.project_conv(y))
        return x + y if self.residual else y


class EfficientNetLite(nn.Module):
    """Images (N, 3, H, W), in (pixel - 127) / 128, to logits (N, num_classes). It is made for 224 × 224.

    The names are those of the package efficientnet-lite-pytorch without their leading underscores; its checkpoints
    load by `load_state_dict(EfficientNetLite.renamed(state))`.
    """

    def __init__(self, config: EfficientNetLiteConfig | None = None) -> None:
        self.config = config = config or EfficientNetLiteConfig()
        norm = (config.norm_eps, config.norm_momentum)
        self.conv_stem = _SameConv2d(3, config.stem, 3, 2, bias=False)
        self.bn0 = nn.BatchNorm2d(config.stem, *norm)
        blocks, c = [], config.stem
        for depth, kernel, stride, expand, made in config.stages:
            for i in range(depth):
                blocks.append(_Block(config, c, kernel, stride if i == 0 else 1, expand, made))
                c = made
        self.blocks = nn.Sequential(*blocks)
        self.conv_head = nn.Conv2d(c, config.head, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(config.head, *norm)
        self.avg_pooling = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(config.dropout)
        self.fc = nn.Linear(config.head, config.num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @staticmethod
    def renamed(state: Mapping[str, Any]) -> dict[str, Any]:
        """A state_dict of efficientnet-lite-pytorch under the names here."""
        return {".".join(part.removeprefix("_") for part in name.split(".")): value for name, value in state.items()}

    def forward(self, x: Tensor) -> Tensor:
        x = _relu6(self.bn0(self.conv_stem(x)))  # (N, 32, H / 2, W / 2)
        x = self.blocks(x)  # (N, 320, H / 32, W / 32)
        x = self.avg_pooling(_relu6(self.bn1(self.conv_head(x))))  # (N, 1280, 1, 1)
        return self.fc(self.dropout(ops.flatten(x, 1)))


def efficientnet_lite0(**options: Any) -> EfficientNetLite:
    """The smallest of them; options of `EfficientNetLiteConfig`, such as num_classes."""
    return EfficientNetLite(EfficientNetLiteConfig(**options))
