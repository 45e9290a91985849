"""LayerNorm, RMSNorm, GroupNorm, BatchNorm and Dropout."""

from __future__ import annotations

from typing import Any

from dlcore import _C, ops
from dlcore.nn import init
from dlcore.nn.linear import check_size
from dlcore.nn.module import Module
from dlcore.nn.parameter import Parameter
from dlcore.ops.norm import sizes_of
from dlcore.tensor import Tensor

__all__ = ["BatchNorm1d", "BatchNorm2d", "Dropout", "GroupNorm", "LayerNorm", "RMSNorm"]


def _sizes(layer: Module, normalized_shape: int | tuple[int, ...]) -> tuple[int, ...]:
    shape = sizes_of(normalized_shape)
    if not shape or min(shape) < 1:
        name = type(layer).__name__
        raise ValueError(f"[{name}] expected sizes of at least 1, got normalized_shape {normalized_shape}")
    return shape


def _check_last(layer: Module, x: Any, shape: tuple[int, ...]) -> None:
    name = type(layer).__name__
    if not isinstance(x, _C.Tensor):
        raise TypeError(f"[{name}] expected a Tensor, got {type(x).__name__}")
    if x.shape[-len(shape) :] != shape:
        if len(shape) == 1:
            got = x.shape[-1] if x.ndim else "a single number"
            text = f"expected last dimension {shape[0]}, got {got}"
        else:
            text = f"expected last dimensions {shape}, got {x.shape[-len(shape) :]}"
        raise ValueError(f"[{name}] {text} (input {x.shape})")


class LayerNorm(Module):
    """(x - mean) / √(variance + eps) · weight + bias over the last dimensions.

    Args:
        normalized_shape: the size of the last dimension, or the sizes of the last dimensions.
        eps: added to the variance.
        elementwise_affine: whether there is a weight (ones at first).
        bias: whether there is also a bias (zeros at first).
        dtype: of the parameters.

    Source: J. Ba et al., "Layer normalization", 2016.
    """

    def __init__(
        self,
        normalized_shape: int | tuple[int, ...],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        dtype: Any = _C.float32,
    ) -> None:
        shape = _sizes(self, normalized_shape)
        self.normalized_shape, self.eps, self.elementwise_affine = shape, eps, elementwise_affine
        self.weight = Parameter(init.ones_(_C.empty(shape, dtype))) if elementwise_affine else None
        self.bias = Parameter(_C.zeros(shape, dtype)) if elementwise_affine and bias else None

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Any:
        """The normalised input; with a residual that of the sum, and the sum: see `ops.add_layer_norm`."""
        _check_last(self, x, self.normalized_shape)
        how = (self.normalized_shape, self.weight, self.bias, self.eps)
        return ops.layer_norm(x, *how) if residual is None else ops.add_layer_norm(x, residual, *how)

    def extra_repr(self) -> str:
        affine = f"elementwise_affine={self.elementwise_affine}"
        return f"{self.normalized_shape}, eps={self.eps}, {affine}, bias={self.bias is not None}"


class RMSNorm(Module):
    """x / √(mean(x²) + eps) · weight over the last dimensions.

    Args:
        normalized_shape: the size of the last dimension, or the sizes of the last dimensions.
        eps: added to the mean square; None is the distance from 1 to the next number that is computed with.
        elementwise_affine: whether there is a weight (ones at first).
        dtype: of the weight.

    Source: B. Zhang, R. Sennrich, "Root mean square layer normalization", 2019.
    """

    def __init__(
        self,
        normalized_shape: int | tuple[int, ...],
        eps: float | None = None,
        elementwise_affine: bool = True,
        dtype: Any = _C.float32,
    ) -> None:
        shape = _sizes(self, normalized_shape)
        self.normalized_shape, self.eps, self.elementwise_affine = shape, eps, elementwise_affine
        self.weight = Parameter(init.ones_(_C.empty(shape, dtype))) if elementwise_affine else None

    def forward(self, x: Tensor) -> Tensor:
        _check_last(self, x, self.normalized_shape)
        return ops.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(Module):
    """(x - mean) / √(variance + eps) · weight + bias over groups of channels of each sample of (N, C, ...).

    Args:
        num_groups: a divisor of C. One is layer norm over all but the batch, C is instance norm.
        num_channels: C.
        eps: added to the variance.
        affine: whether there are a weight (C,), ones at first, and a bias (C,), zeros at first.
        bias: whether there is, besides a weight, a bias.
        dtype: of the parameters.

    Raises:
        ValueError: channels that the groups do not divide, or another number of channels or dimensions.

    Source: Y. Wu, K. He, "Group normalization", 2018.
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        bias: bool = True,
        dtype: Any = _C.float32,
    ) -> None:
        check_size(self, num_groups=num_groups, num_channels=num_channels)
        if num_channels % num_groups:
            raise ValueError(
                f"[GroupNorm] num_channels must be a multiple of num_groups, got {num_channels} channels and "
                f"{num_groups} groups"
            )
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        self.weight = Parameter(init.ones_(_C.empty((num_channels,), dtype))) if affine else None
        self.bias = Parameter(_C.zeros((num_channels,), dtype)) if affine and bias else None

    def forward(self, x: Tensor) -> Tensor:
        if not isinstance(x, _C.Tensor):
            raise TypeError(f"[GroupNorm] expected a Tensor, got {type(x).__name__}")
        if x.ndim < 2 or x.shape[1] != self.num_channels:
            raise ValueError(f"[GroupNorm] expected (N, {self.num_channels}, ...), got input {x.shape}")
        return ops.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        affine = f"affine={self.affine}, bias={self.bias is not None}"
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, {affine}"


class _BatchNorm(Module):
    dims: tuple[int, ...]
    expected: str

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        bias: bool = True,
        dtype: Any = _C.float32,
    ) -> None:
        check_size(self, num_features=num_features)
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self.weight = Parameter(_C.empty((num_features,), dtype)) if affine else None
        self.bias = Parameter(_C.empty((num_features,), dtype)) if affine and bias else None
        self.running_mean = _C.empty((num_features,), dtype) if track_running_stats else None
        self.running_var = _C.empty((num_features,), dtype) if track_running_stats else None
        self.num_batches_tracked = _C.zeros((), _C.int64) if track_running_stats else None
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Forgets the batches seen: mean 0 and variance 1."""
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            init.zeros_(self.running_mean)
            init.ones_(self.running_var)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Also sets weight to ones and bias to zeros."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        name = type(self).__name__
        if not isinstance(x, _C.Tensor):
            raise TypeError(f"[{name}] expected a Tensor, got {type(x).__name__}")
        if x.ndim not in self.dims:
            raise ValueError(f"[{name}] expected {self.expected}, got {x.ndim} dimensions (input {x.shape})")
        if x.shape[1] != self.num_features:
            raise ValueError(f"[{name}] expected {self.num_features} channels, got {x.shape[1]} (input {x.shape})")
        momentum = self.momentum
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked += 1
            momentum = 1 / int(self.num_batches_tracked) if momentum is None else momentum
        return ops.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or self.running_mean is None,
            momentum or 0.0,
            self.eps,
        )

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(_BatchNorm):
    """(x - mean) / √(variance + eps) · weight + bias for each channel of (N, C) or (N, C, L).

    In training mean and variance are the batch's own, and the running ones follow them; in evaluation the running ones
    are used.

    Args:
        num_features: C, the number of channels.
        eps: added to the variance.
        momentum: the share of a batch in the running statistics; None averages all batches alike.
        affine: whether there is a weight, (C,), ones at first.
        track_running_stats: whether there are running_mean (zeros at first), running_var (ones at first) and
            num_batches_tracked. Without them the batch's own statistics are used in evaluation too.
        bias: whether there is, besides a weight, a bias, (C,), zeros at first.
        dtype: of the parameters and the running statistics.

    Raises:
        ValueError: another number of dimensions or channels, or one value per channel in training.

    Source: S. Ioffe, C. Szegedy, "Batch normalization: accelerating deep network training by reducing internal
    covariate shift", 2015.
    """

    dims = (2, 3)
    expected = "(N, C) or (N, C, L)"


class BatchNorm2d(_BatchNorm):
    """(x - mean) / √(variance + eps) · weight + bias for each channel of (N, C, H, W).

    Args and statistics: as in `BatchNorm1d`.

    Raises:
        ValueError: another number of dimensions or channels, or one value per channel in training.
    """

    dims = (4,)
    expected = "(N, C, H, W)"


class Dropout(Module):
    """In training, sets each element to zero with probability p and scales the others by 1 / (1 - p).

    Source: N. Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014.
    """

    def __init__(self, p: float = 0.5) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"[Dropout] expected a probability p in [0, 1], got {p}")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return ops.dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"
