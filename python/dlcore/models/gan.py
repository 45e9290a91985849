"""Generative adversarial networks: two networks that learn from each other.

Source: I. Goodfellow et al., "Generative adversarial nets", 2014; I. Gulrajani et al., "Improved training of
Wasserstein GANs", 2017.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from dlcore import nn, ops
from dlcore.autograd import grad
from dlcore.models.mlp import linear_chain
from dlcore.nn import functional as F
from dlcore.state import no_grad
from dlcore.tensor import Tensor

__all__ = ["GAN", "GANConfig"]

LOSSES = ("non_saturating", "minimax", "wasserstein")


@dataclass
class GANConfig:
    """The samples' shape, sizes of the networks, and what they play for.

    Raises:
        ValueError: sizes below 1, or an unknown loss.
    """

    shape: tuple[int, ...] = (2,)
    latent: int = 8
    hidden: tuple[int, ...] = (128, 128)
    loss: str = "non_saturating"  # the generator maximises log D(G(z)); "minimax": minimises log(1 - D(G(z)));
    penalty: float = 10.0  # "wasserstein": D is a critic, whose gradient's length is kept near 1 with this weight

    def __post_init__(self) -> None:
        if not self.shape or min(*self.shape, self.latent, *self.hidden) < 1:
            raise ValueError(f"[GAN] expected sizes of at least 1, got {self}")
        if self.loss not in LOSSES:
            raise ValueError(f"[GAN] expected loss of {LOSSES}, got {self.loss!r}")


class GAN(nn.Module):
    """z ~ N(0, I) to samples by the `generator`, and samples to logits of being real by the `discriminator`.

    One round of training is a step down `discriminator_loss(x)` for the discriminator's parameters and one down
    `generator_loss(n)` for the generator's. At best D = ½ everywhere: nothing tells the samples from the data.
    """

    def __init__(self, config: GANConfig | None = None) -> None:
        self.config = config = config or GANConfig()
        self.generator, self.discriminator = self._networks(config)

    def _networks(self, config: Any) -> tuple[nn.Module, nn.Module]:
        size = math.prod(config.shape)
        generator = linear_chain([config.latent, *config.hidden, size], nn.ReLU)
        return generator, linear_chain([size, *config.hidden, 1], lambda: nn.LeakyReLU(0.2))

    def sample(self, n: int) -> Tensor:
        """n samples of the generator, (n, *shape)."""
        return self.generate(ops.randn((n, self.config.latent), dtype=next(iter(self.parameters())).dtype))

    def generate(self, z: Tensor) -> Tensor:
        """z (N, latent) to samples (N, *shape)."""
        return ops.reshape(self.generator(z), (z.shape[0], *self.config.shape))

    def judge(self, x: Tensor) -> Tensor:
        """Logits (N,) of samples being real; for "wasserstein" the critic's scores."""
        if x.shape[1:] != self.config.shape:
            raise ValueError(
                f"[GAN] expected samples of shape (N, {', '.join(map(str, self.config.shape))}), got {x.shape}"
            )
        return ops.reshape(self.discriminator(ops.flatten(x, 1)), (x.shape[0],))

    def forward(self, z: Tensor) -> Tensor:
        return self.generate(z)

    def discriminator_loss(self, x: Tensor) -> Tensor:
        """-log D(x) - log(1 - D(G(z))), the mean over real samples x and as many generated ones.

        For "wasserstein": D(G(z)) - D(x) + penalty · (‖∇D‖ - 1)², with the gradient at random places between the two.
        """
        with no_grad():
            fake = self.sample(x.shape[0])
        real, made = self.judge(x), self.judge(fake)
        if self.config.loss != "wasserstein":
            return ops.mean(F.softplus(-real) + F.softplus(made))
        return ops.mean(made - real) + self.config.penalty * self.gradient_penalty(x, fake)

    def generator_loss(self, n: int) -> Tensor:
        """-log D(G(z)), the mean over n samples; log(1 - D(G(z))) for "minimax", -D(G(z)) for "wasserstein"."""
        made = self.judge(self.sample(n))
        if self.config.loss == "wasserstein":
            return -ops.mean(made)
        return ops.mean(F.softplus(-made)) if self.config.loss == "non_saturating" else -ops.mean(F.softplus(made))

    def gradient_penalty(self, x: Tensor, fake: Tensor) -> Tensor:
        """mean((‖∇D(between)‖ - 1)²), with each between its x and its fake one, drawn uniformly."""
        share = ops.rand((x.shape[0], *[1] * (x.ndim - 1)), dtype=x.dtype)
        between = (x.detach() + share * (fake - x.detach())).detach().requires_grad_()
        slope: Any = grad(ops.sum(self.judge(between)), between, create_graph=True)[0]
        length = ops.sqrt(ops.sum(slope * slope, tuple(range(1, x.ndim))) + 1e-12)  # differentiable at 0
        return ops.mean((length - 1) ** 2)
