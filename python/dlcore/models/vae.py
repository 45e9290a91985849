"""Variational autoencoders of full connections or of convolutions.

Source: D. Kingma, M. Welling, "Auto-encoding variational Bayes", 2013; I. Higgins et al., "β-VAE", 2017.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from dlcore import nn, ops
from dlcore.models.mlp import linear_chain
from dlcore.nn import functional as F
from dlcore.tensor import Tensor

__all__ = ["VAE", "VAEConfig"]


@dataclass
class VAEConfig:
    """The samples' shape, and what is between them and z: `hidden` layers, or convolutions of `channels`.

    Raises:
        ValueError: sizes below 1, images that `channels` cannot halve that often, or an unknown likelihood.
    """

    shape: tuple[int, ...] = (1, 28, 28)
    latent: int = 16
    hidden: tuple[int, ...] = (400,)
    channels: tuple[int, ...] = ()  # each halves the image; with any, `hidden` is not used
    likelihood: str = "bernoulli"  # of pixels in [0, 1]; "gaussian": of any numbers
    beta: float = 1.0

    def __post_init__(self) -> None:
        if not self.shape or min(*self.shape, self.latent, *self.hidden, *self.channels) < 1:
            raise ValueError(f"[VAE] expected sizes of at least 1, got {self}")
        if self.likelihood not in ("bernoulli", "gaussian"):
            raise ValueError(f"[VAE] expected likelihood 'bernoulli' or 'gaussian', got {self.likelihood!r}")
        if self.channels:
            shrink = 1 << len(self.channels)
            if len(self.shape) != 3 or self.shape[1] % shrink or self.shape[2] % shrink:
                raise ValueError(
                    f"[VAE] expected images (C, H, W) with H and W multiples of {shrink} for {len(self.channels)} "
                    f"convolutions, got {self.shape}"
                )


def _dense(config: VAEConfig) -> tuple[nn.Sequential, nn.Sequential]:
    sizes = [math.prod(config.shape), *config.hidden]
    encoder = linear_chain([*sizes, 2 * config.latent], nn.ReLU)
    return nn.Sequential(nn.Flatten(), *encoder), linear_chain([config.latent, *reversed(sizes)], nn.ReLU)


def _convolutional(config: VAEConfig) -> tuple[nn.Sequential, nn.Sequential]:
    widths = [config.shape[0], *config.channels]
    small = (widths[-1], config.shape[1] >> len(config.channels), config.shape[2] >> len(config.channels))
    encoder: list[nn.Module] = []
    for a, b in zip(widths[:-1], widths[1:], strict=True):
        encoder += [nn.Conv2d(a, b, 3, stride=2, padding=1), nn.ReLU()]
    encoder += [nn.Flatten(), nn.Linear(math.prod(small), 2 * config.latent)]
    decoder: list[nn.Module] = [nn.Linear(config.latent, math.prod(small)), nn.ReLU(), nn.Unflatten(1, small)]
    for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True):
        decoder += [nn.ConvTranspose2d(a, b, 4, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*encoder), nn.Sequential(*decoder[:-1])


class VAE(nn.Module):
    """Samples (N, *shape) to what the decoder makes of them, and the mean and log variance of z.

    z ~ N(μ(x), σ²(x)) is drawn as μ + σ · ε, so that gradients pass through it.
    """

    def __init__(self, config: VAEConfig | None = None) -> None:
        self.config = config = config or VAEConfig()
        self.encoder, self.decoder = (_convolutional if config.channels else _dense)(config)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of z, each (N, latent)."""
        if x.shape[1:] != self.config.shape:
            raise ValueError(
                f"[VAE] expected samples of shape (N, {', '.join(map(str, self.config.shape))}), got {x.shape}"
            )
        mean, log_variance = ops.chunk(self.encoder(x), 2, 1)
        return mean, log_variance

    def decode(self, z: Tensor) -> Tensor:
        """(N, *shape): logits for "bernoulli", means for "gaussian"."""
        return ops.reshape(self.decoder(z), (z.shape[0], *self.config.shape))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_variance = self.encode(x)
        z = mean + ops.exp(0.5 * log_variance) * ops.randn_like(mean)
        return self.decode(z), mean, log_variance

    def loss(self, x: Tensor) -> Tensor:
        """-ELBO, see `functional.elbo`, with one z drawn for each sample."""
        output, mean, log_variance = self(x)
        return -F.elbo(output, x, mean, log_variance, self.config.beta, self.config.likelihood)

    def images(self, z: Tensor) -> Tensor:
        """What z looks like: probabilities or means (N, *shape)."""
        output = self.decode(z)
        return ops.sigmoid(output) if self.config.likelihood == "bernoulli" else output

    def reconstruct(self, x: Tensor) -> Tensor:
        """What the mean of z looks like."""
        return self.images(self.encode(x)[0])

    def sample(self, n: int) -> Tensor:
        """n new samples: what z ~ N(0, I) looks like."""
        return self.images(ops.randn((n, self.config.latent), dtype=next(iter(self.parameters())).dtype))

    def walk(self, start: Tensor, end: Tensor, steps: int = 8) -> Tensor:
        """(steps, *shape): what z looks like on the straight way between the means of two samples, without N."""
        a, b = (self.encode(ops.unsqueeze(x, 0))[0] for x in (start, end))  # (1, latent)
        share = ops.reshape(ops.linspace(0, 1, steps), (steps, 1))
        return self.images(a + share * (b - a))
