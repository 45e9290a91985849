"""One index for every element, along one dimension."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dlcore import _C
from dlcore.autograd import Function
from dlcore.ops.copy import cast
from dlcore.ops.creation import tensor
from dlcore.ops.inplace import change
from dlcore.ops.join import pad
from dlcore.ops.shape import axis_of, broadcast_to, sum_to

if TYPE_CHECKING:
    from dlcore.tensor import Tensor

__all__ = ["gather", "scatter", "scatter_add", "take_along_dim"]


class _Gather(Function):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int, index: Tensor, op: str) -> Tensor:
        ctx.save(index, dim=dim, shape=x.shape)
        return _C.gather(x, dim, index, op)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (index,) = ctx.saved
        return _ScatterAdd.apply(_C.zeros(ctx.shape, dy.dtype, dy.device), ctx.dim, index, dy), None, None, None


class _Scatter(Function):
    """Gradients flow to every value, also to one that a later one replaced."""

    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int, index: Tensor, values: Tensor) -> Tensor:
        ctx.save(index, dim=dim, shape=values.shape, dtype=values.dtype)
        return _C.scatter(x, dim, index, values)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (index,) = ctx.saved
        nothing = _C.zeros((), dy.dtype, dy.device)
        return _Scatter.apply(dy, ctx.dim, index, nothing), None, None, _to_values(ctx, dy, index)


class _ScatterAdd(Function):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int, index: Tensor, values: Tensor) -> Tensor:
        ctx.save(index, dim=dim, shape=values.shape, dtype=values.dtype)
        return _C.scatter_add(x, dim, index, values)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (index,) = ctx.saved
        return dy, None, None, _to_values(ctx, dy, index)


def _to_values(ctx: Any, dy: Tensor, index: Tensor) -> Tensor | None:
    """The gradient of values of which `index`, if it is smaller, used the first in each dimension."""
    if not ctx.dtype.is_floating_point:
        return None
    dvalues = cast(_Gather.apply(dy, ctx.dim, index, "gather"), ctx.dtype)
    if ctx.shape == ():
        return sum_to(dvalues, ())
    unused = [(0, n - k) for n, k in zip(ctx.shape, index.shape, strict=True)]
    return pad(dvalues, [n for pair in reversed(unused) for n in pair]) if ctx.shape != index.shape else dvalues


def gather(x: Tensor, dim: int, index: Tensor) -> Tensor:
    """y[i, j, k] = x[i, index[i, j, k], k] for dim = 1, and so for any dimension. Negative indices count from the end.

    Args:
        index: integers, with as many dimensions as `x` and, but along `dim`, no size above `x`'s.

    Raises:
        TypeError: `index` does not hold integers.
        ValueError: an index of another number of dimensions, or too large.
        IndexError: an index out of range.
    """
    return _Gather.apply(x, dim, index, "gather")


def take_along_dim(x: Tensor, index: Tensor, dim: int) -> Tensor:
    """`gather` after `x` and `index` were broadcast together in all dimensions but `dim`: takes what argsort gives."""
    axis = axis_of(dim, x, "take_along_dim")
    if index.ndim != x.ndim:
        raise ValueError(
            f"[take_along_dim] the index must have as many dimensions as the tensor, got shapes {index.shape} "
            f"and {x.shape}"
        )

    def without(shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape[:axis], 1, *shape[axis + 1 :])

    common = _C.broadcast_shapes(without(x.shape), without(index.shape))

    def widened(t: Tensor) -> Tensor:
        return broadcast_to(t, (*common[:axis], t.shape[axis], *common[axis + 1 :]))

    return _Gather.apply(widened(x), axis, widened(index), "take_along_dim")


def scatter(x: Tensor, dim: int, index: Tensor, src: Any) -> Tensor:
    """A copy of `x` with x[i, index[i, j, k], k] = src[i, j, k] for dim = 1, and so for any dimension.

    Where an element is named more than once the last value stays.

    Args:
        index: as for `gather`.
        src: a tensor with no size below `index`'s, or a number.

    Raises:
        TypeError: `index` does not hold integers, or `src` has a dtype that does not fit `x`'s.
        ValueError: shapes that do not fit.
        IndexError: an index out of range.
    """
    return _Scatter.apply(x, dim, index, src if isinstance(src, _C.Tensor) else tensor(src, x.dtype))


def scatter_add(x: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """A copy of `x` with src[i, j, k] added to x[i, index[i, j, k], k] for dim = 1, and so for any dimension.

    Terms are added in the order of `index` along `dim`, so that results are the same in every run. Arguments and errors
    are those of `scatter`.
    """
    if not isinstance(src, _C.Tensor):
        raise TypeError(f"[scatter_add] expected src as a tensor, got {type(src).__name__}")
    return _ScatterAdd.apply(x, dim, index, src)


class GatherMethods:
    __slots__ = ()

    gather = gather
    scatter = scatter
    scatter_add = scatter_add
    take_along_dim = take_along_dim

    def scatter_(self: Any, dim: int, index: Tensor, src: Any) -> Tensor:
        """`scatter` in place."""
        return change(self, "scatter_", lambda x, s: scatter(x, dim, index, s), src)

    def scatter_add_(self: Any, dim: int, index: Tensor, src: Tensor) -> Tensor:
        """`scatter_add` in place."""
        return change(self, "scatter_add_", lambda x, s: scatter_add(x, dim, index, s), src)
