"""What every distribution has, divergences between two, and expectations by sampling."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from dlcore import _C, ops
from dlcore.state import is_grad_enabled, no_grad
from dlcore.tensor import Tensor

__all__ = ["Distribution", "Expectation", "expectation", "kl_divergence"]

Shape = int | Sequence[int]


class Distribution:
    """Base class. Parameters broadcast to `batch_shape`, one distribution each, whose draws have `event_shape`.

    Attributes:
        batch_shape, event_shape: tuples.
        has_rsample: whether samples are differentiable functions of the parameters.
    """

    has_rsample = False
    batch_shape: tuple[int, ...] = ()
    event_shape: tuple[int, ...] = ()

    def sample(self, sample_shape: Shape = (), generator: Any = None) -> Tensor:
        """Draws of shape sample_shape + batch_shape + event_shape, without a gradient."""
        with no_grad():
            return self._draw(self._extended(sample_shape), generator)

    def rsample(self, sample_shape: Shape = (), generator: Any = None) -> Tensor:
        """As `sample`, through which gradients reach the parameters.

        Raises:
            NotImplementedError: the draws are discrete.

        Source: D. Kingma and M. Welling, "Auto-encoding variational Bayes", 2014.
        """
        if not self.has_rsample:
            raise NotImplementedError(f"[{self._op}] discrete draws have no gradient; use sample and log_prob")
        return self._draw(self._extended(sample_shape), generator)

    def log_prob(self, value: Any) -> Tensor:
        """The logarithm of the density, or of the probability, at `value`, which broadcasts against the batch."""
        raise self._undefined("log_prob")

    def cdf(self, value: Any) -> Tensor:
        """The probability of a draw that is not above `value`."""
        raise self._undefined("cdf")

    def entropy(self) -> Tensor:
        """-E[log p], in nats; for densities the differential entropy, which may be negative."""
        raise self._undefined("entropy")

    @property
    def mean(self) -> Tensor:
        """E[x]."""
        raise self._undefined("mean")

    @property
    def variance(self) -> Tensor:
        """E[(x - E[x])²], element by element."""
        raise self._undefined("variance")

    @property
    def stddev(self) -> Tensor:
        """The root of the variance."""
        return ops.sqrt(self.variance)

    def _draw(self, shape: tuple[int, ...], generator: Any) -> Tensor:
        raise self._undefined("sample")

    def _kl(self, other: Any) -> Tensor:
        """KL(self‖other), for another one of the same class."""
        raise self._undefined("kl_divergence")

    @property
    def _op(self) -> str:
        return type(self).__name__

    def _undefined(self, what: str) -> NotImplementedError:
        return NotImplementedError(f"[{self._op}] {what} is not defined for this distribution")

    def _extended(self, sample_shape: Shape) -> tuple[int, ...]:
        given = (sample_shape,) if isinstance(sample_shape, int) else tuple(sample_shape)
        return (*given, *self.batch_shape, *self.event_shape)

    def _value(self, value: Any, dtype: Any) -> Tensor:
        """`value` as a tensor whose last dimensions are an event and that broadcasts against the batch; of `dtype`,
        unless it is a floating array or tensor, whose dtype takes part in promotion."""
        x = ops.asarray(value, None if _has_dtype(value) else dtype)
        x = ops.cast(x, dtype) if dtype.is_floating_point and not x.dtype.is_floating_point else x
        n = len(self.event_shape)
        fits = x.ndim >= n and x.shape[x.ndim - n :] == self.event_shape
        try:
            _C.broadcast_shapes(x.shape[: x.ndim - n], self.batch_shape)
        except ValueError:
            fits = False
        if not fits:
            raise ValueError(
                f"[{self._op}] expected values of event shape {self.event_shape} that broadcast against the batch "
                f"shape {self.batch_shape}, got shape {x.shape}"
            )
        return x

    def __repr__(self) -> str:
        return f"{self._op}(batch_shape={self.batch_shape}, event_shape={self.event_shape})"


def parameters(op: str, **given: Any) -> list[Tensor]:
    """Numbers, arrays and tensors as tensors of one floating dtype and shape; numbers take on the others' dtype.

    Raises:
        TypeError: what is no number, nor an array of floating numbers.
        ValueError: shapes that do not broadcast.
    """
    tensors = {k: ops.asarray(v) for k, v in given.items() if _has_dtype(v)}
    for name, t in tensors.items():
        if not t.dtype.is_floating_point:
            raise TypeError(f"[{op}] expected floating {name}, got {t.dtype!r} of shape {t.shape}")
    ranks = [_C.bfloat16, _C.float32, _C.float64]
    dtype = max((t.dtype for t in tensors.values()), key=ranks.index, default=_C.float32)
    tensors = {k: tensors[k] if k in tensors else ops.asarray(v, dtype) for k, v in given.items()}
    shape: tuple[int, ...] = ()
    for t in tensors.values():
        try:
            shape = _C.broadcast_shapes(shape, t.shape)
        except ValueError:
            shapes = ", ".join(f"{k} {v.shape}" for k, v in tensors.items())
            raise ValueError(f"[{op}] expected parameters that broadcast, got shapes {shapes}") from None
    return [ops.expand(t if t.dtype is dtype else ops.cast(t, dtype), shape) for t in tensors.values()]


def _has_dtype(value: Any) -> bool:
    return hasattr(value, "dtype")


def finite(x: Tensor) -> Tensor:
    """Where x is neither NaN nor infinite."""
    return ops.isfinite(x.detach())


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """KL(p‖q) = E_p[log p - log q] >= 0, in closed form, for two distributions of one class.

    Infinite where p can give what q cannot. Not symmetric.

    Raises:
        NotImplementedError: distributions of two classes, or of one without a closed form.

    Source: S. Kullback and R. Leibler, "On information and sufficiency", 1951.
    """
    if type(p) is not type(q):
        names = f"{type(p).__name__} and {type(q).__name__}"
        raise NotImplementedError(
            f"[kl_divergence] expected two distributions of one class, got {names}; "
            "expectation(p, lambda x: p.log_prob(x) - q.log_prob(x)) estimates it"
        )
    return p._kl(q)


class Expectation(NamedTuple):
    """What `expectation` gives: an estimate and its standard error."""

    value: Tensor
    standard_error: Tensor


def expectation(
    distribution: Distribution, f: Callable[[Tensor], Tensor], samples: int = 10_000, generator: Any = None
) -> Expectation:
    """E[f(x)] ≈ (1/n) Σ f(xᵢ) over n draws, with its standard error s / √n, s² the unbiased variance of f(xᵢ).

    Args:
        distribution: to draw from; where it has `rsample`, gradients of the estimate reach its parameters.
        f: of draws (samples, *batch_shape, *event_shape); its result keeps the first dimension.
        samples: n >= 2.
        generator: of the random numbers; the default one where None.

    Raises:
        ValueError: samples < 2, or a result of f without that first dimension.
    """
    if samples < 2:
        raise ValueError(f"[expectation] expected samples >= 2, got {samples}")
    through = distribution.has_rsample and is_grad_enabled()
    y = f((distribution.rsample if through else distribution.sample)((samples,), generator))
    if y.ndim == 0 or y.shape[0] != samples:
        raise ValueError(f"[expectation] expected f to keep the first dimension {samples}, got shape {y.shape}")
    y = y if y.dtype.is_floating_point else ops.cast(y, _C.float32)
    return Expectation(ops.mean(y, 0), ops.std(y.detach(), 0) / math.sqrt(samples))
