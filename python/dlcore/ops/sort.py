"""Order: sorting, the largest elements, searches, distinct values. NaN counts as larger than everything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dlcore import _C
from dlcore.autograd import Function
from dlcore.ops.copy import cast
from dlcore.ops.creation import asarray, tensor
from dlcore.ops.gather import scatter_add
from dlcore.ops.reduce import ValuesIndices

if TYPE_CHECKING:
    from dlcore.tensor import Tensor

__all__ = ["argsort", "bucketize", "searchsorted", "sort", "topk", "unique"]


class _Ordered(Function):
    """Elements picked along one axis, with their indices; gradients go back where they came from."""

    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int, pick: Any) -> tuple[Tensor, Tensor]:
        values, indices = pick(x)
        ctx.save(indices, dim=dim, shape=x.shape)
        return values, indices

    @staticmethod
    def backward(ctx: Any, dy: Tensor, _: Any) -> Any:
        (indices,) = ctx.saved
        if ctx.shape == ():
            return dy, None, None
        return scatter_add(_C.zeros(ctx.shape, dy.dtype, dy.device), ctx.dim, indices, dy), None, None


def sort(x: Tensor, dim: int = -1, descending: bool = False, stable: bool = True) -> ValuesIndices:
    """The elements along `dim` in order, as (values, indices), where values = take_along_dim(x, indices, dim).

    Args:
        stable: equal elements keep their order; they do in any case, also in a descending sort.

    Raises:
        IndexError: a dimension that `x` does not have.
    """
    return ValuesIndices(*_Ordered.apply(x, dim, lambda t: _C.sort(t, dim, descending)))


def argsort(x: Tensor, dim: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """The indices that `sort` gives."""
    return _C.argsort(x, dim, descending)


def topk(x: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> ValuesIndices:
    """The `k` largest (or smallest) elements along `dim`, as (values, indices); of equal ones those that come first.

    Args:
        sorted: the elements come in order, the best first; they do in any case.

    Raises:
        ValueError: `k` is negative or larger than the dimension.
        IndexError: a dimension that `x` does not have.
    """
    return ValuesIndices(*_Ordered.apply(x, dim, lambda t: _C.topk(t, k, dim, largest)))


def searchsorted(sorted_sequence: Tensor, values: Any, right: bool = False) -> Tensor:
    """Where values would have to be inserted to keep the order: the number of elements before each (right: or equal).

    Args:
        sorted_sequence: a vector in ascending order, or one for each row of `values`, which has as many dimensions.
        values: a tensor or a number.

    Returns:
        int64 in the shape of `values`.

    Raises:
        ValueError: shapes that do not fit.
    """
    return _C.searchsorted(sorted_sequence, asarray(values), right)


def bucketize(x: Any, boundaries: Tensor, right: bool = False) -> Tensor:
    """Which of the buckets between ascending `boundaries` each element lies in: `searchsorted(boundaries, x, right)`.

    Raises:
        ValueError: boundaries that are not a vector.
    """
    if boundaries.ndim != 1:
        raise ValueError(f"[bucketize] expected a vector of boundaries, got shape {boundaries.shape}")
    return _C.searchsorted(boundaries, asarray(x), right)


def unique(x: Tensor, return_inverse: bool = False, return_counts: bool = False) -> Any:
    """The distinct elements in ascending order, every NaN one of its own, through `numpy.unique`.

    Args:
        return_inverse: also where each element of `x` is among them, in `x`'s shape.
        return_counts: also how often each occurs.
    """
    array = (cast(x.detach(), _C.float32) if x.dtype is _C.bfloat16 else x.detach()).numpy()
    if not (return_inverse or return_counts):
        return cast(tensor(np.unique(array, equal_nan=False)), x.dtype)
    values, inverse, counts = np.unique(array, return_inverse=True, return_counts=True, equal_nan=False)
    others = [inverse.reshape(x.shape)] * return_inverse + [counts] * return_counts
    return cast(tensor(values), x.dtype), *(tensor(o) for o in others)


class SortMethods:
    __slots__ = ()

    sort = sort
    argsort = argsort
    topk = topk
    unique = unique
