"""Convolutions of sequences (N, C, L), images (N, C, H, W) and volumes (N, C, D, H, W), or of one without a batch."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from dlcore import _C, ops
from dlcore.nn import init
from dlcore.nn.linear import check_size
from dlcore.nn.module import Module
from dlcore.nn.parameter import Parameter
from dlcore.ops.conv import same_padding, tuple_of
from dlcore.tensor import Tensor

__all__ = ["Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d"]

DIMENSIONS = {1: "L", 2: "H, W", 3: "D, H, W"}
MODES = ("reflect", "replicate", "circular")  # of ops.pad


def check_input(layer: Module, x: Any, n: int, channels: int | None = None) -> None:
    """(N, C, ...) or (C, ...) with n dimensions after the channels."""
    name = type(layer).__name__
    if not isinstance(x, _C.Tensor):
        raise TypeError(f"[{name}] expected a Tensor, got {type(x).__name__}")
    if x.ndim not in (n + 1, n + 2):
        dims = DIMENSIONS[n]
        raise ValueError(f"[{name}] expected (N, C, {dims}) or (C, {dims}), got {x.ndim} dimensions (input {x.shape})")
    if channels is not None and x.shape[-n - 1] != channels:
        raise ValueError(f"[{name}] expected {channels} channels, got {x.shape[-n - 1]} (input {x.shape})")


class _ConvNd(Module):
    """What all have in common: parameters, their beginning, options, printing."""

    _n: ClassVar[int]
    _transposed: ClassVar[bool] = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        groups: int,
        bias: bool,
        padding_mode: str,
        dtype: Any,
    ) -> None:
        name, n = type(self).__name__, self._n
        check_size(self, in_channels=in_channels, out_channels=out_channels, groups=groups)
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"[{name}] in_channels and out_channels must be multiples of groups, got {in_channels}, {out_channels} "
                f"and {groups} groups"
            )
        modes = ("zeros",) if self._transposed else ("zeros", *MODES)
        if padding_mode not in modes:
            raise ValueError(f"[{name}] expected padding_mode of {modes}, got {padding_mode!r}")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.padding_mode = padding_mode
        self.kernel_size = tuple_of(kernel_size, n, "kernel_size", name)
        self.stride, self.dilation = tuple_of(stride, n, "stride", name), tuple_of(dilation, n, "dilation", name)
        if isinstance(padding, str) and (self._transposed or padding not in ("same", "valid")):
            words = "as numbers" if self._transposed else "as numbers, 'same' or 'valid'"
            raise ValueError(f"[{name}] expected padding {words}, got {padding!r}")
        self.padding = padding if isinstance(padding, str) else tuple_of(padding, n, "padding", name)
        if self.padding == "same" and set(self.stride) != {1}:
            raise ValueError(f"[{name}] padding 'same' needs stride 1, got {self.stride}")
        made, seen = (in_channels, out_channels) if self._transposed else (out_channels, in_channels)
        self.weight = Parameter(_C.empty((made, seen // groups, *self.kernel_size), dtype))
        self.bias = Parameter(_C.empty((out_channels,), dtype)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the parameters anew."""
        bound = 1 / math.sqrt(init.fans(self.weight, type(self).__name__)[0])
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def _padded(self, x: Tensor) -> tuple[Tensor, Any]:
        """x and the zeros that are still to be added: padding of another mode happens before the convolution."""
        if self.padding_mode == "zeros":
            return x, self.padding
        if isinstance(self.padding, str):
            sides = same_padding(self.kernel_size, self.dilation) if self.padding == "same" else [(0, 0)] * self._n
        else:
            sides = [(p, p) for p in self.padding]
        return ops.pad(x, [p for pair in reversed(sides) for p in pair], self.padding_mode), 0

    def multiply_adds(self, args: tuple[Any, ...], output: Any) -> int:
        return (args[0] if self._transposed else output).numel() * math.prod(self.weight.shape[1:])

    def extra_repr(self) -> str:
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"]
        parts += [f"padding={self.padding}"] if self.padding != (0,) * self._n else []
        parts += [f"dilation={self.dilation}"] if self.dilation != (1,) * self._n else []
        extra = getattr(self, "output_padding", (0,))
        parts += [f"output_padding={extra}"] if any(extra) else []
        parts += [f"groups={self.groups}"] if self.groups != 1 else []
        parts += ["bias=False"] if self.bias is None else []
        parts += [f"padding_mode={self.padding_mode}"] if self.padding_mode != "zeros" else []
        return ", ".join(parts)


class _Conv(_ConvNd):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        dtype: Any = _C.float32,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, dtype
        )

    def forward(self, x: Tensor) -> Tensor:
        check_input(self, x, self._n, self.in_channels)
        convolve: Any = {1: ops.conv1d, 2: ops.conv2d, 3: ops.conv3d}[self._n]
        x, padding = self._padded(x)
        return convolve(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class Conv2d(_Conv):
    """out[n, k, i, j] = b[k] + Σ_{c, u, v} w[k, c, u, v] · x[n, c, i·s + u·d - p, j·s + v·d - p].

    Args:
        in_channels, out_channels: C and K, both multiples of `groups`.
        kernel_size, stride, padding, dilation: a number for both directions, or two. `padding` may also be "valid"
            (none) or "same" (the output has the input's size; stride 1).
        groups: how many groups of channels are convolved apart from each other.
        bias: whether there is a b.
        padding_mode: what is padded with: "zeros", or "reflect", "replicate" or "circular" as in `functional.pad`.
        dtype: of the parameters.

    Attributes:
        weight: (K, C / groups, kernel height, kernel width), and bias (K,): uniform in ±1/√fan_in.
    """

    _n = 2


class Conv1d(_Conv):
    """out[n, k, i] = b[k] + Σ_{c, u} w[k, c, u] · x[n, c, i·s + u·d - p].

    Args: as in `Conv2d`, with one number, or a tuple of one, for kernel_size, stride, padding and dilation.

    Attributes:
        weight: (K, C / groups, kernel length), and bias (K,): uniform in ±1/√fan_in.
    """

    _n = 1


class Conv3d(_Conv):
    """out[n, k, h, i, j] = b[k] + Σ_{c, r, u, v} w[k, c, r, u, v] · x[n, c, h·s + r·d - p, i·s + u·d - p, …].

    Args: as in `Conv2d`, with one number or three for kernel_size, stride, padding and dilation.

    Attributes:
        weight: (K, C / groups, kernel depth, kernel height, kernel width), and bias (K,): uniform in ±1/√fan_in.
    """

    _n = 3


class _ConvTranspose(_ConvNd):
    _transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        dtype: Any = _C.float32,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, dtype
        )
        self.output_padding = tuple_of(output_padding, self._n, "output_padding", type(self).__name__)

    def forward(self, x: Tensor, output_size: tuple[int, ...] | None = None) -> Tensor:
        check_input(self, x, self._n, self.in_channels)
        extra: Any = self.output_padding if output_size is None else self._extra(x, output_size)
        convolve: Any = ops.conv_transpose1d if self._n == 1 else ops.conv_transpose2d
        return convolve(x, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation)

    def _extra(self, x: Tensor, output_size: tuple[int, ...]) -> tuple[int, ...]:
        """The output_padding that gives the wanted size."""
        options = zip(x.shape[-self._n :], self.stride, self.padding, self.kernel_size, self.dilation, strict=True)
        least = [(m - 1) * s - 2 * p + d * (k - 1) + 1 for m, s, p, k, d in options]
        room = [max(s, d) for s, d in zip(self.stride, self.dilation, strict=True)]
        wanted = tuple(output_size)[-self._n :]
        extra = tuple(w - m for w, m in zip(wanted, least, strict=False))
        if len(extra) != self._n or any(not 0 <= e < r for e, r in zip(extra, room, strict=True)):
            most = tuple(m + r - 1 for m, r in zip(least, room, strict=True))
            raise ValueError(
                f"[{type(self).__name__}] expected output_size between {tuple(least)} and {most}, got {wanted}"
            )
        return extra


class ConvTranspose2d(_ConvTranspose):
    """The adjoint of `Conv2d` in x: every pixel adds weight · x to a patch of the output.

    The output has (H - 1)·s - 2p + d·(kernel - 1) + output_padding + 1 rows, and likewise columns.

    Args:
        in_channels, out_channels: C and K, both multiples of `groups`.
        kernel_size, stride, padding, dilation: of the convolution whose adjoint this is; a number or two.
        output_padding: extra rows and columns at the bottom and on the right, less than stride or dilation.
        groups, bias, dtype: as in `Conv2d`.
        padding_mode: only "zeros".

    Attributes:
        weight: (C, K / groups, kernel height, kernel width), and bias (K,): uniform in ±1/√fan_in, where fan_in is
            K / groups times the kernel's size, as in PyTorch.

    `forward(x, output_size)` chooses the output_padding that gives rows and columns of that size.
    """

    _n = 2


class ConvTranspose1d(_ConvTranspose):
    """The adjoint of `Conv1d` in x.

    Args: as in `ConvTranspose2d`, with one number, or a tuple of one, for kernel_size, stride, padding, dilation and
        output_padding.

    Attributes:
        weight: (C, K / groups, kernel length), and bias (K,).
    """

    _n = 1
