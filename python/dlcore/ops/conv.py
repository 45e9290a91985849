"""2-D convolution and its transpose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dlcore import _C, ops
from dlcore.amp import lowered
from dlcore.autograd import Function
from dlcore.state import is_grad_enabled

if TYPE_CHECKING:
    from dlcore.tensor import Tensor

__all__ = ["conv2d", "conv_transpose2d"]

# The convolution is linear in x and in w, so its two gradients and their gradients are each other:
#   y = conv2d(x, w)        dx = input_gradient(dy, w)     dw = weight_gradient(dy, x)
#   dx = input_gradient(dy, w)   ddy = conv2d(ddx, w)      dw = weight_gradient(dy, ddx)
#   dw = weight_gradient(dy, x)  ddy = conv2d(x, ddw)      dx = input_gradient(dy, ddw)


class _Options:
    """stride, dilation, groups, and the padding at the (top, bottom, left, right)."""

    __slots__ = ("dilation", "groups", "padding", "stride")

    def __init__(
        self, stride: tuple[int, int], padding: tuple[int, int, int, int], dilation: tuple[int, int], groups: int
    ) -> None:
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups

    @property
    def corner(self) -> tuple[int, int]:
        return self.padding[0], self.padding[2]


class _Conv2d(Function):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, b: Tensor | None, o: _Options) -> Tensor:
        y = _C.conv2d_forward(x, w, b, o.stride, o.padding, o.dilation, o.groups, False, None)
        ctx.save(x, w, options=o)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, w = ctx.saved
        dy = ops.contiguous(dy)  # all three read it as it lies in memory
        need_x, need_w, need_b, _ = ctx.needs_input_grad
        return (
            _Conv2dInputGradient.apply(dy, w, None, x.shape[2:], ctx.options, "conv2d") if need_x else None,
            _Conv2dWeightGradient.apply(dy, x, w.shape[2:], ctx.options) if need_w else None,
            ops.sum(dy, (0, 2, 3)) if need_b else None,
            None,
        )


class _Conv2dInputGradient(Function):
    twice_differentiable = True

    @staticmethod
    def forward(
        ctx: Any, dy: Tensor, w: Tensor, b: Tensor | None, size: tuple[int, int], o: _Options, op: str
    ) -> Tensor:
        dx = _C.conv2d_input_gradient(dy, w, b, size, o.stride, o.corner, o.dilation, o.groups, op)
        ctx.save(dy, w, options=o)
        return dx

    @staticmethod
    def backward(ctx: Any, ddx: Tensor) -> Any:
        dy, w = ctx.saved
        ddx = ops.contiguous(ddx)
        need_dy, need_w, need_b, *_ = ctx.needs_input_grad
        return (
            _Conv2d.apply(ddx, w, None, ctx.options) if need_dy else None,
            _Conv2dWeightGradient.apply(dy, ddx, w.shape[2:], ctx.options) if need_w else None,
            ops.sum(ddx, (0, 2, 3)) if need_b else None,
            None,
            None,
            None,
        )


class _Conv2dWeightGradient(Function):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, dy: Tensor, x: Tensor, size: tuple[int, int], o: _Options) -> Tensor:
        dw = _C.conv2d_weight_gradient(dy, x, size, o.stride, o.corner, o.dilation, o.groups)
        ctx.save(dy, x, options=o)
        return dw

    @staticmethod
    def backward(ctx: Any, ddw: Tensor) -> Any:
        dy, x = ctx.saved
        need_dy, need_x, *_ = ctx.needs_input_grad
        return (
            _Conv2d.apply(x, ddw, None, ctx.options) if need_dy else None,
            _Conv2dInputGradient.apply(dy, ddw, None, x.shape[2:], ctx.options, "conv2d") if need_x else None,
            None,
            None,
        )


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] | str = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
    activation: str | None = None,
    residual: Tensor | None = None,
) -> Tensor:
    """2-D convolution (cross-correlation) of images.

    y[n, o, i, j] = bias[o] + sum over c, p, q of weight[o, c, p, q] * x[n, c, i * stride + p * dilation - padding, ...]

    With a residual and an activation the result is activation(y + residual). Where no gradient is recorded both happen
    as y is stored, without passes of their own.

    Args:
        x: (N, C, H, W), or (C, H, W) for one image.
        weight: (O, C / groups, KH, KW).
        bias: (O,), or None.
        stride: step between the pixels that are computed; one number or (rows, columns).
        padding: zeros around the image, one number or (rows, columns); "valid" is none, "same" keeps H and W (stride 1;
            an odd sum of both sides puts the extra zeros at the bottom and on the right).
        dilation: distance between the kernel's elements; one number or (rows, columns).
        groups: the channels of x and of y are cut into this many groups that do not see each other; C for depthwise.
        activation: "relu", or None.
        residual: of the result's shape, or None.

    Returns:
        (N, O, OH, OW), or without N where x has none, with
        OH = floor((H + 2 * padding - dilation * (KH - 1) - 1) / stride) + 1. Twice differentiable.

    Raises:
        ValueError: shapes, groups or options that do not fit together; a kernel larger than the padded image.
        TypeError: not floating, or not one dtype.
    """
    if x.ndim == 3:
        many = None if residual is None else ops.reshape(residual, (1, *residual.shape))
        one = ops.reshape(x, (1, *x.shape))
        y = conv2d(one, weight, bias, stride, padding, dilation, groups, activation, many)
        return ops.reshape(y, y.shape[1:])
    op = "conv2d"
    if activation not in (None, "relu"):
        raise ValueError(f"[conv2d] activation must be 'relu' or None, got {activation!r}")
    if residual is not None and not isinstance(residual, _C.Tensor):
        raise TypeError(f"[conv2d] expected residual as a Tensor or None, got {type(residual).__name__}")
    x, weight, bias = lowered(x, weight, bias)
    steps, spread = pair_of(stride, "stride", op), pair_of(dilation, "dilation", op)
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise ValueError(f"[conv2d] padding must be 'same', 'valid', a number or a pair, got {padding!r}")
        sides = (0, 0, 0, 0)
        if padding == "same" and weight.ndim == 4:
            if steps != (1, 1):
                raise ValueError(f"[conv2d] padding 'same' needs stride 1, got {steps}; give the padding as numbers")
            (top, bottom), (left, right) = same_padding(weight.shape[2:], spread)
            sides = (top, bottom, left, right)
    else:
        top, left = pair_of(padding, "padding", op)
        sides = (top, top, left, left)
    if activation is not None or residual is not None:
        given = [t for t in (x, weight, bias, residual) if isinstance(t, _C.Tensor)]
        recorded = is_grad_enabled() and any(t.requires_grad for t in given)
        if not recorded and (residual is None or residual.dtype == x.dtype):
            return _C.conv2d_forward(x, weight, bias, steps, sides, spread, groups, activation is not None, residual)
    y = _Conv2d.apply(x, weight, bias, _Options(steps, sides, spread, groups))
    if residual is not None:
        if residual.shape != y.shape:
            raise ValueError(f"[conv2d] expected residual of the output's shape {y.shape}, got {residual.shape}")
        y = y + residual
    return y if activation is None else ops.relu(y)


def conv_transpose2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    output_padding: int | tuple[int, int] = 0,
    groups: int = 1,
    dilation: int | tuple[int, int] = 1,
) -> Tensor:
    """Transposed 2-D convolution: the adjoint of `conv2d` in x. Every pixel of x adds weight * x to a patch of y.

    Args:
        x: (N, C, H, W), or (C, H, W) for one image.
        weight: (C, O / groups, KH, KW).
        bias: (O,), or None.
        stride, padding, dilation, groups: of the convolution whose adjoint this is.
        output_padding: extra rows and columns at the bottom and on the right, less than stride or dilation; chooses
            between the sizes that the convolution would map to H and W.

    Returns:
        (N, O, OH, OW), or without N where x has none, with
        OH = (H - 1) * stride - 2 * padding + dilation * (KH - 1) + output_padding + 1. Twice differentiable.

    Raises:
        ValueError: shapes, groups or options that do not fit together; a result without pixels.
        TypeError: not floating, or not one dtype.
    """
    if x.ndim == 3:
        one = ops.reshape(x, (1, *x.shape))
        y = conv_transpose2d(one, weight, bias, stride, padding, output_padding, groups, dilation)
        return ops.reshape(y, y.shape[1:])
    x, weight, bias = lowered(x, weight, bias)
    op = "conv_transpose2d"
    steps, sides, spread = (
        pair_of(stride, "stride", op),
        pair_of(padding, "padding", op),
        pair_of(dilation, "dilation", op),
    )
    extra = pair_of(output_padding, "output_padding", op)
    size = (0, 0)
    if x.ndim == 4 and weight.ndim == 4:
        size = tuple(
            (n - 1) * s - 2 * p + d * (k - 1) + e + 1
            for n, s, p, d, k, e in zip(x.shape[2:], steps, sides, spread, weight.shape[2:], extra, strict=True)
        )
        if any(not 0 <= e < max(s, d) for e, s, d in zip(extra, steps, spread, strict=True)):
            raise ValueError(
                f"[conv_transpose2d] output_padding must be at least 0 and less than stride or dilation, got {extra} "
                f"with stride {steps} and dilation {spread}"
            )
        if min(size) < 1:
            raise ValueError(
                f"[conv_transpose2d] the result would have {size[0]} rows and {size[1]} columns (x {x.shape}, "
                f"weight {weight.shape}, stride {steps}, padding {sides}, dilation {spread})"
            )
    # The convolution that maps y back to x leaves the extra rows and columns out.
    options = _Options(steps, (sides[0], sides[0] - extra[0], sides[1], sides[1] - extra[1]), spread, groups)
    return _Conv2dInputGradient.apply(x, weight, bias, size, options, op)


def pair_of(value: Any, what: str, op: str) -> tuple[int, int]:
    """One number for both directions, or (rows, columns)."""
    return tuple_of(value, 2, what, op)


def same_padding(kernel: tuple[int, ...], dilation: tuple[int, ...]) -> list[tuple[int, int]]:
    """What "same" adds before and after, for each direction; an odd sum has the extra one after."""
    both = [max(0, d * (k - 1)) for d, k in zip(dilation, kernel, strict=True)]
    return [(b // 2, b - b // 2) for b in both]


def tuple_of(value: Any, n: int, what: str, op: str) -> Any:
    """One number for all n directions, or one for each."""
    numbers = (value,) * n if isinstance(value, int) else tuple(value) if isinstance(value, (tuple, list)) else ()
    if len(numbers) != n or not all(isinstance(v, int) for v in numbers):
        got = repr(value) if isinstance(value, (int, float, tuple, list, str)) else type(value).__name__
        many = {1: "or one in a tuple", 2: "or a pair of numbers", 3: "or three numbers"}[n]
        raise ValueError(f"[{op}] {what} must be a number {many}, got {got}")
    return numbers


class ConvMethods:
    __slots__ = ()
