"""Linear, and the small layers that only rearrange or look up."""

from __future__ import annotations

import math
from typing import Any

from dlcore import _C, ops
from dlcore.nn import init
from dlcore.nn.module import Module
from dlcore.nn.parameter import Parameter
from dlcore.tensor import Tensor

__all__ = ["Embedding", "Flatten", "Identity", "Linear", "Unflatten"]


def check_last(layer: Module, x: Any, size: int) -> None:
    """Raises unless `x` is a tensor whose last dimension is `size`."""
    if not isinstance(x, _C.Tensor):
        raise TypeError(f"[{type(layer).__name__}] expected a Tensor, got {type(x).__name__}")
    if x.ndim == 0 or x.shape[-1] != size:
        got = x.shape[-1] if x.ndim else "a single number"
        raise ValueError(f"[{type(layer).__name__}] expected last dimension {size}, got {got} (input {x.shape})")


def check_size(layer: Module, **sizes: int) -> None:
    """Raises unless every size is an integer of at least 1."""
    for name, size in sizes.items():
        if not isinstance(size, int) or size < 1:
            raise ValueError(f"[{type(layer).__name__}] {name} must be an integer of at least 1, got {size!r}")


class Linear(Module):
    """y = x wᵀ + b over the last dimension.

    Args:
        in_features, out_features: I and O.
        bias: whether there is a b.
        dtype: of the parameters.

    Attributes:
        weight: (O, I), and bias (O,): uniform in ±1/√I, PyTorch's default.

    Shapes: (…, I) to (…, O).
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, dtype: Any = _C.float32) -> None:
        check_size(self, in_features=in_features, out_features=out_features)
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter(_C.empty((out_features, in_features), dtype))
        self.bias = Parameter(_C.empty((out_features,), dtype)) if bias else None
        self.reset_parameters()

    @classmethod
    def from_parameters(cls, weight: Parameter, bias: Parameter | None = None) -> Linear:
        """A layer over parameters that exist already, such as an embedding's weight (tying)."""
        made = cls.__new__(cls)
        made.out_features, made.in_features = weight.shape
        made.weight, made.bias = weight, bias
        return made

    def reset_parameters(self) -> None:
        """Draws the parameters anew."""
        bound = 1 / math.sqrt(self.in_features)
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        check_last(self, x, self.in_features)
        return ops.linear(x, self.weight, self.bias)

    def multiply_adds(self, args: tuple[Any, ...], output: Any) -> int:
        return output.numel() * self.in_features

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Embedding(Module):
    """y[i] = weight[x[i]]: a vector for each integer.

    Args:
        num_embeddings, embedding_dim: how many vectors, and their size D.
        padding_idx: an index whose vector starts at zero and does not learn.
        dtype: of the weight.

    Attributes:
        weight: (num_embeddings, D), standard normal.

    Shapes: integers (…) to (…, D).
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, dtype: Any = _C.float32
    ) -> None:
        check_size(self, num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                known = f"{num_embeddings} embeddings"
                raise ValueError(f"[Embedding] padding_idx {padding_idx} is out of range for {known}")
            padding_idx %= num_embeddings
        self.num_embeddings, self.embedding_dim, self.padding_idx = num_embeddings, embedding_dim, padding_idx
        self.weight = Parameter(_C.empty((num_embeddings, embedding_dim), dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the weight anew."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            _C.copy_into(_C.zeros((), self.weight.dtype), _C.select(self.weight, 0, self.padding_idx))

    def forward(self, x: Tensor) -> Tensor:
        return ops.embedding(x, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"


class Flatten(Module):
    """Merges dimensions `start_dim` to `end_dim`, both included; by default all but the first."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Tensor) -> Tensor:
        return ops.flatten(x, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Identity(Module):
    """Gives out what it gets. Arguments of the constructor are ignored, so that it can stand in for any layer."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def forward(self, x: Any) -> Any:
        return x


class Unflatten(Module):
    """One dimension as several: the opposite of `Flatten`.

    Args:
        dim: which one.
        unflattened_size: the sizes, whose product is the dimension's; one may be -1.
    """

    def __init__(self, dim: int, unflattened_size: tuple[int, ...]) -> None:
        self.dim, self.unflattened_size = dim, tuple(unflattened_size)

    def forward(self, x: Tensor) -> Tensor:
        axis = self.dim % x.ndim if -x.ndim <= self.dim < x.ndim else -1
        known = math.prod(n for n in self.unflattened_size if n != -1)
        fits = axis >= 0 and (
            x.shape[axis] == known
            if -1 not in self.unflattened_size
            else self.unflattened_size.count(-1) == 1 and known and x.shape[axis] % known == 0
        )
        if not fits:
            raise ValueError(f"[Unflatten] cannot show dimension {self.dim} of {x.shape} as {self.unflattened_size}")
        return ops.reshape(x, (*x.shape[:axis], *self.unflattened_size, *x.shape[axis + 1 :]))

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
