"""The normal distribution in several dimensions."""

from __future__ import annotations

import math
from typing import Any

from dlcore import _C, ops
from dlcore.distributions.distribution import Distribution, finite
from dlcore.ops.measure import require
from dlcore.tensor import Tensor

__all__ = ["MultivariateNormal"]


class MultivariateNormal(Distribution):
    """exp(-½ (x - μ)ᵀ Σ⁻¹ (x - μ)) / √((2π)ᵈ det Σ), by way of the Cholesky factor L of Σ = L Lᵀ.

    Args:
        loc: μ (…, d).
        covariance_matrix: Σ (…, d, d), symmetric positive definite.
        scale_tril: L (…, d, d) with a positive diagonal, instead of Σ.

    Leading dimensions broadcast.

    Raises:
        ValueError: a covariance that is not symmetric or not positive definite, shapes that do not fit, or neither or
            both of the matrices.

    Source: C. Bishop, "Pattern recognition and machine learning", 2.3.
    """

    has_rsample = True

    def __init__(self, loc: Any, covariance_matrix: Any = None, scale_tril: Any = None) -> None:
        op = self._op
        if (covariance_matrix is None) == (scale_tril is None):
            raise ValueError(f"[{op}] expected either covariance_matrix or scale_tril")
        name = "scale_tril" if covariance_matrix is None else "covariance_matrix"
        matrix = ops.asarray(scale_tril if covariance_matrix is None else covariance_matrix)
        mu = ops.asarray(loc)
        d = mu.shape[-1] if mu.ndim else 0
        if not d or matrix.ndim < 2 or matrix.shape[-2:] != (d, d):
            raise ValueError(
                f"[{op}] expected loc (…, d) and {name} (…, d, d), got shapes {mu.shape} and {matrix.shape}"
            )
        if mu.dtype is not matrix.dtype:
            mu = ops.cast(mu, matrix.dtype)
        require(op, "a finite loc", finite(mu), mu)
        self.batch_shape, self.event_shape = _C.broadcast_shapes(mu.shape[:-1], matrix.shape[:-2]), (d,)
        self.loc = ops.expand(mu, (*self.batch_shape, d))
        self.scale_tril = _factor(matrix) if scale_tril is None else ops.tril(matrix)
        if covariance_matrix is None:
            pivots = ops.diagonal(self.scale_tril, 0, -2, -1)
            require(op, "a positive diagonal of scale_tril", ops.gt(pivots, 0.0), pivots)

    @property
    def covariance_matrix(self) -> Tensor:
        """Σ = L Lᵀ."""
        return self.scale_tril @ ops.transpose(self.scale_tril, -2, -1)

    def log_prob(self, value: Any) -> Tensor:
        x = self._value(value, self.loc.dtype) - self.loc
        if self.scale_tril.ndim == 2:  # one matrix: all vectors are columns of one system
            columns = ops.transpose(ops.reshape(x, (-1, x.shape[-1])), 0, 1)
            z = ops.solve_triangular(self.scale_tril, columns, upper=False)
            squares = ops.reshape(ops.sum(ops.square(z), 0), x.shape[:-1])
        else:
            z = ops.solve_triangular(self.scale_tril, ops.unsqueeze(x, -1), upper=False)
            squares = ops.sum(ops.square(z), (-2, -1))
        return squares * -0.5 - self._half_log_det() - 0.5 * self.event_shape[0] * math.log(2 * math.pi)

    def entropy(self) -> Tensor:
        """(d log(2πe) + log det Σ) / 2."""
        half = self._half_log_det() + 0.5 * self.event_shape[0] * math.log(2 * math.pi * math.e)
        return ops.expand(half, self.batch_shape)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return ops.expand(ops.sum(ops.square(self.scale_tril), -1), self.loc.shape)

    def _half_log_det(self) -> Tensor:
        return ops.sum(ops.log(ops.diagonal(self.scale_tril, 0, -2, -1)), -1)

    def _draw(self, shape: tuple[int, ...], generator: Any) -> Tensor:
        z = ops.randn(shape, generator=generator, dtype=self.loc.dtype)
        if self.scale_tril.ndim == 2:
            return self.loc + z @ ops.transpose(self.scale_tril, 0, 1)
        return self.loc + ops.squeeze(self.scale_tril @ ops.unsqueeze(z, -1), -1)

    def _kl(self, other: MultivariateNormal) -> Tensor:
        if self.event_shape != other.event_shape:
            raise ValueError(
                f"[kl_divergence] expected distributions of one dimension, got {self.event_shape[0]} and "
                f"{other.event_shape[0]}"
            )
        ratio = ops.solve_triangular(other.scale_tril, self.scale_tril, upper=False)
        shift = ops.unsqueeze(other.loc - self.loc, -1)
        squares = ops.sum(ops.square(ops.solve_triangular(other.scale_tril, shift, upper=False)), (-2, -1))
        logs = other._half_log_det() - self._half_log_det()
        return (ops.sum(ops.square(ratio), (-2, -1)) + squares - self.event_shape[0]) * 0.5 + logs


def _factor(covariance: Tensor) -> Tensor:
    op = "MultivariateNormal"
    skew = ops.abs(covariance - ops.transpose(covariance, -2, -1)).detach()
    # What rounding leaves of the symmetry of a product: some units of the largest element.
    bound = ops.abs(covariance).amax().item() * (1e-4 if covariance.dtype is _C.float32 else 1e-8)
    if skew.amax().item() > bound:
        at = tuple(int(i[0]) for i in ops.nonzero(ops.gt(skew, bound), as_tuple=True))
        mirrored = (*at[:-2], at[-1], at[-2])
        raise ValueError(
            f"[{op}] expected a symmetric covariance_matrix, got {covariance[at].item():.6g} at {at} and "
            f"{covariance[mirrored].item():.6g} at {mirrored}"
        )
    try:
        return ops.cholesky(covariance)
    except ValueError as error:
        found = str(error).partition("got one ")[2]
        raise ValueError(f"[{op}] expected a positive definite covariance_matrix, got one {found}") from None
