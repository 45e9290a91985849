"""The Gaussian process that turns data into noise, and what a network learns of it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dlcore import _C, ops
from dlcore.tensor import Tensor

__all__ = ["GaussianDiffusion"]

PREDICTIONS = ("epsilon", "v", "x0")


class GaussianDiffusion:
    """x_t = √ᾱ_t · x_0 + √(1 - ᾱ_t) · ε for t = 0, ..., T - 1, with ᾱ_t the product of 1 - β up to and with t.

    Args:
        steps: T.
        schedule: of β: "linear" from `beta_start` to `beta_end`, or "cosine", where ᾱ falls like
            cos²((t/T + 0.008) / 1.008 · π/2) and β is at most 0.999.
        prediction: what the network gives: "epsilon" is ε, "v" is √ᾱ_t · ε - √(1 - ᾱ_t) · x_0, "x0" is x_0.
        beta_start, beta_end: for "linear" alone.

    Attributes:
        betas, alphas_bar: β and ᾱ, float64 arrays (T,).

    Raises:
        ValueError: no steps, an unknown schedule or prediction, or β outside of (0, 1).

    Source: J. Ho et al., "Denoising diffusion probabilistic models", 2020; A. Nichol, P. Dhariwal, "Improved denoising
    diffusion probabilistic models", 2021; T. Salimans, J. Ho, "Progressive distillation", 2022.
    """

    def __init__(
        self,
        steps: int = 1000,
        schedule: str = "linear",
        prediction: str = "epsilon",
        beta_start: float = 1e-4,
        beta_end: float = 0.02,
    ) -> None:
        if not isinstance(steps, int) or steps < 1:
            raise ValueError(f"[GaussianDiffusion] expected steps of at least 1, got {steps}")
        if prediction not in PREDICTIONS:
            raise ValueError(f"[GaussianDiffusion] expected prediction of {PREDICTIONS}, got {prediction!r}")
        if schedule == "linear":
            if not 0 < beta_start <= beta_end < 1:
                raise ValueError(
                    f"[GaussianDiffusion] expected 0 < beta_start <= beta_end < 1, got {beta_start} and {beta_end}"
                )
            self.betas = np.linspace(beta_start, beta_end, steps)
        elif schedule == "cosine":
            left = np.cos((np.arange(steps + 1) / steps + 0.008) / 1.008 * math.pi / 2) ** 2
            self.betas = np.minimum(1 - left[1:] / left[:-1], 0.999)
        else:
            raise ValueError(f"[GaussianDiffusion] expected schedule 'linear' or 'cosine', got {schedule!r}")
        self.steps, self.schedule, self.prediction = steps, schedule, prediction
        self.alphas_bar = np.cumprod(1 - self.betas)

    def _signal_and_noise(self, t: Any, like: Tensor) -> tuple[Tensor, Tensor]:
        """√ᾱ_t and √(1 - ᾱ_t), shaped to multiply samples: (N, 1, ...)."""
        steps = np.asarray(t)
        if steps.dtype.kind not in "iu" or steps.ndim > 1:
            raise ValueError(f"[GaussianDiffusion] expected t as a number or integers (N,), got {steps.dtype} {t}")
        if steps.ndim == 1 and steps.shape != like.shape[:1]:
            raise ValueError(
                f"[GaussianDiffusion] expected one t for each of {like.shape[0]} samples, got shape {steps.shape}"
            )
        if steps.size and (steps.min() < 0 or steps.max() >= self.steps):
            raise IndexError(f"[GaussianDiffusion] expected t in [0, {self.steps}), got {steps.min()} to {steps.max()}")
        bar = self.alphas_bar[steps].reshape((*steps.shape, *[1] * (like.ndim - 1 if steps.ndim else 0)))
        return ops.tensor(np.sqrt(bar), dtype=like.dtype), ops.tensor(np.sqrt(1 - bar), dtype=like.dtype)

    def q_sample(self, x0: Tensor, t: Any, noise: Tensor | None = None) -> Tensor:
        """x_t: √ᾱ_t · x0 + √(1 - ᾱ_t) · noise.

        Args:
            x0: (N, ...).
            t: integers (N,), or one for all.
            noise: like x0; drawn where None.

        Raises:
            ValueError: another number of t than samples, or noise of another shape.
            IndexError: a t outside of [0, T).
        """
        noise = ops.randn(x0.shape, dtype=x0.dtype) if noise is None else noise
        _check_like(x0, noise, "noise")
        signal, part = self._signal_and_noise(t, x0)
        return signal * x0 + part * noise

    def target(self, x0: Tensor, noise: Tensor, t: Any) -> Tensor:
        """What the network should give for x_t: ε, v or x_0."""
        if self.prediction == "epsilon":
            return noise
        if self.prediction == "x0":
            return x0
        signal, part = self._signal_and_noise(t, x0)
        return signal * noise - part * x0

    def x0_and_noise(self, output: Tensor, x: Tensor, t: Any) -> tuple[Tensor, Tensor]:
        """The x_0 and the ε that a network's output for x = x_t means."""
        _check_like(x, output, "the network's output")
        signal, part = self._signal_and_noise(t, x)
        if self.prediction == "epsilon":
            return (x - part * output) / signal, output
        if self.prediction == "x0":
            return output, (x - signal * output) / part
        return signal * x - part * output, signal * output + part * x

    def loss(self, model: Any, x0: Tensor, t: Any = None, noise: Tensor | None = None, **conditions: Any) -> Tensor:
        """mean((model(x_t, t) - target)²).

        Args:
            model: called with (x_t, t, **conditions).
            x0: (N, ...).
            t: integers (N,); drawn uniformly where None.
            noise: like x0; drawn where None.
        """
        t = ops.randint(0, self.steps, (x0.shape[0],)) if t is None else t
        noise = ops.randn(x0.shape, dtype=x0.dtype) if noise is None else noise
        output = model(self.q_sample(x0, t, noise), t, **conditions)
        return ops.mse_loss(output, self.target(x0, noise, t))


def _check_like(x: Tensor, other: Any, what: str) -> None:
    if not isinstance(other, _C.Tensor):
        raise TypeError(f"[GaussianDiffusion] expected {what} as a Tensor, got {type(other).__name__}")
    if other.shape != x.shape:
        raise ValueError(f"[GaussianDiffusion] expected {what} of shape {x.shape}, got {other.shape}")
