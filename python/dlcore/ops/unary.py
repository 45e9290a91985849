"""Functions of one number: signs, powers, exponentials, trigonometry, rounding, predicates, clamping.

Functions with fractional values turn integers and bools into float32.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dlcore import _C
from dlcore.autograd import Function, shortcut
from dlcore.ops.elementwise import add, div, maximum, minimum, mul, value_of, where

if TYPE_CHECKING:
    from dlcore.tensor import Tensor

__all__ = [
    "abs",
    "bitwise_not",
    "ceil",
    "clamp",
    "cos",
    "erf",
    "exp",
    "expm1",
    "floor",
    "isfinite",
    "isinf",
    "isnan",
    "log",
    "log1p",
    "log2",
    "logical_not",
    "neg",
    "reciprocal",
    "round",
    "rsqrt",
    "sign",
    "sin",
    "sqrt",
    "square",
    "trunc",
]


def expect_tensor(x: Any, op: str) -> None:
    """Raises TypeError for what is not a tensor."""
    if not isinstance(x, _C.Tensor):
        raise TypeError(f"[{op}] expected a tensor, got {type(x).__name__}")


def differentiable(
    of_input: Callable[[Tensor, Tensor], Tensor] | None = None,
    of_output: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Callable[[Callable[[Tensor], Tensor]], Callable[[Tensor], Tensor]]:
    """Makes a function of one tensor, which calls the kernel `_C` has under its name, differentiable.

    Args:
        of_input: (x, dy) -> dx in differentiable functions; x is kept for it.
        of_output: (y, dy) -> dx; y is kept instead. Without either the gradient is zero.
    """

    def decorate(kernel: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def forward(ctx: Any, x: Tensor) -> Tensor:
            y = kernel(x)
            if of_input is not None:
                ctx.save(x)
            elif of_output is not None:
                ctx.save(y)
            return y

        def backward(ctx: Any, dy: Tensor) -> Any:
            slope = of_input or of_output
            return slope(ctx.saved[0], dy) if slope is not None else _C.zeros(dy.shape, dy.dtype, dy.device)

        node = type(
            f"_{kernel.__name__.title()}",
            (Function,),
            {"forward": staticmethod(forward), "backward": staticmethod(backward), "twice_differentiable": True},
        )

        @functools.wraps(kernel)
        def function(x: Tensor) -> Tensor:
            return node.apply(x)  # type: ignore[attr-defined]

        return shortcut(getattr(_C, kernel.__name__), node)(function)

    return decorate


class _Neg(Function):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _C.neg(x)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        return neg(dy)


@shortcut(_C.neg, _Neg)
def neg(x: Tensor) -> Tensor:
    """-x. TypeError for bool tensors."""
    return _Neg.apply(x)


@differentiable(of_input=lambda x, dy: mul(dy, sign(x)))
def abs(x: Tensor) -> Tensor:
    """|x|. Its gradient at 0 is 0."""
    return _C.abs(x)


@differentiable()
def sign(x: Tensor) -> Tensor:
    """-1, 0 or 1; NaN stays. Its gradient is 0."""
    return _C.sign(x)


@shortcut(_C.square)
def square(x: Tensor) -> Tensor:
    """x^2."""
    expect_tensor(x, "square")
    return _Square.apply(x)


class _Square(Function):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save(x)
        return _C.square(x)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        return mul(mul(dy, 2), ctx.saved[0])


@differentiable(of_output=lambda y, dy: mul(dy, y))
def exp(x: Tensor) -> Tensor:
    """e^x."""
    return _C.exp(x)


@differentiable(of_output=lambda y, dy: mul(dy, add(y, 1)))
def expm1(x: Tensor) -> Tensor:
    """e^x - 1, accurate for small x."""
    return _C.expm1(x)


@differentiable(of_input=lambda x, dy: div(dy, x))
def log(x: Tensor) -> Tensor:
    """The natural logarithm; -inf at 0, NaN below."""
    return _C.log(x)


@differentiable(of_input=lambda x, dy: div(dy, add(x, 1)))
def log1p(x: Tensor) -> Tensor:
    """log(1 + x), accurate for small x; -inf at -1, NaN below."""
    return _C.log1p(x)


@differentiable(of_input=lambda x, dy: div(mul(dy, 1 / math.log(2)), x))
def log2(x: Tensor) -> Tensor:
    """The logarithm to base 2; -inf at 0, NaN below."""
    return _C.log2(x)


@differentiable(of_output=lambda y, dy: div(mul(dy, 0.5), y))
def sqrt(x: Tensor) -> Tensor:
    """The square root; NaN for negative x."""
    return _C.sqrt(x)


@differentiable(of_output=lambda y, dy: mul(mul(dy, -0.5), mul(y, mul(y, y))))
def rsqrt(x: Tensor) -> Tensor:
    """1 / sqrt(x)."""
    return _C.rsqrt(x)


@differentiable(of_output=lambda y, dy: neg(mul(dy, mul(y, y))))
def reciprocal(x: Tensor) -> Tensor:
    """1 / x."""
    return _C.reciprocal(x)


@differentiable(of_input=lambda x, dy: mul(dy, mul(exp(neg(square(x))), 2 / math.sqrt(math.pi))))
def erf(x: Tensor) -> Tensor:
    """The error function, 2 / sqrt(pi) times the integral of e^(-t^2) from 0 to x."""
    return _C.erf(x)


@differentiable(of_input=lambda x, dy: mul(dy, cos(x)))
def sin(x: Tensor) -> Tensor:
    """The sine of x in radians; NaN for infinite x."""
    return _C.sin(x)


@differentiable(of_input=lambda x, dy: neg(mul(dy, sin(x))))
def cos(x: Tensor) -> Tensor:
    """The cosine of x in radians; NaN for infinite x."""
    return _C.cos(x)


@differentiable()
def floor(x: Tensor) -> Tensor:
    """The nearest whole number not above x. Its gradient is 0."""
    return _C.floor(x)


@differentiable()
def ceil(x: Tensor) -> Tensor:
    """The nearest whole number not below x. Its gradient is 0."""
    return _C.ceil(x)


@differentiable()
def round(x: Tensor) -> Tensor:
    """The nearest whole number, halves to the even one. Its gradient is 0."""
    return _C.round(x)


@differentiable()
def trunc(x: Tensor) -> Tensor:
    """The whole part of x: rounded towards zero. Its gradient is 0."""
    return _C.trunc(x)


@shortcut(_C.isnan)
def isnan(x: Tensor) -> Tensor:
    """Whether x is NaN, as a bool tensor."""
    return _C.isnan(x)


@shortcut(_C.isinf)
def isinf(x: Tensor) -> Tensor:
    """Whether x is inf or -inf, as a bool tensor."""
    return _C.isinf(x)


@shortcut(_C.isfinite)
def isfinite(x: Tensor) -> Tensor:
    """Whether x is neither infinite nor NaN, as a bool tensor."""
    return _C.isfinite(x)


class _Clamp(Function):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float) -> Tensor:
        ctx.save(x, low=low, high=high)
        return _C.clamp(x, low, high)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (x,) = ctx.saved
        inside = _C.bitwise_and(_C.ge(x, ctx.low), _C.le(x, ctx.high))
        return where(inside, dy, 0.0), None, None


def clamp(x: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """x held between `min` and `max`, numbers or tensors; one of them may be None. NaN stays; `max` wins over `min`.

    The gradient is 0 where x is held.

    Raises:
        ValueError: neither bound is given.
    """
    if min is None and max is None:
        raise ValueError("[clamp] expected min, max or both")
    expect_tensor(x, "clamp")
    min, max = value_of(min), value_of(max)
    if x.dtype.is_floating_point and not isinstance(min, _C.Tensor) and not isinstance(max, _C.Tensor):
        return _Clamp.apply(x, -math.inf if min is None else min, math.inf if max is None else max)
    if min is not None:
        x = maximum(x, min)
    return x if max is None else minimum(x, max)


def bitwise_not(x: Tensor) -> Tensor:
    """~x, of an integer or bool tensor."""
    expect_tensor(x, "bitwise_not")
    return _C.eq(x, False) if x.dtype is _C.bool_ else _C.bitwise_not(x)


def logical_not(x: Tensor) -> Tensor:
    """Whether x is zero."""
    expect_tensor(x, "logical_not")
    return _C.eq(x, False if x.dtype is _C.bool_ else 0)


class UnaryMethods:
    __slots__ = ()

    __neg__, __abs__, __invert__ = neg, abs, bitwise_not

    neg, abs, sign, square, reciprocal = neg, abs, sign, square, reciprocal
    exp, expm1, log, log1p, log2, sqrt, rsqrt, erf, sin, cos = exp, expm1, log, log1p, log2, sqrt, rsqrt, erf, sin, cos
    floor, ceil, round, trunc, clamp = floor, ceil, round, trunc, clamp
    isnan, isinf, isfinite, logical_not = isnan, isinf, isfinite, logical_not
