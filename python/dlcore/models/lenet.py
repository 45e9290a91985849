"""LeNet-5: the first convolutional network that read numbers for a living.

Source: Y. LeCun et al., "Gradient-based learning applied to document recognition", 1998; with plain average pooling and
full connections between the feature maps, and tanh as there.
"""

from __future__ import annotations

from dataclasses import dataclass

from dlcore import nn, ops
from dlcore.tensor import Tensor

__all__ = ["LeNet", "LeNetConfig"]


@dataclass
class LeNetConfig:
    """Channels and size of the images, and how many classes there are.

    Raises:
        ValueError: images smaller than 12 pixels after padding, or sizes below 1.
    """

    in_channels: int = 1
    image_size: int = 28
    num_classes: int = 10
    padding: int = 2  # of the first convolution: 28 pixels become the paper's 32

    def __post_init__(self) -> None:
        if self.in_channels < 1 or self.num_classes < 1 or self.padding < 0:
            raise ValueError(f"[LeNet] expected positive sizes, got {self}")
        if self.features < 1:
            size = f"{self.image_size} pixels with padding {self.padding}"
            raise ValueError(f"[LeNet] images of {size} are too small: expected 16 with padding on both sides")

    @property
    def features(self) -> int:
        """Height and width of the last feature maps."""
        return ((self.image_size + 2 * self.padding - 4) // 2 - 4) // 2


class LeNet(nn.Module):
    """Images (N, C, H, W) to logits (N, num_classes)."""

    def __init__(self, config: LeNetConfig | None = None) -> None:
        self.config = config = config or LeNetConfig()
        self.conv1 = nn.Conv2d(config.in_channels, 6, 5, padding=config.padding)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * config.features**2, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, config.num_classes)
        self.pool = nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(ops.tanh(self.conv1(x)))  # (N, 6, 14, 14) for 28 pixels
        x = self.pool(ops.tanh(self.conv2(x)))  # (N, 16, 5, 5)
        x = ops.flatten(x, 1)  # (N, 400)
        x = ops.tanh(self.fc1(x))  # (N, 120)
        x = ops.tanh(self.fc2(x))  # (N, 84)
        return self.fc3(x)  # (N, num_classes)
