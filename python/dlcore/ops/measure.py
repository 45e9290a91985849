"""Numbers that measure distributions and vectors: entropy, cosine similarity, squared length."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from dlcore import _C, ops
from dlcore.amp import raised

if TYPE_CHECKING:
    from dlcore.tensor import Tensor

__all__ = ["cosine_similarity", "entropy", "l2_penalty"]

# The root of 2 ulp of 1: far more than rounding leaves of a sum, far less than what is forgotten in one.
_SUM_TOLERANCE = {_C.float32: 2.0**-11, _C.bfloat16: 2.0**-4, _C.float64: 2.0**-26}


def require(op: str, what: str, good: Tensor, value: Tensor) -> None:
    """ValueError "[op] expected `what`, got …" with the first element of `value` where `good` is False."""
    bad = ops.logical_not(good)
    if not bad.any().item():  # the other way round a dry run, in which every number is 0, would end here
        return
    at = tuple(int(i[0]) for i in ops.nonzero(bad, as_tuple=True))
    raise ValueError(f"[{op}] expected {what}, got {value.detach()[at].item():.6g}{f' at {at}' if at else ''}")


def check_probabilities(p: Tensor, op: str, dim: int | None = -1) -> None:
    """Raises ValueError, in the name of `op`, unless p lies in [0, 1] and, along `dim` (None: do not ask), sums to 1.

    Sums may be off by the root of the dtype's precision: 5e-4 in float32, 1.5e-8 in float64.

    Raises:
        ValueError: the values are no probabilities; the message has the first that is none.
        TypeError: not a floating dtype.
    """
    if not p.dtype.is_floating_point:
        raise TypeError(f"[{op}] expected floating probabilities, got {p.dtype!r} of shape {p.shape}")
    p = p.detach()
    require(op, "probabilities in [0, 1]", ops.logical_and(ops.ge(p, 0.0), ops.le(p, 1.0)), p)
    if dim is None or not p.numel():
        return
    off = ops.abs(ops.sum(p, dim) - 1.0)
    if _C.amax(off, None, False).item() > _SUM_TOLERANCE[p.dtype]:
        worst = ops.sum(p, dim).reshape(-1)[int(off.argmax())].item()
        raise ValueError(f"[{op}] expected probabilities that sum to 1 along dim {dim}, got a sum of {worst:.6g}")


def entropy(p: Tensor, base: float | None = None, dim: int = -1) -> Tensor:
    """H(p) = -Σ p log p along `dim`, with 0 log 0 = 0: how much a draw from p tells.

    Args:
        p: probabilities, which sum to 1 along `dim`.
        base: of the logarithm: None for nats, 2 for bits.
        dim: the dimension of the outcomes, which goes.

    The gradient where p = 0, in truth infinite, is 0.

    Raises:
        ValueError: values that are no probabilities, see `check_probabilities`, or a base <= 0 or 1.
        TypeError: not a floating dtype.

    Source: C. Shannon, "A mathematical theory of communication", 1948.
    """
    (p,) = raised(p)
    if base is not None and (not base > 0 or base == 1):
        raise ValueError(f"[entropy] expected a base > 0 other than 1, got {base}")
    check_probabilities(p, "entropy", dim)
    nats = -ops.sum(p * ops.log(ops.where(ops.gt(p, 0.0), p, 1.0)), dim)
    return nats if base is None else nats / math.log(base)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x1 · x2 / (max(‖x1‖, eps) max(‖x2‖, eps)) along `dim`: the cosine of the angle between vectors.

    Args:
        x1, x2: tensors that broadcast together.
        dim: the dimension of the vectors' elements, which goes.
        eps: the least length that a vector counts for.

    Raises:
        ValueError: shapes that do not broadcast.
        IndexError: a dimension that they do not have.
    """
    x1, x2 = raised(x1, x2)
    shape = _C.broadcast_shapes(x1.shape, x2.shape)
    x1, x2 = ops.expand(x1, shape), ops.expand(x2, shape)
    unit1, unit2 = (x / ops.clamp(ops.norm(x, 2, dim, keepdim=True), min=eps) for x in (x1, x2))
    return ops.sum(unit1 * unit2, dim)


def l2_penalty(parameters: Tensor | Iterable[Tensor], weight: float = 1.0) -> Tensor:
    """weight · Σ θ² over all elements of all parameters: what L2 regularisation adds to a loss.

    Its gradient is 2 weight θ, so with SGD it does what `weight_decay=2 * weight` does.

    Args:
        parameters: a tensor, or several, such as `model.parameters()`.
        weight: λ >= 0.

    Raises:
        ValueError: no parameters, or weight < 0.
    """
    if not weight >= 0:
        raise ValueError(f"[l2_penalty] expected weight >= 0, got {weight}")
    given = [parameters] if isinstance(parameters, _C.Tensor) else list(parameters)
    if not given:
        raise ValueError("[l2_penalty] expected at least one parameter, got none")
    total = ops.sum(ops.square(given[0]))
    for p in given[1:]:
        total = total + ops.sum(ops.square(p))
    return total * weight
