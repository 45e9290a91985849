"""LayerNorm and Dropout."""

from __future__ import annotations

from typing import Any

from dlcore import _C, ops
from dlcore.nn import init
from dlcore.nn.module import Module
from dlcore.nn.parameter import Parameter
from dlcore.tensor import Tensor

__all__ = ["Dropout", "LayerNorm"]


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
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        if not shape or min(shape) < 1:
            raise ValueError(f"[LayerNorm] expected sizes of at least 1, got normalized_shape {normalized_shape}")
        self.normalized_shape, self.eps, self.elementwise_affine = shape, eps, elementwise_affine
        self.weight = Parameter(init.ones_(_C.empty(shape, dtype))) if elementwise_affine else None
        self.bias = Parameter(_C.zeros(shape, dtype)) if elementwise_affine and bias else None

    def forward(self, x: Tensor) -> Tensor:
        if not isinstance(x, _C.Tensor):
            raise TypeError(f"[LayerNorm] expected a Tensor, got {type(x).__name__}")
        n = len(self.normalized_shape)
        if x.shape[-n:] != self.normalized_shape:
            if n == 1:
                got = x.shape[-1] if x.ndim else "a single number"
                text = f"expected last dimension {self.normalized_shape[0]}, got {got}"
            else:
                text = f"expected last dimensions {self.normalized_shape}, got {x.shape[-n:]}"
            raise ValueError(f"[LayerNorm] {text} (input {x.shape})")
        return ops.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        affine = f"elementwise_affine={self.elementwise_affine}"
        return f"{self.normalized_shape}, eps={self.eps}, {affine}, bias={self.bias is not None}"


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
