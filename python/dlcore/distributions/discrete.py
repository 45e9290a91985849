"""Distributions over finitely many outcomes."""

from __future__ import annotations

import math
from typing import Any

from dlcore import _C, ops
from dlcore.distributions.distribution import Distribution, parameters
from dlcore.ops.measure import check_probabilities, require
from dlcore.tensor import Tensor

__all__ = ["Bernoulli", "Categorical"]


def _weighted(p: Tensor, log: Tensor) -> Tensor:
    """p · log, where 0 · -inf = 0."""
    there = ops.gt(p, 0.0)
    return p * ops.where(there, log, 0.0)


def _check_one_of(op: str, probs: Any, logits: Any) -> None:
    if (probs is None) == (logits is None):
        raise ValueError(f"[{op}] expected either probs or logits, got {'neither' if probs is None else 'both'}")


class Bernoulli(Distribution):
    """1 with probability p, else 0.

    Args:
        probs: p in [0, 1], a number or tensor.
        logits: log(p / (1 - p)), instead of p.

    Raises:
        ValueError: probabilities outside of [0, 1], NaN logits, or neither or both of the two.
    """

    def __init__(self, probs: Any = None, logits: Any = None) -> None:
        _check_one_of("Bernoulli", probs, logits)
        if logits is None:
            (self.probs,) = parameters("Bernoulli", probs=probs)
            check_probabilities(self.probs, "Bernoulli", None)
            self._log_one, self._log_zero = ops.log(self.probs), ops.log1p(-self.probs)
        else:
            (given,) = parameters("Bernoulli", logits=logits)
            require("Bernoulli", "logits that are numbers", ops.logical_not(ops.isnan(given)), given)
            self.probs = ops.sigmoid(given)
            self._log_one, self._log_zero = -ops.softplus(-given), -ops.softplus(given)
        self.batch_shape = self.probs.shape

    @property
    def logits(self) -> Tensor:
        """log(p / (1 - p))."""
        return self._log_one - self._log_zero

    def log_prob(self, value: Any) -> Tensor:
        """log p for 1, log(1 - p) for 0.

        Raises:
            ValueError: another value.
        """
        x = self._value(value, self.probs.dtype)
        require("Bernoulli", "values 0 or 1", ops.logical_or(ops.eq(x, 0.0), ops.eq(x, 1.0)), x)
        return ops.where(ops.eq(x, 1.0), self._log_one, self._log_zero)

    def cdf(self, value: Any) -> Tensor:
        """0 below 0, 1 - p below 1, 1 from there."""
        x = self._value(value, self.probs.dtype)
        return ops.where(ops.lt(x, 0.0), 0.0, ops.where(ops.lt(x, 1.0), 1 - self.probs, 1.0))

    def entropy(self) -> Tensor:
        """-p log p - (1 - p) log(1 - p), with 0 log 0 = 0."""
        return -_weighted(self.probs, self._log_one) - _weighted(1 - self.probs, self._log_zero)

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)

    def _draw(self, shape: tuple[int, ...], generator: Any) -> Tensor:
        return ops.bernoulli(ops.expand(self.probs, shape), generator)

    def _kl(self, other: Bernoulli) -> Tensor:
        one = _weighted(self.probs, self._log_one - other._log_one)
        return one + _weighted(1 - self.probs, self._log_zero - other._log_zero)


class Categorical(Distribution):
    """k with probability p[k], for k = 0 … K - 1.

    Args:
        probs: p (…, K), which sums to 1 along the last dimension.
        logits: (…, K) instead of p: log p up to a constant.

    Raises:
        ValueError: values that are no probabilities (see `ops.measure.check_probabilities`), NaN or infinite logits
            (-inf is allowed), or neither or both of the two.
    """

    def __init__(self, probs: Any = None, logits: Any = None) -> None:
        _check_one_of("Categorical", probs, logits)
        (given,) = parameters("Categorical", **({"logits": logits} if probs is None else {"probs": probs}))
        if not given.ndim or not given.shape[-1]:
            raise ValueError(f"[Categorical] expected a last dimension of categories, got shape {given.shape}")
        if logits is None:
            check_probabilities(given, "Categorical")
            self.probs, self.logits = given, ops.log(given)
        else:
            some = ops.gt(ops.amax(given, -1, keepdim=True), -math.inf)
            good = ops.logical_and(ops.logical_and(ops.lt(given, math.inf), some), ops.logical_not(ops.isnan(given)))
            require("Categorical", "logits under infinity, one of each row finite", good, given)
            self.logits = ops.log_softmax(given, -1)
            self.probs = ops.exp(self.logits)
        self.batch_shape = given.shape[:-1]

    def log_prob(self, value: Any) -> Tensor:
        """log p[k] for class indices k, which broadcast against the batch.

        Raises:
            IndexError: an index outside of 0 … K - 1.
            TypeError: indices that are no integers.
        """
        k = ops.asarray(value)
        if k.dtype.is_floating_point or k.dtype is _C.bool_:
            raise TypeError(f"[Categorical] expected integer class indices, got {k.dtype!r} of shape {k.shape}")
        k = self._value(k, _C.int64)
        classes = self.logits.shape[-1]
        if k.numel() and (k.amin().item() < 0 or k.amax().item() >= classes):
            raise IndexError(
                f"[Categorical] expected class indices from 0 to {classes - 1}, got values from {k.amin().item()} to "
                f"{k.amax().item()}"
            )
        shape = _C.broadcast_shapes(k.shape, self.batch_shape)
        logs, k = ops.expand(self.logits, (*shape, classes)), ops.expand(k, shape)
        return ops.squeeze(ops.gather(logs, -1, ops.unsqueeze(k, -1)), -1)

    def entropy(self) -> Tensor:
        """-Σ p log p, with 0 log 0 = 0."""
        return -ops.sum(_weighted(self.probs, self.logits), -1)

    def _draw(self, shape: tuple[int, ...], generator: Any) -> Tensor:
        classes = self.probs.shape[-1]
        draws = math.prod(shape[: len(shape) - len(self.batch_shape)])
        if not math.prod(shape):
            return ops.zeros(shape, _C.int64)
        rows = ops.reshape(self.probs, (-1, classes))
        return ops.reshape(ops.transpose(ops.multinomial(rows, draws, True, generator), 0, 1), shape)

    def _kl(self, other: Categorical) -> Tensor:
        if self.probs.shape[-1] != other.probs.shape[-1]:
            raise ValueError(
                f"[kl_divergence] expected distributions over as many categories, got {self.probs.shape[-1]} and "
                f"{other.probs.shape[-1]}"
            )
        return ops.sum(_weighted(self.probs, self.logits - other.logits), -1)
