"""The most likely and the most probable parameters, by gradients."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from dlcore import _C, ops
from dlcore.autograd import grad
from dlcore.state import enable_grad, no_grad
from dlcore.tensor import Tensor

__all__ = ["Fit", "fit_map", "fit_mle"]

_MEMORY = 10  # pairs of steps and gradient differences that the curvature is known by
_DECREASE, _CURVATURE = 1e-4, 0.9  # of the weak Wolfe conditions
_NOISE = 2.0**-50  # of the objective, relative: below it only slopes tell up from down


class Fit(NamedTuple):
    """The parameters found, in the order given; the objective there; how many steps that took."""

    params: tuple[Tensor, ...]
    log_prob: float
    steps: int


def fit_mle(
    log_likelihood: Callable[..., Tensor], init: Sequence[Any], *, max_steps: int = 500, tolerance: float = 1e-10
) -> Fit:
    """θ̂ = argmax Σ log p(xᵢ|θ), by L-BFGS through autograd.

    ::

        fit = fit_mle(lambda mu, log_sigma: Normal(mu, log_sigma.exp()).log_prob(x), [0.0, 0.0])

    Args:
        log_likelihood: of the parameters; what it gives, of any shape, is summed.
        init: where each parameter starts, numbers or tensors. They are fitted in float64.
        max_steps: a RuntimeWarning says when they did not do.
        tolerance: done when no derivative is larger than this, or rounding leaves no way up.

    Raises:
        ValueError: no parameters, or an objective that is not finite at the start.

    Source: J. Nocedal, "Updating quasi-Newton matrices with limited storage", 1980. The line search also serves
    objectives with corners (A. Lewis and M. Overton, "Nonsmooth optimization via quasi-Newton methods", 2013) and goes
    by slopes near the end (W. Hager and H. Zhang, "A new conjugate gradient method", 2005).
    """
    return _maximise("fit_mle", lambda *theta: ops.sum(log_likelihood(*theta)), init, max_steps, tolerance)


def fit_map(
    log_likelihood: Callable[..., Tensor],
    log_prior: Callable[..., Tensor],
    init: Sequence[Any],
    *,
    max_steps: int = 500,
    tolerance: float = 1e-10,
) -> Fit:
    """θ̂ = argmax Σ log p(xᵢ|θ) + log p(θ): with a Gaussian prior an L2 penalty, with a Laplace prior an L1 penalty.

    Args:
        log_prior: of the parameters; what it gives, of any shape, is summed. The others as for `fit_mle`.

    Raises:
        ValueError: as `fit_mle`.
    """
    return _maximise(
        "fit_map",
        lambda *theta: ops.sum(log_likelihood(*theta)) + ops.sum(log_prior(*theta)),
        init,
        max_steps,
        tolerance,
    )


def _maximise(op: str, objective: Callable[..., Tensor], init: Sequence[Any], max_steps: int, tolerance: float) -> Fit:
    starts = [_C.cast(ops.asarray(p).detach(), _C.float64) for p in init]
    if not starts:
        raise ValueError(f"[{op}] expected at least one parameter in init")

    def split(theta: Tensor) -> tuple[Tensor, ...]:
        parts, at = [], 0
        for p in starts:
            parts.append(ops.reshape(theta[at : at + p.numel()], p.shape))
            at += p.numel()
        return tuple(parts)

    def loss(theta: Tensor) -> tuple[float, Tensor]:
        with enable_grad():
            theta = theta.detach().requires_grad_()
            value = -objective(*split(theta))
            (slope,) = grad(value, theta)
        assert slope is not None
        return value.item(), slope

    with no_grad():
        theta = ops.cat([ops.reshape(p, (-1,)) for p in starts])
        theta, value, steps = _minimise(op, loss, theta, max_steps, tolerance)
        return Fit(tuple(_C.clone(p) for p in split(theta)), -value, steps)


def _minimise(
    op: str, loss: Callable[[Tensor], tuple[float, Tensor]], theta: Tensor, max_steps: int, tolerance: float
) -> tuple[Tensor, float, int]:
    value, slope = loss(theta)
    if not math.isfinite(value):
        raise ValueError(f"[{op}] expected a finite objective at init, got {-value}")
    pairs: list[tuple[Tensor, Tensor]] = []
    for step in range(max_steps):
        steepest = slope.abs().amax().item()
        if steepest <= tolerance:
            return theta, value, step
        direction = -_times_inverse_hessian(slope, pairs)
        first = 1.0 if pairs else min(1.0, 1 / slope.abs().sum().item())
        found = _search(loss, theta, value, slope, direction, first)
        if found is None:  # rounding, or a corner, leaves no way down
            return theta, value, step
        moved, new_value, new_slope = found
        if value - new_value <= _NOISE * abs(value) and new_slope.abs().amax().item() >= steepest:
            return theta, value, step
        value = new_value
        pair = moved - theta, new_slope - slope
        if ops.dot(*pair).item() > 0:
            pairs = [*pairs, pair][-_MEMORY:]
        theta, slope = moved, new_slope
    warnings.warn(
        f"[{op}] no maximum after {max_steps} steps; the largest derivative is {slope.abs().amax().item():.3g}",
        RuntimeWarning,
        stacklevel=4,
    )
    return theta, value, max_steps


def _times_inverse_hessian(slope: Tensor, pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
    """The two-loop recursion."""
    q, shares = slope, []
    for s, y in reversed(pairs):
        share = ops.dot(s, q) / ops.dot(s, y)
        shares.append(share)
        q = q - share * y
    if pairs:
        s, y = pairs[-1]
        q = q * (ops.dot(s, y) / ops.dot(y, y))
    for (s, y), share in zip(pairs, reversed(shares), strict=True):
        q = q + s * (share - ops.dot(y, q) / ops.dot(s, y))
    return q


def _search(
    loss: Callable[[Tensor], tuple[float, Tensor]],
    theta: Tensor,
    value: float,
    slope: Tensor,
    direction: Tensor,
    length: float,
) -> tuple[Tensor, float, Tensor] | None:
    """By bisection to where the loss has fallen enough and its slope has risen enough: s · y > 0 then holds."""
    fall = ops.dot(slope, direction).item()
    low, high = 0.0, math.inf
    for _ in range(60):
        moved = theta + direction * length
        new_value, new_slope = loss(moved)
        rise = ops.dot(new_slope, direction).item()
        level = new_value <= value + _NOISE * abs(value) and rise <= (2 * _DECREASE - 1) * fall
        if not (level or new_value <= value + _DECREASE * length * fall):
            high = length
        elif rise < _CURVATURE * fall:
            low = length
        else:
            return moved, new_value, new_slope
        length = (low + high) / 2 if high < math.inf else 2 * low
    return None if high < math.inf else (moved, new_value, new_slope)
