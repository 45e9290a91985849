"""Copies and dtype casts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dlcore import _C
from dlcore.autograd import Function

if TYPE_CHECKING:
    from dlcore.tensor import Tensor

__all__ = ["cast", "clone", "contiguous"]


class _Cast(Function):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, dtype: Any) -> Tensor:
        ctx.dtype = x.dtype
        return _C.cast(x, dtype)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        return cast(dy, ctx.dtype), None


class _Clone(Function):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _C.clone(x)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        return dy


class _ToDevice(Function):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, device: str) -> Tensor:
        ctx.device = x.device
        return _C.to_device(x, device)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        return to_device(dy, ctx.device), None


def to_device(x: Tensor, device: str) -> Tensor:
    """`x` on "cpu" or "cuda"; `x` itself where it lies there. Gradients go back to where `x` is."""
    return x if x.device == device else _ToDevice.apply(x, device)


def cast(x: Tensor, dtype: Any) -> Tensor:
    """`x` with another dtype; `x` itself where nothing changes.

    Floating to integer truncates, saturates at the ends of the range and sends NaN to 0. bfloat16 rounds to
    nearest even.
    Gradients are cast back.
    """
    return x if x.dtype is dtype else _Cast.apply(x, dtype)


def clone(x: Tensor) -> Tensor:
    """A contiguous copy that gradients flow through."""
    return _Clone.apply(x)


def contiguous(x: Tensor) -> Tensor:
    """`x` itself where its elements lie in row-major order without gaps, else a copy that they do in."""
    return x if x.is_contiguous() else clone(x)


class CopyMethods:
    __slots__ = ()

    clone = clone
    contiguous = contiguous

    def float(self: Any) -> Tensor:
        """As float32."""
        return cast(self, _C.float32)

    def double(self: Any) -> Tensor:
        """As float64."""
        return cast(self, _C.float64)

    def bfloat16(self: Any) -> Tensor:
        """As bfloat16."""
        return cast(self, _C.bfloat16)

    def long(self: Any) -> Tensor:
        """As int64."""
        return cast(self, _C.int64)

    def int(self: Any) -> Tensor:
        """As int32."""
        return cast(self, _C.int32)

    def bool(self: Any) -> Tensor:
        """As bool: True where not zero."""
        return cast(self, _C.bool_)
