"""Triangles and diagonals of matrices."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from dlcore import _C
from dlcore.autograd import Function
from dlcore.ops.index import look_at, place

if TYPE_CHECKING:
    from dlcore.tensor import Tensor

__all__ = ["diag", "diagonal", "tril", "triu"]


class _Triangle(Function):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, diagonal: int, upper: bool) -> Tensor:
        ctx.diagonal, ctx.upper = diagonal, upper
        return _C.triangle(x, diagonal, upper)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        return _Triangle.apply(dy, ctx.diagonal, ctx.upper), None, None


def tril(x: Tensor, diagonal: int = 0) -> Tensor:
    """The lower triangle of the last two dimensions: `x` where column - row <= diagonal, else 0.

    Raises:
        ValueError: fewer than two dimensions.
    """
    return _Triangle.apply(x, diagonal, False)


def triu(x: Tensor, diagonal: int = 0) -> Tensor:
    """The upper triangle of the last two dimensions: `x` where column - row >= diagonal, else 0.

    Raises:
        ValueError: fewer than two dimensions.
    """
    return _Triangle.apply(x, diagonal, True)


def diagonal(x: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The elements with (index in `dim2`) - (index in `dim1`) = offset, as the last dimension of a view.

    Raises:
        IndexError: a dimension that `x` does not have.
        ValueError: the two dimensions are the same.
    """
    return look_at(x, partial(_C.diagonal, offset=offset, dim1=dim1, dim2=dim2))


def diag(x: Tensor, diagonal: int = 0) -> Tensor:
    """For a vector the matrix with it on a diagonal and zeros elsewhere; for a matrix that diagonal, as a view.

    Raises:
        ValueError: neither a vector nor a matrix.
    """
    look = partial(_C.diagonal, offset=diagonal, dim1=0, dim2=1)
    if x.ndim == 2:
        return look_at(x, look)
    if x.ndim != 1:
        raise ValueError(f"[diag] expected a vector or a matrix, got shape {x.shape}")
    n = x.shape[0] + abs(diagonal)
    return place(x, (n, n), look)


class TriangleMethods:
    __slots__ = ()

    tril = tril
    triu = triu
    diagonal = diagonal
    diag = diag
