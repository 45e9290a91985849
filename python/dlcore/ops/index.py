"""Reading and writing by position: `x[key]`, with NumPy's rules, and selections along one dimension."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dlcore import _C
from dlcore.autograd import Function, View
from dlcore.ops.copy import cast
from dlcore.ops.creation import tensor
from dlcore.ops.inplace import assign, change
from dlcore.ops.mask import read_rows, write_rows
from dlcore.ops.shape import axis_of, sum_to
from dlcore.state import is_grad_enabled

if TYPE_CHECKING:
    from dlcore.tensor import Tensor

__all__ = ["index_add", "index_select"]


class _Look(View):
    """A view of some elements: `look` maps a tensor to the view."""

    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, look: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.shape, ctx.look = x.shape, look
        return look(x)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        return _Place.apply(dy, ctx.shape, ctx.look), None


class _Place(Function):
    """The adjoint of `_Look`: zeros, but for the elements that the view shows."""

    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, shape: tuple[int, ...], look: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.look = look
        y = _C.zeros(shape, x.dtype, x.device)
        _C.copy_into(x, look(y))
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        return look_at(dy, ctx.look), None, None


def look_at(x: Tensor, look: Callable[[Tensor], Tensor]) -> Tensor:
    """`look(x)`, a view made by `_C` functions alone, as a differentiable operation."""
    if is_grad_enabled() and x.requires_grad:
        return _Look.apply(x, look)
    y = look(x)
    if is_grad_enabled():
        y._set_base(x)
    return y


def place(x: Tensor, shape: tuple[int, ...], look: Callable[[Tensor], Tensor]) -> Tensor:
    """Zeros of a shape, but for `x` in the elements that `look` shows."""
    return _Place.apply(x, shape, look)


class Picks(NamedTuple):
    """Integer indices along some dimensions; their common shape comes before the `at`-th of the other dimensions."""

    dims: tuple[int, ...]
    indices: tuple[Tensor, ...]
    at: int


class _Read(Function):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, picks: Picks) -> Tensor:
        ctx.save(*picks.indices, shape=x.shape, picks=picks)
        return _C.index_read(x, *picks)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        return _Add.apply(None, dy, ctx.picks._replace(indices=tuple(ctx.saved)), ctx.shape), None


class _Add(Function):
    """`x`, or zeros of a shape, plus `values` at the picks."""

    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor | None, values: Tensor, picks: Picks, shape: tuple[int, ...]) -> Tensor:
        ctx.save(*picks.indices, has_x=x is not None, picks=picks, shape=values.shape)
        y = _C.zeros(shape, values.dtype, values.device) if x is None else _C.clone(x)
        _C.index_add(y, *picks, values)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        dvalues = _Read.apply(dy, ctx.picks._replace(indices=tuple(ctx.saved)))
        return dy if ctx.has_x else None, sum_to(dvalues, ctx.shape), None, None


class _Write(Function):
    """`x` with `values` at the picks. Of values written to one element the last stays; all of them get gradients."""

    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, values: Tensor, picks: Picks) -> Tensor:
        ctx.save(*picks.indices, picks=picks, shape=values.shape, dtype=values.dtype)
        y = _C.clone(x)
        _C.index_write(y, *picks, values)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        picks = ctx.picks._replace(indices=tuple(ctx.saved))
        dvalues = cast(sum_to(_Read.apply(dy, picks), ctx.shape), ctx.dtype) if ctx.dtype.is_floating_point else None
        return _Write.apply(dy, _C.zeros((), dy.dtype, dy.device), picks), dvalues, None


def _as_index(item: Any, position: int) -> Any:
    """An item of a key: slices, None, Ellipsis and integers as they are, else a tensor of integers or bools."""
    if item is None or item is ... or isinstance(item, slice):
        return item
    if isinstance(item, _C.Tensor):
        if item.dtype.is_floating_point:
            raise TypeError(f"[index] expected integers or bools, got {item.dtype!r} at position {position}")
        return int(item) if item.ndim == 0 and item.dtype is not _C.bool_ else item
    try:
        array = np.asarray(item)
    except ValueError:  # ragged
        array = np.empty((), object)
    if array.size == 0 and isinstance(item, (list, tuple)):
        array = array.astype(np.int64)
    if array.dtype.kind not in "biu":
        what = type(item).__name__ if array.ndim == 0 else f"{type(item).__name__} of {array.dtype}"
        raise TypeError(
            f"[index] expected integers, slices, None, Ellipsis, or arrays of integers or bools, got {what} "
            f"at position {position}"
        )
    return int(array) if array.ndim == 0 and array.dtype.kind != "b" else tensor(array)


def _is_mask(item: Any) -> bool:
    return isinstance(item, _C.Tensor) and item.dtype is _C.bool_


def _only_mask(key: Any) -> Tensor | None:
    """The mask in a key that is nothing else: its rows are read without a detour over indices."""
    if isinstance(key, tuple) and len(key) == 1:
        key = key[0]
    if isinstance(key, (_C.Tensor, np.ndarray)) and key.ndim > 0:
        mask = _as_index(key, 0)
        return mask if _is_mask(mask) else None
    return None


def _mask_indices(mask: Tensor, x: Tensor, axis: int, position: int) -> tuple[Tensor, ...]:
    if mask.ndim == 0:  # True and False stand for an axis of their own, with one element or none
        return (tensor([0] if mask.item() else [], _C.int64),)
    covered = x.shape[axis : axis + mask.ndim]
    if mask.shape != covered:
        raise IndexError(
            f"[index] a mask of shape {mask.shape} at position {position} does not match the dimensions that it "
            f"covers, {covered} of shape {x.shape}"
        )
    places = _C.nonzero(mask)
    return tuple(_C.select(places, 1, d) for d in range(mask.ndim))


def _parse(x: Tensor, items: list[Any]) -> tuple[tuple[Any, ...], Picks]:
    """A key for a view in which the indexed dimensions are whole, and the picks in that view.

    The shape of indices that all stand side by side takes their place; otherwise it comes first.
    """
    used = sum(i.ndim if _is_mask(i) else i is not None and i is not ... for i in items)
    if sum(i is ... for i in items) > 1:
        raise IndexError("[index] an index holds at most one Ellipsis")
    if used > x.ndim:
        raise IndexError(f"[index] {used} indices are too many for shape {x.shape}")
    view_key: list[Any] = []
    dims: list[int] = []
    indices: list[Tensor] = []
    groups, in_group = 0, False  # of neighbouring indices: the shape of a single one stays in its place
    axis = 0  # the dimension of x that comes next
    for position, item in enumerate(items):
        picks: tuple[Tensor, ...] = ()
        if item is ...:
            view_key += [slice(None)] * (x.ndim - used)
            axis += x.ndim - used
        elif item is None or isinstance(item, slice):
            view_key.append(item)
            axis += item is not None
        elif _is_mask(item):
            picks = _mask_indices(item, x, axis, position)
            view_key += [slice(None)] * item.ndim or [None]
            axis += item.ndim
        else:
            n = x.shape[axis]
            if isinstance(item, int) and not -n <= item < n:
                raise IndexError(
                    f"[index] index {item} at position {position} is out of range for axis {axis} of size {n} "
                    f"(shape {x.shape})"
                )
            picks = (tensor(item) if isinstance(item, int) else item,)
            view_key.append(slice(None))
            axis += 1
        dims += range(len(view_key) - len(picks), len(view_key))
        indices += picks
        groups += bool(picks) and not in_group
        in_group = bool(picks)
    return tuple(view_key), Picks(tuple(dims), tuple(indices), dims[0] if groups == 1 else 0)


def _whole(key: tuple[Any, ...]) -> bool:
    return all(isinstance(k, slice) and k == slice(None) for k in key)


def _picked(x: Tensor, key: Any) -> tuple[Any, Tensor, Picks | None]:
    """The key without arrays of single integers, and for one with other arrays a view and the picks in it."""
    items: list[Any] = [_as_index(item, i) for i, item in enumerate(key if isinstance(key, tuple) else (key,))]
    if not any(isinstance(i, _C.Tensor) for i in items):
        return tuple(items), x, None
    view_key, picks = _parse(x, items)
    return key, x if _whole(view_key) else getitem(x, view_key), picks


def getitem(x: Tensor, key: Any) -> Tensor:
    """`x[key]`, by NumPy's rules.

    Integers, slices (also backwards), None and Ellipsis give a view. Arrays, tensors and lists of integers, which are
    broadcast together, and masks give a copy.

    Raises:
        TypeError: an index of another type, such as floats.
        IndexError: an index out of range, more indices than dimensions, or a mask of another shape.
    """
    y = _C.index_view(x, key)
    if y is None:
        mask = _only_mask(key)
        if mask is not None:
            return read_rows(x, mask)
        key, source, picks = _picked(x, key)
        return getitem(x, key) if picks is None else _Read.apply(source, picks)
    if is_grad_enabled():
        if x.requires_grad:
            return _Look.apply(x, lambda t: _C.index_view(t, key))
        y._set_base(x)
    return y


def setitem(x: Tensor, key: Any, value: Any) -> None:
    """`x[key] = value`, with the keys of `x[key]`; the value is broadcast and converted.

    Where integer indices name an element more than once the last value stays.

    Raises:
        TypeError, IndexError: as for `x[key]`.
        ValueError: a value that does not broadcast to the selection; read-only memory.
        RuntimeError: a leaf that requires a gradient, outside no_grad().
    """
    source = value if isinstance(value, _C.Tensor) else tensor(value, x.dtype)
    recorded = is_grad_enabled() and (x.requires_grad or source.requires_grad)
    view = _C.index_view(x, key)
    mask, picks = None, None
    if view is None:
        mask = _only_mask(key)
        if mask is None:
            key, target, picks = _picked(x, key)
    if mask is not None:
        if recorded:
            change(x, "setitem", write_rows, mask, source)
        else:
            _C.mask_write(x, mask, source)
    elif picks is not None:
        if recorded:
            change(target, "setitem", _Write.apply, source, picks)
        else:
            _C.index_write(target, *picks, source)
    elif recorded:
        assign(getitem(x, key), source, "setitem")
    else:
        _C.copy_into(source, _C.index_view(x, key) if view is None else view, "setitem")


def _along(x: Tensor, dim: int, index: Tensor, op: str) -> Picks:
    axis = axis_of(dim, x, op)
    if index.ndim != 1:
        raise ValueError(f"[{op}] expected a vector of indices, got shape {index.shape}")
    return Picks((axis,), (index,), axis)


def index_select(x: Tensor, dim: int, index: Tensor) -> Tensor:
    """The slices of `x` along `dim` that a vector of indices names, in its order.

    Raises:
        ValueError: `index` is not a vector.
        TypeError: `index` does not hold integers.
        IndexError: an index out of range.
    """
    return _Read.apply(x, _along(x, dim, index, "index_select"))


def index_add(x: Tensor, dim: int, index: Tensor, source: Tensor, alpha: float = 1) -> Tensor:
    """`x` with `alpha * source` added to the slices along `dim` that `index` names, in its order.

    Args:
        index: a vector; a slice named several times gets several terms.
        source: `x`'s shape, but for `len(index)` along `dim`.

    Raises:
        ValueError: `index` is not a vector, or `source` has another shape.
        TypeError: `index` does not hold integers, or `source` does not fit `x`'s dtype.
        IndexError: an index out of range.
    """
    picks = _along(x, dim, index, "index_add")
    axis = picks.at
    expected = (*x.shape[:axis], index.shape[0], *x.shape[axis + 1 :])
    if source.shape != expected:
        raise ValueError(
            f"[index_add] expected a source of shape {expected} for {index.shape[0]} indices along axis {axis} "
            f"of shape {x.shape}, got {source.shape}"
        )
    if _C.promote_types(x.dtype, source.dtype) is not x.dtype:
        raise TypeError(f"[index_add] a source of {source.dtype!r} does not fit into {x.dtype!r}")
    return _Add.apply(x, cast(source if alpha == 1 else source * alpha, x.dtype), picks, x.shape)


class IndexMethods:
    __slots__ = ()

    __getitem__ = getitem
    __setitem__ = setitem
    index_select = index_select
    index_add = index_add

    def index_add_(self: Any, dim: int, index: Tensor, source: Tensor, alpha: float = 1) -> Tensor:
        """`index_add` in place."""
        return change(self, "index_add_", lambda x, s: index_add(x, dim, index, s, alpha), source)
