"""Densities on the line: normal, Laplace and uniform."""

from __future__ import annotations

import math
from typing import Any

from dlcore import ops
from dlcore.distributions.distribution import Distribution, finite, parameters
from dlcore.ops.measure import require
from dlcore.tensor import Tensor

__all__ = ["Laplace", "Normal", "Uniform"]


class _LocationScale(Distribution):
    """loc + scale · (a standard draw)."""

    has_rsample = True

    def __init__(self, loc: Any, scale: Any) -> None:
        self.loc, self.scale = parameters(self._op, loc=loc, scale=scale)
        require(self._op, "a finite loc", finite(self.loc), self.loc)
        positive = ops.logical_and(ops.gt(self.scale, 0.0), finite(self.scale))
        require(self._op, "a finite scale > 0", positive, self.scale)
        self.batch_shape = self.loc.shape

    def _standard(self, value: Any) -> Tensor:
        return (self._value(value, self.loc.dtype) - self.loc) / self.scale

    @property
    def mean(self) -> Tensor:
        return self.loc


class Normal(_LocationScale):
    """N(x; μ, σ²) = exp(-(x - μ)² / 2σ²) / √(2πσ²).

    Args:
        loc: μ, a number or tensor.
        scale: σ > 0, which broadcasts with it.

    Raises:
        ValueError: a scale that is not positive, a parameter that is not finite, or shapes that do not broadcast.

    Source: C. Bishop, "Pattern recognition and machine learning", 2.3.
    """

    def log_prob(self, value: Any) -> Tensor:
        z = self._standard(value)
        return z * z * -0.5 - ops.log(self.scale) - 0.5 * math.log(2 * math.pi)

    def cdf(self, value: Any) -> Tensor:
        """(1 + erf((x - μ) / σ√2)) / 2."""
        return (ops.erf(self._standard(value) * math.sqrt(0.5)) + 1) * 0.5

    def entropy(self) -> Tensor:
        """log(2πe σ²) / 2."""
        return ops.log(self.scale) + 0.5 * math.log(2 * math.pi * math.e)

    @property
    def variance(self) -> Tensor:
        return ops.square(self.scale)

    def _draw(self, shape: tuple[int, ...], generator: Any) -> Tensor:
        return self.loc + self.scale * ops.randn(shape, generator=generator, dtype=self.loc.dtype)

    def _kl(self, other: Normal) -> Tensor:
        ratio = ops.square(self.scale / other.scale)
        shift = ops.square((self.loc - other.loc) / other.scale)
        return (ratio + shift - 1 - ops.log(ratio)) * 0.5


class Laplace(_LocationScale):
    """exp(-|x - μ| / b) / 2b.

    Args:
        loc: μ, a number or tensor.
        scale: b > 0, which broadcasts with it.

    Raises:
        ValueError: a scale that is not positive, a parameter that is not finite, or shapes that do not broadcast.
    """

    def log_prob(self, value: Any) -> Tensor:
        return -ops.abs(self._standard(value)) - ops.log(self.scale * 2)

    def cdf(self, value: Any) -> Tensor:
        """exp(z) / 2 below μ and 1 - exp(-z) / 2 above, with z = (x - μ) / b."""
        z = self._standard(value)
        tail = ops.exp(-ops.abs(z)) * 0.5
        return ops.where(ops.lt(z, 0.0), tail, 1 - tail)

    def entropy(self) -> Tensor:
        """log(2b) + 1."""
        return ops.log(self.scale * 2) + 1

    @property
    def variance(self) -> Tensor:
        return ops.square(self.scale) * 2

    def _draw(self, shape: tuple[int, ...], generator: Any) -> Tensor:
        # The difference of two exponential draws; log1p(-u) is finite for every u in [0, 1).
        u = ops.rand((2, *shape), generator=generator, dtype=self.loc.dtype)
        return self.loc + self.scale * (ops.log1p(-u[0]) - ops.log1p(-u[1]))

    def _kl(self, other: Laplace) -> Tensor:
        ratio = self.scale / other.scale
        shift = ops.abs(self.loc - other.loc)
        return ratio * ops.exp(-shift / self.scale) + shift / other.scale - ops.log(ratio) - 1


class Uniform(Distribution):
    """1 / (high - low) on [low, high), 0 elsewhere.

    Args:
        low, high: numbers or tensors, low < high.

    Raises:
        ValueError: low >= high, a bound that is not finite, or shapes that do not broadcast.
    """

    has_rsample = True

    def __init__(self, low: Any, high: Any) -> None:
        self.low, self.high = parameters("Uniform", low=low, high=high)
        self._width = self.high - self.low
        good = ops.logical_and(ops.gt(self._width, 0.0), finite(self._width))
        require("Uniform", "finite low < high", good, self._width)
        self.batch_shape = self.low.shape

    def log_prob(self, value: Any) -> Tensor:
        x = self._value(value, self.low.dtype)
        inside = ops.logical_and(ops.ge(x, self.low), ops.lt(x, self.high))
        return ops.where(inside, -ops.log(self._width), -math.inf)

    def cdf(self, value: Any) -> Tensor:
        return ops.clamp((self._value(value, self.low.dtype) - self.low) / self._width, 0.0, 1.0)

    def entropy(self) -> Tensor:
        """log(high - low)."""
        return ops.log(self._width)

    @property
    def mean(self) -> Tensor:
        return (self.low + self.high) * 0.5

    @property
    def variance(self) -> Tensor:
        return ops.square(self._width) / 12

    def _draw(self, shape: tuple[int, ...], generator: Any) -> Tensor:
        return self.low + self._width * ops.rand(shape, generator=generator, dtype=self.low.dtype)

    def _kl(self, other: Uniform) -> Tensor:
        inside = ops.logical_and(ops.ge(self.low, other.low), ops.le(self.high, other.high))
        return ops.where(inside, ops.log(other._width / self._width), math.inf)
