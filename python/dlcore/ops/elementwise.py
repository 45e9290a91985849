"""Arithmetic, comparisons, logic and selection with broadcasting, and the operators of Tensor.

Dtypes of two tensors meet at the higher of bool < uint8 < int32 < int64 < bfloat16 < float32 < float64. Python numbers
are weak: `x + 2.5` keeps a floating dtype and makes integers float32, `x + 1` keeps any numeric dtype. Functions with
fractional values (exp, sqrt, /, …) turn integers into float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from dlcore import _C, ops
from dlcore.autograd import Function, shortcut

if TYPE_CHECKING:
    from dlcore.tensor import Tensor

__all__ = [
    "add",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "div",
    "eq",
    "floor_divide",
    "ge",
    "gt",
    "le",
    "logical_and",
    "logical_or",
    "logical_xor",
    "lt",
    "maximum",
    "minimum",
    "mul",
    "ne",
    "pow",
    "remainder",
    "sub",
    "where",
]


def value_of(x: Any) -> Any:
    """What `_C` takes: tensors and Python numbers as they are, NumPy values as their counterparts."""
    if isinstance(x, np.generic):
        return x.item()
    return ops.asarray(x) if isinstance(x, np.ndarray) else x


def _is_floating(x: Any) -> bool:
    return isinstance(x, _C.Tensor) and x.dtype.is_floating_point


class _Binary(Function):
    """Of two operands. Each gradient is computed only where it is needed; broadcasting is undone by the engine."""

    twice_differentiable = True

    def back(self, da: Callable[[], Tensor], db: Callable[[], Tensor]) -> Any:
        need_a, need_b = self.needs_input_grad
        return da() if need_a else None, db() if need_b else None


class _Add(_Binary):
    @staticmethod
    def forward(ctx: Any, a: Any, b: Any) -> Tensor:
        return _C.add(a, b)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        return dy, dy


class _Sub(_Binary):
    @staticmethod
    def forward(ctx: Any, a: Any, b: Any) -> Tensor:
        return _C.sub(a, b)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        return dy, ops.neg(dy) if ctx.needs_input_grad[1] else None


class _Mul(_Binary):
    @staticmethod
    def forward(ctx: Any, a: Any, b: Any) -> Tensor:
        need_a, need_b = ctx.needs_input_grad
        ctx.save(a if need_b else None, b if need_a else None)
        return _C.mul(a, b)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        a, b = ctx.saved
        return None if b is None else mul(dy, b), None if a is None else mul(dy, a)


class _Div(_Binary):
    @staticmethod
    def forward(ctx: Any, a: Any, b: Any) -> Tensor:
        ctx.save(a if ctx.needs_input_grad[1] else None, b)
        return _C.div(a, b)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        a, b = ctx.saved
        return ctx.back(lambda: div(dy, b), lambda: ops.neg(mul(dy, div(div(a, b), b))))


class _Remainder(_Binary):
    @staticmethod
    def forward(ctx: Any, a: Any, b: Any) -> Tensor:
        need_b = ctx.needs_input_grad[1]
        ctx.save(a if need_b else None, b if need_b else None)
        return _C.remainder(a, b)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        a, b = ctx.saved
        return ctx.back(lambda: dy, lambda: ops.neg(mul(dy, floor_divide(a, b))))


class _Pow(_Binary):
    @staticmethod
    def forward(ctx: Any, a: Any, b: Any) -> Tensor:
        ctx.save(a, b)
        return _C.pow(a, b)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        a, b = ctx.saved

        def da() -> Tensor:
            if not isinstance(b, _C.Tensor):
                return mul(dy, mul(pow(a, b - 1), b)) if b != 0 else mul(dy, _C.zeros(a.shape, dy.dtype, dy.device))
            # b a^(b-1) is 0 for b = 0 even where a^(b-1) is infinite.
            return mul(dy, where(eq(b, 0), 0.0, mul(b, pow(a, where(eq(b, 0), 1.0, sub(b, 1))))))

        def db() -> Tensor:
            # a^b log a goes to 0 with a, for b >= 0.
            if not isinstance(a, _C.Tensor):
                return mul(dy, mul(pow(a, b), math.log(a) if a > 0 else 0.0 if a == 0 else math.nan))
            return mul(dy, mul(pow(a, b), ops.log(where(logical_and(eq(a, 0), ge(b, 0)), 1.0, a))))

        return ctx.back(da, db)


class _Extremum(_Binary):
    """Where the operands are equal, each gets half of the gradient."""

    larger: bool

    @classmethod
    def share(cls, first: Any, second: Any, dy: Tensor) -> Tensor:
        wins = gt(first, second) if cls.larger else lt(first, second)
        return where(wins, dy, where(eq(first, second), mul(dy, 0.5), 0.0))

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        a, b = ctx.saved
        return ctx.back(lambda: ctx.share(a, b, dy), lambda: ctx.share(b, a, dy))


class _Maximum(_Extremum):
    larger = True

    @staticmethod
    def forward(ctx: Any, a: Any, b: Any) -> Tensor:
        ctx.save(a, b)
        return _C.maximum(a, b)


class _Minimum(_Extremum):
    larger = False

    @staticmethod
    def forward(ctx: Any, a: Any, b: Any) -> Tensor:
        ctx.save(a, b)
        return _C.minimum(a, b)


class _Where(Function):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, condition: Tensor, a: Any, b: Any) -> Tensor:
        ctx.save(condition)
        return _C.where(condition, a, b)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (condition,) = ctx.saved
        _, need_a, need_b = ctx.needs_input_grad
        return None, where(condition, dy, 0.0) if need_a else None, where(condition, 0.0, dy) if need_b else None


@shortcut(_C.add, _Add)
def add(a: Any, b: Any) -> Tensor:
    """a + b; the logical or of bool tensors."""
    return _Add.apply(value_of(a), value_of(b))


@shortcut(_C.sub, _Sub)
def sub(a: Any, b: Any) -> Tensor:
    """a - b. TypeError for bool tensors."""
    return _Sub.apply(value_of(a), value_of(b))


@shortcut(_C.mul, _Mul)
def mul(a: Any, b: Any) -> Tensor:
    """a b; the logical and of bool tensors."""
    return _Mul.apply(value_of(a), value_of(b))


@shortcut(_C.div, _Div)
def div(a: Any, b: Any) -> Tensor:
    """a / b; float32 for integers."""
    return _Div.apply(value_of(a), value_of(b))


@shortcut(_C.floor_divide)
def floor_divide(a: Any, b: Any) -> Tensor:
    """a / b rounded down, as Python's `//`. No gradient flows.

    Raises:
        ZeroDivisionError: integers, and a divisor is 0. (Floating division by zero gives inf or NaN.)
    """
    return _C.floor_divide(value_of(a), value_of(b))


@shortcut(_C.remainder, _Remainder)
def remainder(a: Any, b: Any) -> Tensor:
    """a - b floor(a / b), with the sign of b, as Python's `%`.

    Raises:
        ZeroDivisionError: integers, and a divisor is 0. (A floating remainder by zero is NaN.)
    """
    return _Remainder.apply(value_of(a), value_of(b))


def pow(a: Any, b: Any) -> Tensor:
    """a to the power b. Special values as in C: a^0 = 1^b = 1; a negative base to a fraction is NaN.

    Raises:
        ValueError: integers to a negative power.
    """
    a, b = value_of(a), value_of(b)
    if isinstance(b, (int, float)) and b in (2, -1) and _is_floating(a):
        return ops.square(a) if b == 2 else ops.reciprocal(a)
    return _Pow.apply(a, b)


@shortcut(_C.maximum, _Maximum)
def maximum(a: Any, b: Any) -> Tensor:
    """The larger of each pair; NaN where either is NaN."""
    return _Maximum.apply(value_of(a), value_of(b))


@shortcut(_C.minimum, _Minimum)
def minimum(a: Any, b: Any) -> Tensor:
    """The smaller of each pair; NaN where either is NaN."""
    return _Minimum.apply(value_of(a), value_of(b))


@shortcut(_C.where, _Where, arity=3)
def where(condition: Tensor, a: Any = None, b: Any = None) -> Any:
    """`a` where the bool tensor `condition` is True, else `b`; all three broadcast.

    With the condition alone: the indices where it is not zero, one vector per dimension, as `nonzero(as_tuple=True)`.

    Raises:
        TypeError: the condition is not bool, or only one of `a` and `b` is given.
    """
    if a is None and b is None:
        return ops.nonzero(condition, as_tuple=True)
    if a is None or b is None:
        raise TypeError("[where] expected both a and b, or neither")
    return _Where.apply(value_of(condition), value_of(a), value_of(b))


@shortcut(_C.eq)
def eq(a: Any, b: Any) -> Tensor:
    """a == b, a bool tensor; False for NaN."""
    return _C.eq(value_of(a), value_of(b))


@shortcut(_C.ne)
def ne(a: Any, b: Any) -> Tensor:
    """a != b, a bool tensor; True for NaN."""
    return _C.ne(value_of(a), value_of(b))


@shortcut(_C.lt)
def lt(a: Any, b: Any) -> Tensor:
    """a < b, a bool tensor; False for NaN."""
    return _C.lt(value_of(a), value_of(b))


@shortcut(_C.le)
def le(a: Any, b: Any) -> Tensor:
    """a <= b, a bool tensor; False for NaN."""
    return _C.le(value_of(a), value_of(b))


@shortcut(_C.gt)
def gt(a: Any, b: Any) -> Tensor:
    """a > b, a bool tensor; False for NaN."""
    return _C.gt(value_of(a), value_of(b))


@shortcut(_C.ge)
def ge(a: Any, b: Any) -> Tensor:
    """a >= b, a bool tensor; False for NaN."""
    return _C.ge(value_of(a), value_of(b))


@shortcut(_C.bitwise_and)
def bitwise_and(a: Any, b: Any) -> Tensor:
    """a & b, of integer or bool tensors."""
    return _C.bitwise_and(value_of(a), value_of(b))


@shortcut(_C.bitwise_or)
def bitwise_or(a: Any, b: Any) -> Tensor:
    """a | b, of integer or bool tensors."""
    return _C.bitwise_or(value_of(a), value_of(b))


@shortcut(_C.bitwise_xor)
def bitwise_xor(a: Any, b: Any) -> Tensor:
    """a ^ b, of integer or bool tensors."""
    return _C.bitwise_xor(value_of(a), value_of(b))


@shortcut(_C.logical_and)
def logical_and(a: Any, b: Any) -> Tensor:
    """Whether both are not zero."""
    return _C.logical_and(value_of(a), value_of(b))


@shortcut(_C.logical_or)
def logical_or(a: Any, b: Any) -> Tensor:
    """Whether one of the two is not zero."""
    return _C.logical_or(value_of(a), value_of(b))


@shortcut(_C.logical_xor)
def logical_xor(a: Any, b: Any) -> Tensor:
    """Whether exactly one of the two is not zero."""
    return _C.logical_xor(value_of(a), value_of(b))


# Operators and methods.

_NODES: dict[Any, type[Function]] = {add: _Add, sub: _Sub, mul: _Mul, div: _Div, remainder: _Remainder}
_OPERANDS = (_C.Tensor, int, float, np.generic, np.ndarray)


def _operator(function: Callable[[Any, Any], Tensor]) -> Any:
    def method(self: Any, other: Any) -> Any:
        return function(self, other) if isinstance(other, _OPERANDS) else NotImplemented

    native, node = getattr(_C, function.__name__), _NODES.get(function)
    return method if function is pow else shortcut(native, node)(method)


def _reflected(function: Callable[[Any, Any], Tensor]) -> Any:
    def method(self: Any, other: Any) -> Any:
        return function(other, self) if isinstance(other, _OPERANDS) else NotImplemented

    return method


class ElementwiseMethods:
    __slots__ = ()

    __array_priority__ = 1000  # array + tensor is a tensor
    __hash__ = object.__hash__

    __add__, __radd__ = _operator(add), _reflected(add)
    __sub__, __rsub__ = _operator(sub), _reflected(sub)
    __mul__, __rmul__ = _operator(mul), _reflected(mul)
    __truediv__, __rtruediv__ = _operator(div), _reflected(div)
    __floordiv__, __rfloordiv__ = _operator(floor_divide), _reflected(floor_divide)
    __mod__, __rmod__ = _operator(remainder), _reflected(remainder)
    __pow__, __rpow__ = _operator(pow), _reflected(pow)
    __and__, __rand__ = _operator(bitwise_and), _reflected(bitwise_and)
    __or__, __ror__ = _operator(bitwise_or), _reflected(bitwise_or)
    __xor__, __rxor__ = _operator(bitwise_xor), _reflected(bitwise_xor)
    __eq__, __ne__, __lt__ = _operator(eq), _operator(ne), _operator(lt)
    __le__, __gt__, __ge__ = _operator(le), _operator(gt), _operator(ge)

    add, sub, mul, div, floor_divide, remainder, pow = add, sub, mul, div, floor_divide, remainder, pow
    maximum, minimum = maximum, minimum
    eq, ne, lt, le, gt, ge = eq, ne, lt, le, gt, ge
    logical_and, logical_or, logical_xor = logical_and, logical_or, logical_xor

    def where(self: Any, condition: Tensor, other: Any) -> Tensor:
        """The tensor where `condition` holds, else `other`."""
        return where(condition, self, other)
