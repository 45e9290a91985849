"""Activations. Those of transformers have fused forward and backward kernels; all of them differentiate twice."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dlcore import _C
from dlcore.autograd import Function, shortcut
from dlcore.ops.elementwise import add, gt, maximum, mul, sub, where
from dlcore.ops.unary import differentiable, exp, expect_tensor, neg, square

if TYPE_CHECKING:
    from dlcore.tensor import Tensor

__all__ = ["elu", "gelu", "leaky_relu", "relu", "sigmoid", "silu", "softplus", "tanh"]


class _ReluBackward(Function):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, y: Tensor, dy: Tensor) -> Tensor:
        ctx.save(y)
        return _C.relu_backward(y, dy)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return None, relu_backward(ctx.saved[0], g)


class _TanhBackward(Function):
    """dx = dy (1 - y^2)"""

    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, y: Tensor, dy: Tensor) -> Tensor:
        ctx.save(y, dy)
        return _C.tanh_backward(y, dy)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        y, dy = ctx.saved
        return mul(mul(g, dy), mul(y, -2)), tanh_backward(y, g)


class _SigmoidBackward(Function):
    """dx = dy y (1 - y)"""

    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, y: Tensor, dy: Tensor) -> Tensor:
        ctx.save(y, dy)
        return _C.sigmoid_backward(y, dy)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        y, dy = ctx.saved
        return mul(mul(g, dy), sub(1, mul(y, 2))), sigmoid_backward(y, g)


class _GeluBackward(Function):
    """dx = dy (P(Z <= x) + x p(x)) for a standard normal Z with density p"""

    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, dy: Tensor) -> Tensor:
        ctx.save(x, dy)
        return _C.gelu_backward(x, dy)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, dy = ctx.saved
        density = mul(exp(mul(square(x), -0.5)), 1 / math.sqrt(2 * math.pi))
        return mul(mul(g, dy), mul(density, sub(2, square(x)))), gelu_backward(x, g)


class _GeluTanhBackward(Function):
    """dx = dy (s + x s (1 - s) v') for s = sigmoid(v), v = 2 sqrt(2/pi) (x + 0.044715 x^3)"""

    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, dy: Tensor) -> Tensor:
        ctx.save(x, dy)
        return _C.gelu_tanh_backward(x, dy)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, dy = ctx.saved
        c, x2 = 2 * math.sqrt(2 / math.pi), square(x)
        v = mul(x, add(mul(x2, 0.044715 * c), c))
        v1, v2 = add(mul(x2, 3 * 0.044715 * c), c), mul(x, 6 * 0.044715 * c)
        s, rest = sigmoid(v), sigmoid(neg(v))
        s1 = mul(s, rest)
        bend = mul(s1, add(mul(x, mul(sub(rest, s), square(v1))), add(mul(v1, 2), mul(x, v2))))
        return mul(mul(g, dy), bend), gelu_tanh_backward(x, g)


class _SiluBackward(Function):
    """dx = dy s (1 + x (1 - s)) for s = sigmoid(x)"""

    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, dy: Tensor) -> Tensor:
        ctx.save(x, dy)
        return _C.silu_backward(x, dy)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, dy = ctx.saved
        s, rest = sigmoid(x), sigmoid(neg(x))
        bend = mul(mul(s, rest), add(mul(x, sub(rest, s)), 2))
        return mul(mul(g, dy), bend), silu_backward(x, g)


def _gradient(native: Callable[[Tensor, Tensor], Tensor], node: type[Function]) -> Callable[[Tensor, Tensor], Tensor]:
    return shortcut(native, node, arity=2)(node.apply)


relu_backward = _gradient(_C.relu_backward, _ReluBackward)
tanh_backward = _gradient(_C.tanh_backward, _TanhBackward)
sigmoid_backward = _gradient(_C.sigmoid_backward, _SigmoidBackward)
gelu_backward = _gradient(_C.gelu_backward, _GeluBackward)
gelu_tanh_backward = _gradient(_C.gelu_tanh_backward, _GeluTanhBackward)
silu_backward = _gradient(_C.silu_backward, _SiluBackward)

_gelu = differentiable(of_input=gelu_backward)(_C.gelu)
_gelu_tanh = differentiable(of_input=gelu_tanh_backward)(_C.gelu_tanh)


class _Relu(Function):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = _C.relu(x)
        ctx.save(y)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        return relu_backward(ctx.saved[0], dy)


@shortcut(_C.relu, _Relu)
def relu(x: Tensor) -> Tensor:
    """max(x, 0). Its gradient at 0 is 0."""
    expect_tensor(x, "relu")
    return _Relu.apply(x) if x.dtype.is_floating_point else maximum(x, 0)


@shortcut(_C.gelu)
def gelu(x: Tensor, approximate: str = "none") -> Tensor:
    """x P(Z <= x) for a standard normal Z; with `approximate="tanh"` x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2.

    Raises:
        ValueError: another `approximate`.

    Hendrycks & Gimpel, Gaussian Error Linear Units, 2016.
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f"[gelu] approximate must be 'none' or 'tanh', got {approximate!r}")
    return _gelu(x) if approximate == "none" else _gelu_tanh(x)


@differentiable(of_input=silu_backward)
def silu(x: Tensor) -> Tensor:
    """x sigmoid(x), also called swish. Elfwing et al., 2017."""
    return _C.silu(x)


@differentiable(of_output=tanh_backward)
def tanh(x: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return _C.tanh(x)


@differentiable(of_output=sigmoid_backward)
def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + e^-x)."""
    return _C.sigmoid(x)


@differentiable(of_input=lambda x, dy: mul(dy, sigmoid(x)))
def softplus(x: Tensor) -> Tensor:
    """log(1 + e^x), without overflow."""
    return _C.softplus(x)


class _LeakyRelu(Function):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: float) -> Tensor:
        ctx.save(x, slope=slope)
        return _C.leaky_relu(x, slope)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        return where(gt(ctx.saved[0], 0), dy, mul(dy, ctx.slope)), None


def leaky_relu(x: Tensor, negative_slope: float = 0.01) -> Tensor:
    """x where it is positive, else `negative_slope` x."""
    return _LeakyRelu.apply(x, negative_slope)


class _Elu(Function):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, alpha: float) -> Tensor:
        ctx.save(x, alpha=alpha)
        return _C.elu(x, alpha)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (x,) = ctx.saved
        # e^x only where it is used: an overflow beyond would be inf times the zero of the other branch.
        return where(gt(x, 0), dy, mul(dy, mul(exp(where(gt(x, 0), 0.0, x)), ctx.alpha))), None


def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """x where it is positive, else alpha (e^x - 1). Clevert et al., 2015."""
    return _Elu.apply(x, alpha)


class ActivationMethods:
    __slots__ = ()

    relu, sigmoid, tanh = relu, sigmoid, tanh
