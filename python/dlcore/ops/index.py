"""Reading and writing by position: `x[...]`, gather and scatter, masks, diagonals and triangles."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dlcore import _C
from dlcore.autograd import Function, View
from dlcore.state import state

if TYPE_CHECKING:
    from dlcore.tensor import Tensor

__all__: list[str] = []


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
        y = _C.zeros(shape, x.dtype)
        _C.copy_into(x, look(y))
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        return _Look.apply(dy, ctx.look), None, None


def _index_with(key: Any) -> Callable[[Tensor], Tensor]:
    return lambda x: _C.index_view(x, key)


def getitem(x: Tensor, key: Any) -> Tensor:
    """`x[key]`. Integers, slices (also backwards), None and Ellipsis give a view.

    Raises:
        TypeError: an index of another type.
        IndexError: an index out of range, or more indices than dimensions.
    """
    y = _C.index_view(x, key)
    if y is None:
        raise TypeError(f"[index] expected integers, slices, None and Ellipsis, got {key!r}")
    if state.grad_enabled:
        if x.requires_grad:
            return _Look.apply(x, _index_with(key))
        y._set_base(x)
    return y


class IndexMethods:
    __slots__ = ()

    __getitem__ = getitem
