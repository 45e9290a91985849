"""Ways back from noise to data. Each goes down a list of `timesteps`, one `step` for each output of the network."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from dlcore import _C, ops
from dlcore.diffusion.gaussian import GaussianDiffusion
from dlcore.state import no_grad
from dlcore.tensor import Tensor

__all__ = ["DDIMSampler", "DDPMSampler", "DPMSolver"]


class _Sampler:
    timesteps: list[int]

    def __init__(self, diffusion: GaussianDiffusion, steps: int | None, clip: float | None) -> None:
        steps = diffusion.steps if steps is None else steps
        name = type(self).__name__
        if not isinstance(steps, int) or not 1 <= steps <= diffusion.steps:
            raise ValueError(f"[{name}] expected between 1 and {diffusion.steps} steps, got {steps}")
        if clip is not None and not clip > 0:
            raise ValueError(f"[{name}] expected clip above 0 or None, got {clip}")
        self.diffusion, self.steps, self.clip = diffusion, steps, clip

    def step(self, output: Tensor, t: int, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """The sample before x = x_t in noise, given what the network says of it."""
        raise NotImplementedError

    def reset(self) -> None:
        """Forgets earlier steps: the next one begins a new sample."""

    def sample(
        self,
        model: Any,
        shape: tuple[int, ...] | None = None,
        noise: Tensor | None = None,
        callback: Callable[[int, Tensor], None] | None = None,
        **conditions: Any,
    ) -> Tensor:
        """Samples of the model, from noise.

        Args:
            model: called with (x, t of shape (N,), **conditions) at each of the `timesteps`.
            shape: (N, ...), or
            noise: to begin with.
            callback: called with (t, x) after each step.

        Raises:
            ValueError: both or none of shape and noise.
        """
        if (shape is None) == (noise is None):
            raise ValueError(f"[{type(self).__name__}] expected shape or noise, got shape {shape} and noise {noise}")
        self.reset()
        with no_grad():
            x = ops.randn(shape) if noise is None else noise
            for t in self.timesteps:
                x = self.step(model(x, ops.full((x.shape[0],), t, dtype=_C.int64), **conditions), t, x)
                if callback is not None:
                    callback(t, x)
        return x

    def _index(self, t: int) -> int:
        if t not in self.timesteps:
            raise ValueError(f"[{type(self).__name__}] expected a t of the timesteps {self.timesteps}, got {t}")
        return self.timesteps.index(t)

    def _spaced(self) -> list[int]:
        """Equally far from each other, down to 0."""
        return [i * (self.diffusion.steps // self.steps) for i in reversed(range(self.steps))]

    def _bars(self, t: int) -> tuple[float, float]:
        """ᾱ of t and of the timestep after it, 1 at the end."""
        self._index(t)
        before = t - self.diffusion.steps // self.steps
        bars = self.diffusion.alphas_bar
        return float(bars[t]), float(bars[before]) if before >= 0 else 1.0

    def _x0_and_noise(self, output: Tensor, x: Tensor, t: int) -> tuple[Tensor, Tensor]:
        x0, eps = self.diffusion.x0_and_noise(output, x, t)
        return (x0 if self.clip is None else ops.clamp(x0, -self.clip, self.clip)), eps


class DDPMSampler(_Sampler):
    """x_{t-1} ~ N(mean of q(x_{t-1} | x_t, x_0), σ_t²), with x_0 as the network says.

    The mean is √ᾱ_{t-1} β_t / (1 - ᾱ_t) · x_0 + √α_t (1 - ᾱ_{t-1}) / (1 - ᾱ_t) · x_t, which is
    (x_t - β_t / √(1 - ᾱ_t) · ε) / √α_t where x_0 is not clipped. With fewer steps than T, t - 1 is the next timestep.

    Args:
        diffusion: the process.
        steps: how many; all T where None.
        clip: x_0 is kept within ±clip; None leaves it as it is.
        variance: σ_t² is "fixed_small", β_t (1 - ᾱ_{t-1}) / (1 - ᾱ_t), or "fixed_large", β_t.

    Raises:
        ValueError: a number of steps outside of [1, T], clip not above 0, an unknown variance.

    Source: J. Ho et al., "Denoising diffusion probabilistic models", 2020.
    """

    def __init__(
        self,
        diffusion: GaussianDiffusion,
        steps: int | None = None,
        clip: float | None = 1.0,
        variance: str = "fixed_small",
    ) -> None:
        super().__init__(diffusion, steps, clip)
        if variance not in ("fixed_small", "fixed_large"):
            raise ValueError(f"[DDPMSampler] expected variance 'fixed_small' or 'fixed_large', got {variance!r}")
        self.variance, self.timesteps = variance, self._spaced()

    def step(self, output: Tensor, t: int, x: Tensor, noise: Tensor | None = None) -> Tensor:
        bar, before = self._bars(t)
        beta = 1 - bar / before
        x0, _ = self._x0_and_noise(output, x, t)
        mean = math.sqrt(before) * beta / (1 - bar) * x0 + math.sqrt(bar / before) * (1 - before) / (1 - bar) * x
        if t == 0:
            return mean
        variance = beta if self.variance == "fixed_large" else beta * (1 - before) / (1 - bar)
        noise = ops.randn(x.shape, dtype=x.dtype) if noise is None else noise
        return mean + math.sqrt(max(variance, 1e-20)) * noise


class DDIMSampler(_Sampler):
    """x_{t-1} = √ᾱ_{t-1} · x_0 + √(1 - ᾱ_{t-1} - σ²) · ε + σ · noise, with x_0 and ε as the network says.

    Args:
        diffusion: the process.
        steps: how many of the T; t - 1 is the next of them.
        clip: x_0 is kept within ±clip; None leaves it as it is.
        eta: σ is eta times what it is in DDPM: with 0 nothing is drawn, the same noise gives the same sample.

    Raises:
        ValueError: a number of steps outside of [1, T], clip not above 0, or eta outside of [0, 1].

    Source: J. Song et al., "Denoising diffusion implicit models", 2021.
    """

    def __init__(
        self, diffusion: GaussianDiffusion, steps: int = 50, clip: float | None = 1.0, eta: float = 0.0
    ) -> None:
        super().__init__(diffusion, steps, clip)
        if not 0 <= eta <= 1:
            raise ValueError(f"[DDIMSampler] expected eta in [0, 1], got {eta}")
        self.eta, self.timesteps = eta, self._spaced()

    def step(self, output: Tensor, t: int, x: Tensor, noise: Tensor | None = None) -> Tensor:
        bar, before = self._bars(t)
        x0, eps = self._x0_and_noise(output, x, t)
        sigma = self.eta * math.sqrt((1 - before) / (1 - bar) * (1 - bar / before))
        y = math.sqrt(before) * x0 + math.sqrt(max(1 - before - sigma**2, 0)) * eps
        if sigma == 0:
            return y
        return y + sigma * (ops.randn(x.shape, dtype=x.dtype) if noise is None else noise)


class DPMSolver(_Sampler):
    """DPM-Solver++(2M): the differential equation of x_t in λ = log(√ᾱ / √(1 - ᾱ)), with x_0 as the network says,
    solved by steps that look back at the one before.

    x_{t-1} = σ'/σ · x_t - α' (exp(-h) - 1) · D, h = λ' - λ, with α' and σ' the signal and noise of t - 1, and D = x_0,
    or x_0 + h / (2 h_before) · (x_0 - x_0 of the step before) at second order. The first and the last step are of
    first order.

    Args:
        diffusion: the process.
        steps: how many of the T; 10 to 20 are enough.
        clip: x_0 is kept within ±clip; None leaves it as it is.
        order: 1 or 2.

    Raises:
        ValueError: a number of steps outside of [1, T], clip not above 0, or another order.

    Source: C. Lu et al., "DPM-Solver++: fast solver for guided sampling of diffusion probabilistic models", 2022.
    """

    def __init__(
        self, diffusion: GaussianDiffusion, steps: int = 20, clip: float | None = None, order: int = 2
    ) -> None:
        super().__init__(diffusion, steps, clip)
        if order not in (1, 2):
            raise ValueError(f"[DPMSolver] expected order 1 or 2, got {order}")
        self.order = order
        self.timesteps = np.linspace(0, diffusion.steps - 1, steps + 1).round()[:0:-1].astype(int).tolist()
        self.reset()

    def reset(self) -> None:
        """Forgets the step before: the next one is of first order."""
        self._before: tuple[int, Tensor] | None = None

    def _signal_noise_and_lambda(self, i: int) -> tuple[float, float, float]:
        if i == self.steps:
            return 1.0, 0.0, math.inf
        bar = float(self.diffusion.alphas_bar[self.timesteps[i]])
        return math.sqrt(bar), math.sqrt(1 - bar), 0.5 * math.log(bar / (1 - bar))

    def step(self, output: Tensor, t: int, x: Tensor, noise: Tensor | None = None) -> Tensor:
        i = self._index(t)
        _, sigma, here = self._signal_noise_and_lambda(i)
        signal_next, sigma_next, there = self._signal_noise_and_lambda(i + 1)
        x0, _ = self._x0_and_noise(output, x, t)
        direction, h = x0, there - here
        if self.order == 2 and i + 1 < self.steps and self._before is not None and self._before[0] == i - 1:
            h_before = here - self._signal_noise_and_lambda(i - 1)[2]
            direction = x0 + h / (2 * h_before) * (x0 - self._before[1])
        self._before = (i, x0)
        return sigma_next / sigma * x - signal_next * math.expm1(-h) * direction
