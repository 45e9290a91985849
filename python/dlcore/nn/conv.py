"""Convolution and pooling over images (N, C, H, W), or (C, H, W) without a batch."""

from __future__ import annotations

import math
from typing import Any

from dlcore import _C, ops
from dlcore.nn import init
from dlcore.nn.linear import check_size
from dlcore.nn.module import Module
from dlcore.nn.parameter import Parameter
from dlcore.tensor import Tensor

__all__ = ["AdaptiveAvgPool2d", "AvgPool2d", "Conv2d", "MaxPool2d"]

Pair = tuple[int, int]


def pair(value: Any) -> Any:
    """(v, v) for a number, otherwise the value."""
    return (value, value) if isinstance(value, int) else tuple(value)


def _check_image(layer: Module, x: Any, channels: int | None = None) -> None:
    name = type(layer).__name__
    if not isinstance(x, _C.Tensor):
        raise TypeError(f"[{name}] expected a Tensor, got {type(x).__name__}")
    if x.ndim not in (3, 4):
        raise ValueError(f"[{name}] expected (N, C, H, W) or (C, H, W), got {x.ndim} dimensions (input {x.shape})")
    if channels is not None and x.shape[-3] != channels:
        raise ValueError(f"[{name}] expected {channels} channels, got {x.shape[-3]} (input {x.shape})")


class Conv2d(Module):
    """out[n, k, i, j] = b[k] + Σ_{c, u, v} w[k, c, u, v] · x[n, c, i·s + u·d - p, j·s + v·d - p].

    Args:
        in_channels, out_channels: C and K, both multiples of `groups`.
        kernel_size, stride, padding, dilation: a number for both directions, or two. `padding` may also be "valid"
            (none) or "same" (the output has the input's size; stride 1).
        groups: how many groups of channels are convolved apart from each other.
        bias: whether there is a b.
        padding_mode: only "zeros".
        dtype: of the parameters.

    Attributes:
        weight: (K, C / groups, kernel height, kernel width), and bias (K,): uniform in ±1/√fan_in.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair | str = 0,
        dilation: int | Pair = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        dtype: Any = _C.float32,
    ) -> None:
        check_size(self, in_channels=in_channels, out_channels=out_channels, groups=groups)
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"[Conv2d] in_channels and out_channels must be multiples of groups, got {in_channels}, {out_channels} "
                f"and {groups} groups"
            )
        if padding_mode != "zeros":
            raise ValueError(f"[Conv2d] only padding_mode 'zeros' exists, got {padding_mode!r}")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride, self.dilation = pair(kernel_size), pair(stride), pair(dilation)
        self.padding = padding if isinstance(padding, str) else pair(padding)
        if self.padding == "same" and self.stride != (1, 1):
            raise ValueError(f"[Conv2d] padding 'same' needs stride 1, got {self.stride}")
        if isinstance(padding, str) and padding not in ("same", "valid"):
            raise ValueError(f"[Conv2d] expected padding as numbers, 'same' or 'valid', got {padding!r}")
        self.weight = Parameter(_C.empty((out_channels, in_channels // groups, *self.kernel_size), dtype))
        self.bias = Parameter(_C.empty((out_channels,), dtype)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the parameters anew."""
        bound = 1 / math.sqrt(init.fans(self.weight, "Conv2d")[0])
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        _check_image(self, x, self.in_channels)
        batch = x if x.ndim == 4 else x.unsqueeze(0)
        y = ops.conv2d(batch, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)
        return y if x.ndim == 4 else y.squeeze(0)

    def multiply_adds(self, args: tuple[Any, ...], output: Any) -> int:
        return output.numel() * math.prod(self.weight.shape[1:])

    def extra_repr(self) -> str:
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"]
        parts += [f"padding={self.padding}"] if self.padding != (0, 0) else []
        parts += [f"dilation={self.dilation}"] if self.dilation != (1, 1) else []
        parts += [f"groups={self.groups}"] if self.groups != 1 else []
        parts += ["bias=False"] if self.bias is None else []
        return ", ".join(parts)


class MaxPool2d(Module):
    """The largest element of each window. `stride` is `kernel_size` by default; padding never wins."""

    def __init__(
        self,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
        dilation: int | Pair = 1,
        ceil_mode: bool = False,
    ) -> None:
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation, self.ceil_mode = padding, dilation, ceil_mode

    def forward(self, x: Tensor) -> Tensor:
        _check_image(self, x)
        return ops.max_pool2d(x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, dilation={self.dilation}, "
            f"ceil_mode={self.ceil_mode}"
        )


class AvgPool2d(Module):
    """The mean of each window, with padding counted as zeros unless `count_include_pad` is False."""

    def __init__(
        self,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.ceil_mode, self.count_include_pad = padding, ceil_mode, count_include_pad

    def forward(self, x: Tensor) -> Tensor:
        _check_image(self, x)
        return ops.avg_pool2d(x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AdaptiveAvgPool2d(Module):
    """Means over windows chosen so that the output has the size `output_size`; (1, 1) is the global mean."""

    def __init__(self, output_size: Any) -> None:
        self.output_size = output_size

    def forward(self, x: Tensor) -> Tensor:
        _check_image(self, x)
        return ops.adaptive_avg_pool2d(x, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"
