"""A GAN of convolutions for images of 64 × 64, whose checkpoints have the names of PyTorch's DCGAN example.

Source: A. Radford et al., "Unsupervised representation learning with deep convolutional generative adversarial
networks", 2015.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dlcore import nn, ops
from dlcore.models.gan import GAN, LOSSES, GANConfig
from dlcore.nn import init
from dlcore.tensor import Tensor

__all__ = ["DCGAN", "DCGANConfig"]


@dataclass
class DCGANConfig(GANConfig):
    """Channels of the images and of the first and last layer, and their size, 8 · 2^k.

    Raises:
        ValueError: sizes below 1, a size that is not 8 · 2^k, or an unknown loss.
    """

    channels: int = 3
    size: int = 64
    latent: int = 100
    width: int = 64  # channels next to the image; each halving of its size doubles them

    def __post_init__(self) -> None:
        if self.size < 8 or self.size & (self.size - 1):
            raise ValueError(f"[DCGAN] expected a size that is a power of 2 from 8 on, got {self.size}")
        if min(self.channels, self.latent, self.width) < 1 or self.loss not in LOSSES:
            raise ValueError(f"[DCGAN] expected sizes of at least 1 and loss of {LOSSES}, got {self}")
        self.shape = (self.channels, self.size, self.size)

    @property
    def widths(self) -> list[int]:
        """Of the feature maps from half the image's size down to 4."""
        return [self.width << i for i in range(self.size.bit_length() - 3)]


class _Network(nn.Module):
    def __init__(self, *layers: nn.Module) -> None:
        self.main = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.main(x)


def _generator(config: DCGANConfig) -> nn.Module:
    layers: list[nn.Module] = []
    c = config.latent
    for i, made in enumerate(reversed(config.widths)):  # (N, latent, 1, 1) to (N, 8 width, 4, 4), then twice the size
        step, side = (1, 0) if i == 0 else (2, 1)
        layers += [nn.ConvTranspose2d(c, made, 4, step, side, bias=False), nn.BatchNorm2d(made), nn.ReLU()]
        c = made
    return _Network(*layers, nn.ConvTranspose2d(c, config.channels, 4, 2, 1, bias=False), nn.Tanh())


def _discriminator(config: DCGANConfig) -> nn.Module:
    layers: list[nn.Module] = []
    c = config.channels
    for i, made in enumerate(config.widths):  # (N, channels, size, size) to (N, 8 width, 4, 4), each half the size
        layers.append(nn.Conv2d(c, made, 4, 2, 1, bias=False))
        # A norm over the batch would tie the samples together, whose gradients a Wasserstein penalty takes one by one.
        layers += [] if i == 0 or config.loss == "wasserstein" else [nn.BatchNorm2d(made)]
        layers.append(nn.LeakyReLU(0.2))
        c = made
    return _Network(*layers, nn.Conv2d(c, 1, 4, 1, 0, bias=False))


class DCGAN(GAN):
    """z (N, latent) to images (N, channels, size, size) in [-1, 1], and images to logits; losses as in `GAN`."""

    config: DCGANConfig

    def __init__(self, config: DCGANConfig | None = None) -> None:
        super().__init__(config or DCGANConfig())
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                init.normal_(module.weight, 0.0, 0.02)
            elif isinstance(module, nn.BatchNorm2d) and module.weight is not None:
                init.normal_(module.weight, 1.0, 0.02)

    def _networks(self, config: Any) -> tuple[nn.Module, nn.Module]:
        return _generator(config), _discriminator(config)

    def generate(self, z: Tensor) -> Tensor:
        return self.generator(ops.reshape(z, (*z.shape, 1, 1)))

    def judge(self, x: Tensor) -> Tensor:
        if x.shape[1:] != self.config.shape:
            sizes = ", ".join(map(str, self.config.shape))
            raise ValueError(f"[DCGAN] expected images of shape (N, {sizes}), got {x.shape}")
        return ops.reshape(self.discriminator(x), (x.shape[0],))
