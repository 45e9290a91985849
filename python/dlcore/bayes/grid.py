"""The posterior of any likelihood, on a grid."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from dlcore import _C, ops
from dlcore.state import no_grad
from dlcore.tensor import Tensor

__all__ = ["GridPosterior", "posterior_grid"]


class GridPosterior(NamedTuple):
    """p(θ|x) at the points of a grid.

    Attributes:
        grids: the points (nᵢ,) of each parameter, float64.
        density: at all their combinations, (n₁, n₂, …); integrates to 1 by the trapezoidal rule.
        log_evidence: log p(x) = log ∫ p(x|θ) p(θ) dθ.
    """

    grids: tuple[Tensor, ...]
    density: Tensor
    log_evidence: float

    def marginal(self, axis: int) -> Tensor:
        """The density of one parameter alone, at its points."""
        others = [i for i in range(len(self.grids)) if i != axis % len(self.grids)]
        weighted = self.density
        for i in others:
            weighted = weighted * _along(_weights(self.grids[i]), i, weighted.ndim)
        return ops.sum(weighted, others) if others else weighted

    def mean(self, axis: int = 0) -> float:
        """E[θ|x] of one parameter."""
        theta = self.grids[axis]
        return float(ops.sum(theta * self.marginal(axis) * _weights(theta)))

    def variance(self, axis: int = 0) -> float:
        """Var[θ|x] of one parameter."""
        theta = self.grids[axis]
        return float(ops.sum(ops.square(theta - self.mean(axis)) * self.marginal(axis) * _weights(theta)))

    def mode(self) -> tuple[float, ...]:
        """The most probable point of the grid."""
        at, place = int(self.density.argmax()), []
        for n in reversed(self.density.shape):
            place.append(at % n)
            at //= n
        return tuple(grid[i].item() for grid, i in zip(self.grids, reversed(place), strict=True))


def posterior_grid(
    log_likelihood: Callable[..., Tensor], log_prior: Callable[..., Tensor] | Any, *grids: Any
) -> GridPosterior:
    """p(θ|x) = p(x|θ) p(θ) / p(x) at every point of a grid: Bayes' theorem by the trapezoidal rule.

    The error falls with the square of the spacing; the grid must hold nearly all of the posterior.

    Args:
        log_likelihood: of θ, for float64 tensors with the grid's dimensions, one for each parameter, that broadcast
            together; gives log p(x|θ) in the shape they broadcast to, up to a constant.
        log_prior: likewise gives log p(θ); or what has such a `log_prob`, a distribution or a conjugate prior.
        grids: for each parameter its points (n,), n >= 2, in ascending order.

    Raises:
        ValueError: no grid, points that do not ascend, values of another shape, NaN, or a posterior of 0 everywhere.

    Source: C. Bishop, "Pattern recognition and machine learning", 1.2.3.
    """
    points = tuple(_C.cast(ops.asarray(g).detach(), _C.float64) for g in grids)
    if not points:
        raise ValueError("[posterior_grid] expected at least one grid")
    for i, p in enumerate(points):
        if p.ndim != 1 or p.shape[0] < 2 or not (p[1:] > p[:-1]).all().item():
            raise ValueError(
                f"[posterior_grid] expected ascending points (n,), n >= 2, got grid {i} of shape {p.shape}"
            )
    shape = tuple(p.shape[0] for p in points)
    thetas = [_along(p, i, len(points)) for i, p in enumerate(points)]
    prior = getattr(log_prior, "log_prob", log_prior)
    with no_grad():
        log_joint = _log_values(log_likelihood(*thetas), shape, "log_likelihood")
        log_joint = log_joint + _log_values(prior(*thetas), shape, "log_prior")
        highest = log_joint.amax().item()
        if highest == -math.inf:
            raise ValueError("[posterior_grid] expected a point of the grid with a posterior above 0, got none")
        density = ops.exp(log_joint - highest)
        mass = density
        for i, p in enumerate(points):
            mass = mass * _along(_weights(p), i, len(points))
        total = ops.sum(mass).item()
        return GridPosterior(points, density / total, highest + math.log(total))


def _log_values(values: Any, shape: tuple[int, ...], name: str) -> Tensor:
    if not isinstance(values, Tensor) or values.shape != shape:
        got = f"shape {values.shape}" if isinstance(values, Tensor) else type(values).__name__
        raise ValueError(f"[posterior_grid] expected {name} to give a tensor of shape {shape}, got {got}")
    if ops.logical_or(ops.isnan(values), ops.eq(values, math.inf)).any().item():
        raise ValueError(f"[posterior_grid] expected {name} to give numbers below infinity, got NaN or inf")
    return ops.cast(values, _C.float64)


def _along(values: Tensor, axis: int, ndim: int) -> Tensor:
    """A vector that lies along `axis`."""
    return ops.reshape(values, tuple(-1 if i == axis else 1 for i in range(ndim)))


def _weights(points: Tensor) -> Tensor:
    """Of the trapezoidal rule."""
    half = (points[1:] - points[:-1]) * 0.5
    edge = ops.zeros((1,), _C.float64)
    return ops.cat([half, edge]) + ops.cat([edge, half])
