"""Pooling of sequences (N, C, L), images (N, C, H, W) and volumes (N, C, D, H, W), or of one without a batch."""

from __future__ import annotations

from typing import Any, ClassVar

from dlcore import ops
from dlcore.nn.conv import check_input
from dlcore.nn.module import Module
from dlcore.tensor import Tensor

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
]


class _MaxPool(Module):
    _n: ClassVar[int]

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        if return_indices and self._n == 3:
            raise ValueError("[MaxPool3d] indices are not available, got return_indices=True")
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation = padding, dilation
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def forward(self, x: Tensor) -> Any:
        check_input(self, x, self._n)
        options = (self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)
        if self._n == 3:
            return ops.max_pool3d(x, *options)
        return (ops.max_pool1d if self._n == 1 else ops.max_pool2d)(x, *options, self.return_indices)

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, dilation={self.dilation}, "
            f"ceil_mode={self.ceil_mode}"
        )


class MaxPool2d(_MaxPool):
    """The largest element of each window. `stride` is `kernel_size` by default; padding never wins.

    Args: as in `functional.max_pool2d`; with `return_indices` the output is a pair.
    """

    _n = 2


class MaxPool1d(_MaxPool):
    """The largest element of each window of a sequence; see `MaxPool2d`."""

    _n = 1


class MaxPool3d(_MaxPool):
    """The largest element of each window of a volume; see `MaxPool2d`. There are no indices.

    Raises:
        ValueError: `return_indices`.
    """

    _n = 3


class AvgPool2d(Module):
    """The mean of each window, with padding counted as zeros unless `count_include_pad` is False.

    Args: as in `functional.avg_pool2d`.
    """

    _n: ClassVar[int] = 2

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.ceil_mode, self.count_include_pad = padding, ceil_mode, count_include_pad
        self.divisor_override = divisor_override

    def forward(self, x: Tensor) -> Tensor:
        check_input(self, x, self._n)
        options = (self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)
        if self._n == 1:
            return ops.avg_pool1d(x, *options)
        return (ops.avg_pool2d if self._n == 2 else ops.avg_pool3d)(x, *options, self.divisor_override)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool1d(AvgPool2d):
    """The mean of each window of a sequence; see `AvgPool2d`."""

    _n = 1

    def __init__(
        self,
        kernel_size: int | tuple[int],
        stride: int | tuple[int] | None = None,
        padding: int | tuple[int] = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        kernel, step, side = (
            (v,) if isinstance(v, int) else v for v in (kernel_size, kernel_size if stride is None else stride, padding)
        )
        super().__init__(kernel, step, side, ceil_mode, count_include_pad)


class AvgPool3d(AvgPool2d):
    """The mean of each window of a volume; see `AvgPool2d`."""

    _n = 3


class _AdaptivePool(Module):
    _n: ClassVar[int]
    _pool: ClassVar[Any]

    def __init__(self, output_size: Any) -> None:
        self.output_size = output_size

    def forward(self, x: Tensor) -> Tensor:
        check_input(self, x, self._n)
        return type(self)._pool(x, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool2d(_AdaptivePool):
    """Means over windows chosen so that the output has the size `output_size`; (1, 1) is the global mean."""

    _n, _pool = 2, ops.adaptive_avg_pool2d


class AdaptiveAvgPool1d(_AdaptivePool):
    """Means over windows of a sequence chosen so that the output has the length `output_size`; 1 is the global mean."""

    _n, _pool = 1, ops.adaptive_avg_pool1d


class AdaptiveAvgPool3d(_AdaptivePool):
    """Means over windows of a volume chosen so that the output has the size `output_size`; 1 is the global mean."""

    _n, _pool = 3, ops.adaptive_avg_pool3d


class AdaptiveMaxPool2d(_AdaptivePool):
    """The largest of windows chosen so that the output has the size `output_size`; (1, 1) is the global maximum."""

    _n, _pool = 2, ops.adaptive_max_pool2d


class AdaptiveMaxPool1d(_AdaptivePool):
    """The largest of windows of a sequence, chosen so that the output has the length `output_size`."""

    _n, _pool = 1, ops.adaptive_max_pool1d


class AdaptiveMaxPool3d(_AdaptivePool):
    """The largest of windows of a volume, chosen so that the output has the size `output_size`."""

    _n, _pool = 3, ops.adaptive_max_pool3d
