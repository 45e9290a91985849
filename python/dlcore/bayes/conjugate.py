"""Conjugate pairs: the posterior has the prior's form, and the evidence p(x) a closed one. In Python's doubles."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dlcore import ops
from dlcore.distributions import Bernoulli, Normal
from dlcore.tensor import Tensor

__all__ = ["BetaBernoulli", "NormalNormal"]


def _observations(data: Any, op: str) -> np.ndarray:
    x = np.asarray(data.detach().double() if isinstance(data, Tensor) else data, np.float64)
    if not np.isfinite(x).all():
        raise ValueError(f"[{op}] expected finite observations, got {x[~np.isfinite(x)][0]}")
    return x.reshape(-1)


def _require(op: str, what: str, good: bool, value: float) -> None:
    if not good:
        raise ValueError(f"[{op}] expected {what}, got {value}")


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


@dataclass(frozen=True)
class BetaBernoulli:
    """What is known of the probability θ of a 1: p(θ) = θ^(alpha - 1) (1 - θ)^(beta - 1) / B(alpha, beta).

    k ones among n observations make it Beta(alpha + k, beta + n - k). The default is the uniform prior.

    Args:
        alpha, beta: > 0; the prior counts as alpha ones and beta zeros.

    Raises:
        ValueError: a parameter that is not positive and finite.

    Source: C. Bishop, "Pattern recognition and machine learning", 2.1.1.
    """

    alpha: float = 1.0
    beta: float = 1.0

    def __post_init__(self) -> None:
        for name in ("alpha", "beta"):
            value = getattr(self, name)
            _require("BetaBernoulli", f"a finite {name} > 0", 0 < value < math.inf, value)

    def update(self, data: Any) -> BetaBernoulli:
        """The posterior after observations 0 and 1.

        Raises:
            ValueError: another value.
        """
        ones, zeros = self._counts(data)
        return BetaBernoulli(self.alpha + ones, self.beta + zeros)

    def log_evidence(self, data: Any) -> float:
        """log p(x) = log B(alpha + k, beta + n - k) - log B(alpha, beta)."""
        ones, zeros = self._counts(data)
        return _log_beta(self.alpha + ones, self.beta + zeros) - _log_beta(self.alpha, self.beta)

    def log_prob(self, theta: Any) -> Tensor:
        """The log-density at θ; -inf outside of [0, 1]."""
        t = ops.asarray(theta)
        inside = ops.logical_and(ops.ge(t, 0.0), ops.le(t, 1.0))
        log = -_log_beta(self.alpha, self.beta) + ops.zeros_like(t)
        if self.alpha != 1:  # 0 · log 0 = 0
            log = log + ops.log(ops.clamp(t, min=0.0)) * (self.alpha - 1)
        if self.beta != 1:
            log = log + ops.log1p(-ops.clamp(t, max=1.0)) * (self.beta - 1)
        return ops.where(inside, log, -math.inf)

    @property
    def mean(self) -> float:
        """alpha / (alpha + beta), which is also the probability that the next observation is 1."""
        return self.alpha / (self.alpha + self.beta)

    @property
    def variance(self) -> float:
        """mean (1 - mean) / (alpha + beta + 1)."""
        return self.mean * (1 - self.mean) / (self.alpha + self.beta + 1)

    @property
    def mode(self) -> float:
        """The most probable θ, (alpha - 1) / (alpha + beta - 2).

        Raises:
            ValueError: alpha or beta below 1, or both 1: there is none, or not one.
        """
        least, total = min(self.alpha, self.beta), self.alpha + self.beta
        _require("BetaBernoulli.mode", "alpha and beta >= 1, not both 1", least >= 1 and total > 2, least)
        return (self.alpha - 1) / (total - 2)

    def predictive(self) -> Bernoulli:
        """The distribution of the next observation."""
        return Bernoulli(self.mean)

    def _counts(self, data: Any) -> tuple[int, int]:
        x = _observations(data, "BetaBernoulli")
        other = x[(x != 0) & (x != 1)]
        _require("BetaBernoulli", "observations 0 or 1", not other.size, other[0] if other.size else 0)
        ones = int(x.sum())
        return ones, x.size - ones


@dataclass(frozen=True)
class NormalNormal:
    """What is known of the mean θ of normal observations whose deviation is known: p(θ) = N(θ; loc, scale²).

    n observations x ~ N(θ, noise²) make it normal with the precision 1 / scale² + n / noise², and the mean of loc and
    of the observations weighted by their precisions.

    Args:
        loc, scale: of the prior; scale > 0.
        noise: the observations' standard deviation, > 0.

    Raises:
        ValueError: a scale or noise that is not positive, or a parameter that is not finite.

    Source: C. Bishop, "Pattern recognition and machine learning", 2.3.6.
    """

    loc: float
    scale: float
    noise: float

    def __post_init__(self) -> None:
        _require("NormalNormal", "a finite loc", math.isfinite(self.loc), self.loc)
        for name in ("scale", "noise"):
            value = getattr(self, name)
            _require("NormalNormal", f"a finite {name} > 0", 0 < value < math.inf, value)

    def update(self, data: Any) -> NormalNormal:
        """The posterior after observations."""
        x = _observations(data, "NormalNormal")
        precision = 1 / self.scale**2 + x.size / self.noise**2
        shift = float(np.sum(x - self.loc)) / self.noise**2 / precision
        return replace(self, loc=self.loc + shift, scale=1 / math.sqrt(precision))

    def log_evidence(self, data: Any) -> float:
        """log p(x): of a normal vector with the covariance noise² I + scale² 1 1ᵀ."""
        x = _observations(data, "NormalNormal") - self.loc
        spread = self.noise**2 + x.size * self.scale**2
        squares = (float(x @ x) - float(x.sum()) ** 2 * self.scale**2 / spread) / self.noise**2
        logs = math.log(spread) + (x.size - 1) * 2 * math.log(self.noise) + x.size * math.log(2 * math.pi)
        return -0.5 * (squares + logs) if x.size else 0.0

    def log_prob(self, theta: Any) -> Tensor:
        """The log-density at θ."""
        return Normal(self.loc, self.scale).log_prob(theta)

    @property
    def mean(self) -> float:
        """loc, which is also the most probable θ."""
        return self.loc

    @property
    def variance(self) -> float:
        """scale²."""
        return self.scale**2

    def predictive(self) -> Normal:
        """The distribution of the next observation: N(loc, scale² + noise²)."""
        return Normal(self.loc, math.hypot(self.scale, self.noise))
