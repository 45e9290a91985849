"""In-place changes, and what autograd makes of them: one protocol for every `..._` method and `x[key] = value`.

Without recording, the memory is written and the storage's version goes up, so that a backward which saved the old
values refuses. With recording, the changed tensor gets a new history: the operation is recorded out of place, from the
tensor's old node, and its result is then written into the old memory.

Views: a tensor that shows part of another's memory knows that tensor, its base (`autograd.View`). A recorded change of
a view is a change of its base, which gets the node `_Patch`; every view of a changed base gets a `_Window` onto the
base's new history when it is next used. A view's place is given by strides, so any chain of views is one window.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from dlcore import _C
from dlcore.autograd import Function
from dlcore.ops.copy import cast
from dlcore.ops.creation import tensor
from dlcore.ops.elementwise import (
    add,
    bitwise_and,
    bitwise_or,
    bitwise_xor,
    div,
    floor_divide,
    mul,
    pow,
    remainder,
    sub,
    value_of,
)
from dlcore.ops.shape import sum_to
from dlcore.ops.unary import clamp
from dlcore.state import is_grad_enabled

if TYPE_CHECKING:
    from dlcore.tensor import Tensor

__all__: list[str] = []


class _Place(NamedTuple):
    """Where a view lies in its base; `offset` counts elements from the base's first."""

    base_shape: tuple[int, ...]
    base_strides: tuple[int, ...]
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int

    def look(self, base: Tensor) -> Tensor:
        """The view, given a tensor that is laid out like the base."""
        return _C.as_strided(base, self.shape, self.strides, self.offset)

    def blank(self, dtype: Any, device: str) -> Tensor:
        """Zeros that are laid out like the base."""
        reaches = [(n - 1) * step for n, step in zip(self.base_shape, self.base_strides, strict=True) if n > 0]
        first = -sum(r for r in reaches if r < 0)
        block = _C.zeros((1 + sum(abs(r) for r in reaches),), dtype, device)
        return _C.as_strided(block, self.base_shape, self.base_strides, first)

    def copy(self, base: Tensor) -> Tensor:
        """A copy that is laid out like the base."""
        y = self.blank(base.dtype, base.device)
        _C.copy_into(base, y)
        return y


class _Window(Function):
    """From a base to its view. The gradient is summed along expanded dimensions."""

    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, base: Tensor, place: _Place) -> Tensor:
        ctx.place = place
        return place.look(base if base.strides == place.base_strides else place.copy(base))

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        once = tuple(1 if step == 0 else n for n, step in zip(ctx.place.shape, ctx.place.strides, strict=True))
        return _Unwindow.apply(sum_to(dy, once), ctx.place._replace(shape=once)), None


class _Unwindow(Function):
    """From a view to its base: zeros, but for the view's elements."""

    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, view: Tensor, place: _Place) -> Tensor:
        ctx.place = place
        y = place.blank(view.dtype, view.device)
        _C.copy_into(view, place.look(y))
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        return _Window.apply(dy, ctx.place), None


class _Hole(Function):
    """A base with zeros where its view lies."""

    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, base: Tensor, place: _Place) -> Tensor:
        ctx.place = place
        y = place.copy(base)
        _C.copy_into(_C.zeros((), y.dtype, y.device), place.look(y))
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        return _Hole.apply(dy, ctx.place), None


class _Patch(Function):
    """A base whose view has been changed: of (old base, new view)."""

    twice_differentiable = True

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        return _Hole.apply(dy, ctx.place), _Window.apply(dy, ctx.place)


class _Assign(Function):
    """`x` after all its elements were replaced by those of `source`."""

    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, source: Tensor, op: str) -> Tensor:
        ctx.shape, ctx.dtype = source.shape, source.dtype
        y = _C.empty(x.shape, x.dtype, x.device)
        _C.copy_into(source, y, op)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        return None, cast(sum_to(dy, ctx.shape), ctx.dtype) if ctx.dtype.is_floating_point else None, None


def _place_of(view: Tensor, base: Tensor) -> _Place:
    offset = (view.data_ptr() - base.data_ptr()) // view.itemsize
    return _Place(base.shape, base.strides, view.shape, view.strides, offset)


def _look_again(view: Tensor) -> None:
    """Gives a view of a changed base the history that follows from the base's present one."""
    base = view._base
    assert base is not None  # only views are refreshed
    if base.requires_grad and view.dtype.is_floating_point:
        window = _Window()
        window.place = _place_of(view, base)  # type: ignore[attr-defined]
        window._attach((base, None), (view,))


_C.set_view_refresher(_look_again)


def _fit(y: Tensor, x: Tensor, op: str) -> Tensor:
    if y.dtype is not x.dtype:
        if y.dtype.is_floating_point and not x.dtype.is_floating_point:
            raise TypeError(f"[{op}] a result of {y.dtype!r} does not fit into a tensor of {x.dtype!r}")
        y = cast(y, x.dtype)
    if y.shape != x.shape:
        raise ValueError(f"[{op}] a result of shape {y.shape} does not fit into the tensor of shape {x.shape}")
    return y


def change(x: Tensor, op: str, compute: Callable[..., Tensor], *operands: Any) -> Tensor:
    """x[...] = compute(x, *operands), recorded where gradients flow through any of them. Returns `x`.

    Raises:
        RuntimeError: `x` is, or shows memory of, a leaf that requires a gradient, and gradients are being recorded.
        ValueError: the memory is read-only, or several elements share an address, or the result has another shape.
        TypeError: a floating result for an integer tensor.
    """
    _C.check_writable(x, op)
    recorded = is_grad_enabled() and (
        x.requires_grad or any(isinstance(o, _C.Tensor) and o.requires_grad for o in operands)
    )
    if not recorded:
        _C.copy_into(_fit(compute(x, *operands), x, op), x)
        return x
    base = x if x._base is None else x._base
    if base.requires_grad and base._node is None:
        what = "a leaf" if base is x else "a view of a leaf"
        raise RuntimeError(
            f"[{op}] {what} that requires a gradient (shape {base.shape}) cannot be changed in place while gradients "
            "are recorded; use a new tensor, or no_grad() to update a parameter"
        )
    old = _C.alias(x)
    old._node, old._index, old.requires_grad = x._node, x._index, x.requires_grad
    since = _C.next_sequence()
    y = _fit(compute(old, *(old if o is x else o for o in operands)), x, op)
    _C.keep_saved_values(x, y, since)
    _C.copy_into(y, x)
    if not y.requires_grad:  # an integer tensor, or an operation without gradient
        return x
    if base is x:
        x._node, x._index, x.requires_grad = y._node, y._index, True
    else:
        patch = _Patch()
        patch.place = _place_of(x, base)  # type: ignore[attr-defined]
        patch._attach((base, y), (base,))
    base._history += 1
    return x


def assign(x: Tensor, source: Any, op: str) -> Tensor:
    """x[...] = source, broadcast and converted; see `change`."""
    src = source if isinstance(source, _C.Tensor) else tensor(source, x.dtype)
    if is_grad_enabled() and (x.requires_grad or src.requires_grad):
        return change(x, op, _Assign.apply, src, op)
    _C.copy_into(src, x, op)
    return x


def copy_(x: Tensor, source: Any) -> Tensor:
    """Replaces the elements by those of `source`, which is broadcast and converted. Returns the tensor."""
    return assign(x, source, "copy_")


def fill_(x: Tensor, value: float) -> Tensor:
    """Sets all elements to one value."""
    return assign(x, value, "fill_")


def zero_(x: Tensor) -> Tensor:
    """Sets all elements to zero."""
    return assign(x, 0, "zero_")


def _written(kernel: Callable[[Tensor, Any], None], compute: Callable[[Tensor, Any], Tensor], name: str) -> Any:
    """x[...] = compute(x, other): by `kernel`, straight into the memory, where nothing is recorded."""

    def method(self: Any, other: Any) -> Any:
        other = value_of(other)
        if not isinstance(other, (_C.Tensor, int, float)):
            return NotImplemented
        if is_grad_enabled() and (self.requires_grad or (isinstance(other, _C.Tensor) and other.requires_grad)):
            return change(self, name, compute, other)
        kernel(self, other)
        return self

    method.__name__ = name
    return method


def _method(operator: Any, formula: str) -> Any:
    """The named form of an operator, which has nobody else to ask where it does not know the operand."""

    def method(self: Any, other: Any) -> Tensor:
        result = operator(self, other)
        if result is NotImplemented:
            raise TypeError(f"[{operator.__name__}] expected a tensor or a number, got {type(other).__name__}")
        return result

    method.__name__, method.__doc__ = operator.__name__, formula
    return method


class InplaceMethods:
    """Changes of a tensor's own memory; all return the tensor. See `dlcore.ops.inplace` for gradients and views."""

    __slots__ = ()

    copy_ = copy_
    fill_ = fill_
    zero_ = zero_

    __iadd__ = _written(_C.add_, add, "add_")
    __isub__ = _written(_C.sub_, sub, "sub_")
    __imul__ = _written(_C.mul_, mul, "mul_")
    __itruediv__ = _written(_C.div_, div, "div_")
    __ifloordiv__ = _written(_C.floor_divide_, floor_divide, "floor_divide_")
    __imod__ = _written(_C.remainder_, remainder, "remainder_")
    __ipow__ = _written(_C.pow_, pow, "pow_")
    __iand__ = _written(_C.bitwise_and_, bitwise_and, "bitwise_and_")
    __ior__ = _written(_C.bitwise_or_, bitwise_or, "bitwise_or_")
    __ixor__ = _written(_C.bitwise_xor_, bitwise_xor, "bitwise_xor_")

    _add, _sub = _method(__iadd__, "self += other."), _method(__isub__, "self -= other.")
    mul_ = _method(__imul__, "self *= other.")
    div_ = _method(__itruediv__, "self /= other.")
    floor_divide_ = _method(__ifloordiv__, "self //= other.")
    remainder_ = _method(__imod__, "self %= other.")
    pow_ = _method(__ipow__, "self **= other.")

    def add_(self: Any, other: Any, *, alpha: float = 1) -> Tensor:
        """self += alpha * other."""
        return self._add(other if alpha == 1 else other * alpha)

    def sub_(self: Any, other: Any, *, alpha: float = 1) -> Tensor:
        """self -= alpha * other."""
        return self._sub(other if alpha == 1 else other * alpha)

    def clamp_(self: Any, min: Any = None, max: Any = None) -> Tensor:
        """Limits the elements to [min, max]."""
        return change(self, "clamp_", clamp, min, max)
