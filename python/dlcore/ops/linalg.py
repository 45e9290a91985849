"""Factorisation of positive definite matrices, and triangular systems of equations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dlcore import _C, ops
from dlcore.amp import raised
from dlcore.autograd import Function

if TYPE_CHECKING:
    from dlcore.tensor import Tensor

__all__ = ["cholesky", "cholesky_solve", "solve_triangular"]


def _adjoint(x: Tensor) -> Tensor:
    return ops.transpose(x, -2, -1)


class _Cholesky(Function):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, a: Tensor) -> Tensor:
        lower = _C.cholesky(a)
        ctx.save(lower)
        return lower

    @staticmethod
    def backward(ctx: Any, dlower: Tensor) -> Any:
        (lower,) = ctx.saved
        upper = _adjoint(lower)
        product = ops.matmul(upper, dlower)
        share = ops.tril(product) - product * ops.eye(lower.shape[-1], dtype=lower.dtype) * 0.5
        half = solve_triangular(upper, share, upper=True)
        da = solve_triangular(upper, _adjoint(half), upper=True)
        return (da + _adjoint(da)) * 0.5


class _SolveTriangular(Function):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, upper: bool) -> Tensor:
        x = _C.solve_triangular(a, b, upper)
        ctx.save(a, x, upper=upper)
        return x

    @staticmethod
    def backward(ctx: Any, dx: Tensor) -> Any:
        a, x = ctx.saved
        db = _SolveTriangular.apply(_adjoint(a), dx, not ctx.upper)
        triangle = ops.triu if ctx.upper else ops.tril
        da = triangle(-ops.matmul(db, _adjoint(x))) if ctx.needs_input_grad[0] else None
        return da, db, None


def cholesky(a: Tensor) -> Tensor:
    """The lower triangular L with a positive diagonal and L Lᵀ = a, for symmetric positive definite a.

    Args:
        a: matrices (…, n, n), float32 or float64. Only their lower triangles are read; the gradient is symmetric.

    Raises:
        ValueError: not square, or not positive definite (the message names the first minor that is not positive).
        TypeError: another dtype.

    Source: G. Golub and C. Van Loan, "Matrix computations", 4.2; gradient: I. Murray, "Differentiation of the Cholesky
    decomposition", 2016.
    """
    return _Cholesky.apply(*raised(a))


def solve_triangular(a: Tensor, b: Tensor, *, upper: bool) -> Tensor:
    """The x with a x = b, for triangular a, by substitution.

    Args:
        a: matrices (…, n, n), float32 or float64; only the triangle that `upper` tells is read.
        b: right-hand sides (…, n, m). Leading dimensions broadcast against those of `a`.
        upper: whether `a` is upper triangular; lower if not.

    Raises:
        ValueError: shapes that do not fit, or a zero on the diagonal.
        TypeError: other dtypes, or two of them.
    """
    a, b = raised(a, b)
    if a.ndim >= 2 and b.ndim >= 2 and a.shape[:-2] != b.shape[:-2]:
        batch = _C.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        a, b = ops.expand(a, (*batch, *a.shape[-2:])), ops.expand(b, (*batch, *b.shape[-2:]))
    return _SolveTriangular.apply(a, b, upper)


def cholesky_solve(b: Tensor, lower: Tensor) -> Tensor:
    """The x with lower lowerᵀ x = b, from what `cholesky` gave.

    Args:
        b: right-hand sides (…, n, m).
        lower: lower triangular matrices (…, n, n).

    Raises:
        ValueError, TypeError: as `solve_triangular`.
    """
    return solve_triangular(_adjoint(lower), solve_triangular(lower, b, upper=False), upper=True)
