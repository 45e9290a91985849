"""The same elements again, turned round or shifted."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from dlcore import _C
from dlcore.ops.creation import tensor
from dlcore.ops.index import getitem, index_select, look_at
from dlcore.ops.join import cat
from dlcore.ops.shape import axis_of, expand, flatten, reshape

if TYPE_CHECKING:
    from dlcore.tensor import Tensor

__all__ = ["flip", "repeat", "repeat_interleave", "roll", "tile"]


def _reversed(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    for axis in axes:
        x = _C.slice(x, axis, x.shape[axis] - 1, -1, -1)
    return x


def flip(x: Tensor, *dims: Any) -> Tensor:
    """The elements along the given dimensions in reverse, as a view; along all where none is given.

    Raises:
        IndexError: a dimension that `x` does not have.
        ValueError: a dimension given twice.
    """
    given = tuple(dims[0]) if len(dims) == 1 and isinstance(dims[0], (tuple, list)) else dims
    axes = tuple(axis_of(d, x, "flip") for d in given) if dims else tuple(range(x.ndim))
    if len(set(axes)) != len(axes):
        raise ValueError(f"[flip] dimensions must not repeat, got {list(given)}")
    return look_at(x, partial(_reversed, axes=axes))


def roll(x: Tensor, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None) -> Tensor:
    """The elements moved on by `shifts` along `dims`; what leaves at the end comes back at the start.

    Args:
        shifts: one number for each of `dims`; negative ones move back.
        dims: without it `x` is rolled as if it were flat.

    Raises:
        ValueError: not one shift for each dimension.
        IndexError: a dimension that `x` does not have.
    """
    if dims is None:
        if not isinstance(shifts, int):
            raise ValueError(f"[roll] expected one shift where no dims are given, got {list(shifts)}")
        return reshape(roll(flatten(x), shifts, 0), x.shape)
    by = [shifts] if isinstance(shifts, int) else list(shifts)
    along = [dims] if isinstance(dims, int) else list(dims)
    if len(by) != len(along):
        raise ValueError(f"[roll] expected one shift for each of dims {along}, got {by}")
    for shift, dim in zip(by, along, strict=True):
        axis = axis_of(dim, x, "roll")
        n = x.shape[axis]
        if n and shift % n:
            before = (slice(None),) * axis
            cut = n - shift % n
            x = cat([getitem(x, (*before, slice(cut, None))), getitem(x, (*before, slice(None, cut)))], axis)
    return x


def repeat(x: Tensor, *sizes: Any) -> Tensor:
    """`x` laid side by side: `sizes` says how often along each dimension. More sizes than dimensions add leading ones.

    Raises:
        ValueError: fewer sizes than dimensions, or a negative one.
    """
    times = tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else sizes
    if len(times) < x.ndim:
        raise ValueError(f"[repeat] expected at least {x.ndim} sizes for shape {x.shape}, got {list(times)}")
    if any(n < 0 for n in times):
        raise ValueError(f"[repeat] sizes must not be negative, got {list(times)}")
    return _tiled(x, times)


def tile(x: Tensor, *reps: Any) -> Tensor:
    """As `repeat`, but a shorter `reps` counts for the last dimensions."""
    times = tuple(reps[0]) if len(reps) == 1 and isinstance(reps[0], (tuple, list)) else reps
    if any(n < 0 for n in times):
        raise ValueError(f"[tile] reps must not be negative, got {list(times)}")
    return _tiled(x, (1,) * (x.ndim - len(times)) + times)


def _tiled(x: Tensor, times: tuple[int, ...]) -> Tensor:
    shape = (1,) * (len(times) - x.ndim) + x.shape
    result = tuple(n * k for n, k in zip(shape, times, strict=True))
    if 0 in result:
        return reshape(expand(reshape(x, shape)[tuple(slice(0, min(n, 1)) for n in result)], result), result)
    x = reshape(x, shape)
    # From the last dimension to the first, so that only the last step copies a whole result.
    for axis in reversed(range(len(times))):
        if times[axis] > 1:
            outer, done = x.shape[:axis], x.shape[axis + 1 :]
            x = reshape(_again(x, prod(outer), times[axis]), (*outer, times[axis] * x.shape[axis], *done))
    return x


def repeat_interleave(x: Tensor, repeats: int | Tensor, dim: int | None = None) -> Tensor:
    """Every slice of `x` along `dim` several times in a row.

    Args:
        repeats: how often; an integer, or a vector with one for each slice.
        dim: without it `x` is taken as if it were flat.

    Raises:
        ValueError: negative repeats, or not one for each slice.
        IndexError: a dimension that `x` does not have.
    """
    if dim is None:
        return repeat_interleave(flatten(x), repeats, 0)
    axis = axis_of(dim, x, "repeat_interleave")
    n = x.shape[axis]
    counts = np.asarray(repeats.cpu().numpy() if isinstance(repeats, _C.Tensor) else repeats)
    if counts.dtype.kind not in "iu":
        raise TypeError(f"[repeat_interleave] repeats must be integers, got {counts.dtype}")
    if counts.ndim > 1 or (counts.ndim == 1 and counts.shape != (n,)):
        raise ValueError(
            f"[repeat_interleave] expected one number, or {n} for dimension {dim} of shape {x.shape}, "
            f"got repeats of shape {counts.shape}"
        )
    if (counts < 0).any():
        raise ValueError(f"[repeat_interleave] repeats must not be negative, got {int(counts.min())}")
    if counts.ndim == 1:
        return index_select(x, axis, tensor(np.repeat(np.arange(n), counts), device=x.device))
    k = int(counts)
    return reshape(_again(x, prod(x.shape[: axis + 1]), k), (*x.shape[:axis], n * k, *x.shape[axis + 1 :]))


def _again(x: Tensor, rows: int, times: int) -> Tensor:
    """(rows, times, rest) with each of the rows that `x` is cut into `times` times."""
    rest = prod(x.shape) // rows if rows else 0
    return expand(reshape(x, (rows, 1, rest)), (rows, times, rest))


class RepeatMethods:
    __slots__ = ()

    flip = flip
    roll = roll
    repeat = repeat
    tile = tile
    repeat_interleave = repeat_interleave
