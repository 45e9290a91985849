"""Clipping of gradients."""

from __future__ import annotations

import math
from collections.abc import Iterable

from dlcore import _C, ops
from dlcore.ops.creation import tensor
from dlcore.state import no_grad
from dlcore.tensor import Tensor

__all__ = ["clip_grad_norm_", "clip_grad_value_", "get_total_norm"]


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    given = [parameters] if isinstance(parameters, _C.Tensor) else parameters
    return [p.grad for p in given if p.grad is not None]


def get_total_norm(tensors: Iterable[Tensor], norm_type: float = 2.0, error_if_nonfinite: bool = False) -> Tensor:
    """(Σ |x|^norm_type)^(1 / norm_type) over all elements of all tensors, or max |x| for an infinite norm_type.

    Sums in double, in blocks of a fixed size: the same bits for any number of threads. A float32 scalar (float64 where
    a tensor is); 0 without tensors.

    Raises:
        ValueError: norm_type <= 0.
        RuntimeError: the norm is NaN or infinite and `error_if_nonfinite`.
    """
    tensors = list(tensors)
    total = _C.global_norm(tensors, float(norm_type))
    if error_if_nonfinite and not math.isfinite(total):
        raise RuntimeError(
            f"[get_total_norm] the norm of order {norm_type} of {len(tensors)} tensors is {total}; "
            "pass error_if_nonfinite=False to go on with it"
        )
    return tensor(total, _C.float64 if any(t.dtype is _C.float64 for t in tensors) else _C.float32)


def clipping_factor(norm: float, max_norm: float) -> float:
    """What gradients of this norm are multiplied by to clip them; NaN where the norm is."""
    factor = max_norm / (norm + 1e-6)
    return 1.0 if factor >= 1 else factor


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Tensor:
    """Scales all gradients in place by max_norm / (norm + 1e-6) where their norm, taken together, is larger.

    Args:
        parameters: tensors; those without a gradient are passed over.
        max_norm: the norm to come down to.
        norm_type: order of the norm, see `get_total_norm`.
        error_if_nonfinite: raise where the norm is NaN or infinite, instead of spreading it to every gradient.

    Returns:
        The norm before clipping.

    Raises:
        RuntimeError: see `error_if_nonfinite`.

    Source: R. Pascanu et al., "On the difficulty of training recurrent neural networks", 2013.
    """
    grads = _gradients(parameters)
    norm = get_total_norm(grads, norm_type, error_if_nonfinite)
    factor = clipping_factor(float(norm), max_norm)
    if factor != 1:  # also for NaN
        _C.scale_tensors(grads, factor)
    return norm


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Clamps every gradient in place to [-clip_value, clip_value]; NaN stays.

    Args:
        parameters: tensors; those without a gradient are passed over.
        clip_value: >= 0.
    """
    if not clip_value >= 0:
        raise ValueError(f"[clip_grad_value_] expected clip_value >= 0, got {clip_value}")
    with no_grad():
        for g in _gradients(parameters):
            _C.copy_into(ops.clamp(g, -clip_value, clip_value), g)
