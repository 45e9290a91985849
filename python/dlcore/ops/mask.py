"""Elements where a mask holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dlcore import _C, ops
from dlcore.autograd import Function
from dlcore.ops.copy import cast
from dlcore.ops.creation import is_tensor, tensor
from dlcore.ops.inplace import change
from dlcore.ops.shape import broadcast_to, sum_to

if TYPE_CHECKING:
    from dlcore.tensor import Tensor

__all__ = ["masked_fill", "masked_select", "nonzero"]


class _Read(Function):
    """The rows of `x` where a mask over its first dimensions holds."""

    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Tensor) -> Tensor:
        ctx.save(mask, shape=x.shape)
        return _C.mask_read(x, mask)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        return _Write.apply(_C.zeros(ctx.shape, dy.dtype, dy.device), dy, *ctx.saved), None


class _Write(Function):
    """`x` with `values`, broadcast, in those rows."""

    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        ctx.save(mask, shape=values.shape, dtype=values.dtype)
        y = _C.clone(x)
        _C.mask_write(y, mask, values)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (mask,) = ctx.saved
        dvalues = cast(sum_to(_Read.apply(dy, mask), ctx.shape), ctx.dtype) if ctx.dtype.is_floating_point else None
        return _Write.apply(dy, _C.zeros((), dy.dtype, dy.device), mask), dvalues, None


def read_rows(x: Tensor, mask: Tensor) -> Tensor:
    """`x[mask]` for a mask over the first dimensions of `x`."""
    return _Read.apply(x, mask)


def write_rows(x: Tensor, mask: Tensor, values: Tensor) -> Tensor:
    """`x` after `x[mask] = values`, as a new tensor."""
    return _Write.apply(x, values, mask)


def nonzero(x: Tensor, as_tuple: bool = False) -> Any:
    """The indices of the elements of `x` that are not zero, in row-major order.

    Returns:
        int64 of shape (count, x.ndim); with `as_tuple` one vector per dimension, such as `x[...]` takes.
    """
    places = _C.nonzero(x)
    return tuple(_C.contiguous(_C.select(places, 1, d)) for d in range(x.ndim)) if as_tuple else places


def masked_select(x: Tensor, mask: Tensor) -> Tensor:
    """The elements of `x` where `mask` holds, as a vector; the two are broadcast together.

    Raises:
        TypeError: a mask that is not bool.
        ValueError: shapes that do not broadcast.
    """
    _check_mask(mask, "masked_select")
    shape = _C.broadcast_shapes(x.shape, mask.shape)
    return _Read.apply(broadcast_to(x, shape), _C.expand(mask, shape))


def masked_fill(x: Tensor, mask: Tensor, value: Any) -> Tensor:
    """`x` with `value`, a number or 0-d tensor, where `mask` holds; the mask is broadcast.

    Raises:
        TypeError: a mask that is not bool.
        ValueError: shapes that do not broadcast, or a value that is not a single number.
    """
    _check_mask(mask, "masked_fill")
    fill = value if is_tensor(value) else tensor(value, x.dtype, x.device)
    if fill.ndim:
        raise ValueError(f"[masked_fill] expected a number or a 0-dimensional tensor, got shape {fill.shape}")
    return ops.where(mask, cast(fill, x.dtype), x)


def _check_mask(mask: Tensor, op: str) -> None:
    if mask.dtype is not _C.bool_:
        raise TypeError(f"[{op}] expected a bool mask, got {mask.dtype!r} of shape {mask.shape}")


class MaskMethods:
    __slots__ = ()

    nonzero = nonzero
    masked_select = masked_select
    masked_fill = masked_fill

    def masked_fill_(self: Any, mask: Tensor, value: Any) -> Tensor:
        """`masked_fill` in place."""
        return change(self, "masked_fill_", masked_fill, mask, value)
