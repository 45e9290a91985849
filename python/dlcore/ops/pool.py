"""2-D pooling: the largest or the average of windows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dlcore import _C, ops
from dlcore.autograd import Function
from dlcore.ops.conv import pair_of
from dlcore.state import is_grad_enabled

if TYPE_CHECKING:
    from dlcore.tensor import Tensor

__all__ = ["adaptive_avg_pool2d", "avg_pool2d", "max_pool2d"]

Pair = int | tuple[int, int]


class _MaxPool2d(Function):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, windows: tuple[Any, ...]) -> Any:
        y, index = _C.max_pool2d_forward(x, *windows)
        ctx.save(index, shape=x.shape, windows=windows)
        return y, index

    @staticmethod
    def backward(ctx: Any, dy: Tensor, _: Any) -> Any:
        (index,) = ctx.saved
        return _MaxPool2dGradient.apply(dy, index, ctx.shape, ctx.windows), None


class _MaxPool2dGradient(Function):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, dy: Tensor, index: Tensor, shape: tuple[int, ...], windows: tuple[Any, ...]) -> Tensor:
        ctx.save(index)
        return _C.max_pool2d_backward(dy, index, shape, *windows)

    @staticmethod
    def backward(ctx: Any, ddx: Tensor) -> Any:
        (index,) = ctx.saved
        flat = ops.reshape(ddx, (*ddx.shape[:-2], ddx.shape[-2] * ddx.shape[-1]))
        at = ops.reshape(index, (*index.shape[:-2], index.shape[-2] * index.shape[-1]))
        found = ops.gather(flat, -1, ops.where(at < 0, 0, at))  # -1: nothing in the window
        return ops.reshape(ops.where(at < 0, 0.0, found), index.shape), None, None, None


class _AvgPool2d(Function):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, windows: tuple[Any, ...]) -> Tensor:
        ctx.save(shape=x.shape, windows=windows)
        return _C.avg_pool2d_forward(x, *windows)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        return _AvgPool2dGradient.apply(dy, ctx.shape, ctx.windows), None


class _AvgPool2dGradient(Function):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, dy: Tensor, shape: tuple[int, ...], windows: tuple[Any, ...]) -> Tensor:
        ctx.save(windows=windows)
        return _C.avg_pool2d_backward(dy, shape, *windows)

    @staticmethod
    def backward(ctx: Any, ddx: Tensor) -> Any:
        return _AvgPool2d.apply(ddx, ctx.windows), None, None


class _AdaptiveAvgPool2d(Function):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, size: tuple[int, int]) -> Tensor:
        ctx.save(shape=x.shape, size=size)
        return _C.adaptive_avg_pool2d_forward(x, size)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        return _AdaptiveAvgPool2dGradient.apply(dy, ctx.shape, ctx.size), None


class _AdaptiveAvgPool2dGradient(Function):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, dy: Tensor, shape: tuple[int, ...], size: tuple[int, int]) -> Tensor:
        ctx.save(size=size)
        return _C.adaptive_avg_pool2d_backward(dy, shape, size)

    @staticmethod
    def backward(ctx: Any, ddx: Tensor) -> Any:
        return _AdaptiveAvgPool2d.apply(ddx, ctx.size), None, None


def max_pool2d(
    x: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window of each plane; what lies outside the plane does not take part.

    NaN counts as the largest; a window with nothing inside gives -inf and index -1. The gradient goes to the first of
    several equal elements, in row-major order. Twice differentiable.

    Args:
        x: (N, C, H, W) or (C, H, W).
        kernel_size: size of the windows, one number or (rows, columns); so are the other options.
        stride: step between windows; `kernel_size` by default.
        padding: how far windows start outside the plane, at most half of what they span.
        dilation: distance between the elements of a window.
        ceil_mode: round the number of windows up, so that the last ones may end outside the plane and its padding.
        return_indices: return (y, indices), where an index is row * W + column within the plane.

    Returns:
        (N, C, OH, OW) with OH = floor((H + 2 * padding - dilation * (kernel_size - 1) - 1) / stride) + 1, and the int64
        indices of the same shape where asked for.

    Raises:
        ValueError: options that do not fit together, or a window larger than the padded plane.
        TypeError: not a floating dtype.
    """
    op = "max_pool2d"
    kernel = pair_of(kernel_size, "kernel_size", op)
    steps = kernel if stride is None else pair_of(stride, "stride", op)
    windows = (kernel, steps, pair_of(padding, "padding", op), pair_of(dilation, "dilation", op), bool(ceil_mode))
    if not return_indices and not (is_grad_enabled() and getattr(x, "requires_grad", False)):
        return _C.max_pool2d(x, *windows)  # the places take longer than the values
    y, index = _MaxPool2d.apply(x, windows)
    return (y, index) if return_indices else y


def avg_pool2d(
    x: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The average of each window of each plane, with zeros around the plane. Twice differentiable.

    Args:
        x: (N, C, H, W) or (C, H, W).
        kernel_size: size of the windows, one number or (rows, columns); so are stride and padding.
        stride: step between windows; `kernel_size` by default.
        padding: how far windows start outside the plane, at most half the kernel.
        ceil_mode: round the number of windows up, so that the last ones may end outside the plane and its padding.
        count_include_pad: divide by the number of elements including the padding, or by those inside the plane only.
        divisor_override: divide by this number instead.

    Returns:
        (N, C, OH, OW) with OH = floor((H + 2 * padding - kernel_size) / stride) + 1.

    Raises:
        ValueError: options that do not fit together, or a window larger than the padded plane.
        TypeError: not a floating dtype.
    """
    op = "avg_pool2d"
    kernel = pair_of(kernel_size, "kernel_size", op)
    steps = kernel if stride is None else pair_of(stride, "stride", op)
    if divisor_override is not None and (not isinstance(divisor_override, int) or divisor_override == 0):
        raise ValueError(f"[avg_pool2d] divisor_override must be a whole number other than 0, got {divisor_override!r}")
    sides = pair_of(padding, "padding", op)
    return _AvgPool2d.apply(x, (kernel, steps, sides, bool(ceil_mode), bool(count_include_pad), divisor_override or 0))


def adaptive_avg_pool2d(x: Tensor, output_size: int | tuple[int | None, int | None]) -> Tensor:
    """Averages over a grid of OH x OW tiles that cover each plane. Neighbours may share a row or a column.

    Tile i has the rows floor(i * H / OH) up to, not including, ceil((i + 1) * H / OH); columns likewise. Twice
    differentiable.

    Args:
        x: (N, C, H, W) or (C, H, W).
        output_size: OH and OW, one number or (rows, columns); None keeps the size of x.

    Raises:
        ValueError: sizes that are not positive.
        TypeError: not a floating dtype.
    """
    size: Any = output_size
    if isinstance(size, (tuple, list)) and len(size) == 2 and x.ndim >= 2:
        size = tuple(have if want is None else want for want, have in zip(size, x.shape[-2:], strict=True))
    return _AdaptiveAvgPool2d.apply(x, pair_of(size, "output_size", "adaptive_avg_pool2d"))


class PoolMethods:
    __slots__ = ()
