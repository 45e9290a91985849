"""Reductions: sums, products, extremes, norms and moments over axes, and running sums."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from dlcore import _C, ops
from dlcore.amp import raised
from dlcore.autograd import Function, shortcut

if TYPE_CHECKING:
    from dlcore.tensor import Tensor

__all__ = [
    "ValuesIndices",
    "all",
    "amax",
    "amin",
    "any",
    "argmax",
    "argmin",
    "cumsum",
    "logsumexp",
    "max",
    "mean",
    "min",
    "norm",
    "prod",
    "std",
    "sum",
    "var",
]

Dim = int | tuple[int, ...] | list[int] | None


class ValuesIndices(NamedTuple):
    """What `max` and `min` along an axis return."""

    values: Tensor
    indices: Tensor


def _spread(y: Tensor, shape: tuple[int, ...], dim: Dim) -> Tensor:
    """A reduced tensor seen in the shape it was reduced from."""
    if y.ndim == 0:
        return ops.expand(y, shape)
    return ops.expand(ops.reshape(y, _kept_shape(shape, dim)), shape)


def _kept_shape(shape: tuple[int, ...], dim: Dim) -> tuple[int, ...]:
    if dim is None or dim == () or dim == [] or not shape:
        return (1,) * len(shape)
    axes = {d % len(shape) for d in ((dim,) if isinstance(dim, int) else dim)}
    return tuple(1 if i in axes else n for i, n in enumerate(shape))


def _count(shape: tuple[int, ...], dim: Dim) -> int:
    kept = _kept_shape(shape, dim)
    return math.prod(n for n, k in zip(shape, kept, strict=True) if k == 1)


class _Sum(Function):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: Dim = None, keepdim: bool = False) -> Tensor:
        y = _C.sum(x, dim, keepdim)
        ctx.shape, ctx.dim = x.shape, dim
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        return _spread(dy, ctx.shape, ctx.dim), None, None


class _Mean(Function):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: Dim = None, keepdim: bool = False) -> Tensor:
        y = _C.mean(x, dim, keepdim)
        ctx.shape, ctx.dim = x.shape, dim
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        n = _count(ctx.shape, ctx.dim)
        return _spread(dy / n if n else dy, ctx.shape, ctx.dim), None, None


class _Var(Function):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: Dim, correction: float, keepdim: bool) -> Tensor:
        y = _C.var(x, dim, correction, keepdim)
        ctx.save(x, dim=dim, correction=correction)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (x,) = ctx.saved
        degrees = _count(x.shape, ctx.dim) - ctx.correction
        scale = 2 / degrees if degrees > 0 else math.nan
        centred = x - mean(x, ctx.dim, keepdim=True)
        return centred * ops.reshape(dy * scale, _kept_shape(x.shape, ctx.dim)), None, None, None


class _Prod(Function):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: Dim = None, keepdim: bool = False) -> Tensor:
        y = _C.prod(x, dim, keepdim)
        ctx.save(x, y, dim=dim)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, y = ctx.saved
        if _C.all(x, None, False).item():
            return _spread(dy * y, x.shape, ctx.dim) / x, None, None
        return _spread(dy, x.shape, ctx.dim) * _product_of_others(x, ctx.dim), None, None


def _product_of_others(x: Tensor, dim: Dim) -> Tensor:
    """prod over j != i of x[j]: the gradient of a product that may contain zeros.

    Exclusive prefix times suffix products, each by log2(n) shifted multiplications.
    """
    axes = [i for i, (n, k) in enumerate(zip(x.shape, _kept_shape(x.shape, dim), strict=True)) if n != k]
    order = [i for i in range(x.ndim) if i not in axes] + axes
    rows = ops.reshape(ops.permute(x, order), (*[x.shape[i] for i in order[: x.ndim - len(axes)]], -1))
    n = rows.shape[-1]
    one = ops.ones((*rows.shape[:-1], 1), x.dtype, x.device)
    before = ops.cat([one, rows[..., : n - 1]], -1)
    after = ops.cat([rows[..., 1:], one], -1)
    step = 1
    while step < n:
        ones = ops.expand(one, (*rows.shape[:-1], step))
        before = before * ops.cat([ones, before[..., : n - step]], -1)
        after = after * ops.cat([after[..., step:], ones], -1)
        step *= 2
    others = ops.reshape(before * after, tuple(x.shape[i] for i in order))
    return ops.permute(others, [order.index(i) for i in range(x.ndim)])


class _Extreme(Function):
    """amax and amin: equal elements share the gradient."""

    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: Dim, keepdim: bool, largest: bool) -> Tensor:
        y = _C.amax(x, dim, keepdim) if largest else _C.amin(x, dim, keepdim)
        ctx.save(x, y, dim=dim)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, y = ctx.saved
        chosen = ops.eq(x, _spread(y.detach(), x.shape, ctx.dim))
        kept = _kept_shape(x.shape, ctx.dim)
        share = ops.reshape(dy, kept) / ops.cast(_C.sum(chosen, ctx.dim, True), dy.dtype)
        return ops.where(chosen, ops.expand(share, x.shape), 0.0), None, None, None


class _ExtremeAlong(Function):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int, keepdim: bool, largest: bool) -> tuple[Tensor, Tensor]:
        values, indices = _C.max_along(x, dim, keepdim) if largest else _C.min_along(x, dim, keepdim)
        ctx.save(indices, shape=x.shape, dim=dim)
        return values, indices

    @staticmethod
    def backward(ctx: Any, dvalues: Tensor, _: Any) -> Any:
        (indices,) = ctx.saved
        if not ctx.shape:
            return dvalues, None, None, None
        axis = ctx.dim % len(ctx.shape)
        places = ops.reshape(
            ops.arange(ctx.shape[axis], device=dvalues.device), (-1, *[1] * (len(ctx.shape) - 1 - axis))
        )
        kept = _kept_shape(ctx.shape, axis)
        chosen = ops.eq(ops.reshape(indices, kept), places)
        return ops.where(chosen, ops.reshape(dvalues, kept), 0.0), None, None, None


class _LogSumExp(Function):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: Dim, keepdim: bool) -> Tensor:
        y = _C.logsumexp(x, dim, keepdim)
        ctx.save(x, y, dim=dim)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, y = ctx.saved
        kept = _kept_shape(x.shape, ctx.dim)
        # exp(-inf - -inf) would be NaN where a whole group is -inf; its gradient is zero.
        finite = ops.where(ops.eq(y, -math.inf), 0.0, y)
        return ops.exp(x - ops.reshape(finite, kept)) * ops.reshape(dy, kept), None, None


class _CumSum(Function):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int, reverse: bool) -> Tensor:
        ctx.dim, ctx.reverse = dim, reverse
        return _C.cumsum(x, dim, reverse)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        return _CumSum.apply(dy, ctx.dim, not ctx.reverse), None, None


class _Norm(Function):
    """p = 1 and p = 2."""

    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, p: int, dim: Dim, keepdim: bool) -> Tensor:
        y = _C.norm1(x, dim, keepdim) if p == 1 else _C.norm2(x, dim, keepdim)
        ctx.save(x, y, p=p, dim=dim)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, y = ctx.saved
        kept = _kept_shape(x.shape, ctx.dim)
        if ctx.p == 1:
            return ops.sign(x.detach()) * ops.reshape(dy, kept), None, None, None
        # The subgradient at zero is zero.
        zero = ops.eq(y.detach(), 0.0)
        return x * ops.reshape(ops.where(zero, 0.0, dy / ops.where(zero, 1.0, y)), kept), None, None, None


def _as_dtype(x: Tensor, dtype: Any) -> Tensor:
    return x if dtype is None else ops.cast(x, dtype)


@shortcut(_C.sum, _Sum)
def sum(x: Tensor, dim: Dim = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
    """Sum over axes `dim` (an int or several; None or (): all); reduced axes stay with size 1 under `keepdim`.

    float32 and bfloat16 add up in float32 by trees, so that the error hardly grows with the element count; integers
    and bool add up in int64. `dtype` converts `x` first. The sum of nothing is 0.

    Raises:
        IndexError: an axis out of range.
        ValueError: an axis given twice.
    """
    return _Sum.apply(_as_dtype(x, dtype), dim, keepdim)


@shortcut(_C.mean, _Mean)
def mean(x: Tensor, dim: Dim = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
    """Mean over axes `dim` (None: all). The mean of nothing is NaN.

    Raises:
        TypeError: not a floating dtype; pass `dtype=dlcore.float32` or convert.
    """
    return _Mean.apply(_as_dtype(x, dtype), dim, keepdim)


@shortcut(_C.prod, _Prod, casts=True)
def prod(x: Tensor, dim: Dim = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
    """Product over axes `dim` (None: all); 1 for nothing. Integers and bool multiply in int64.

    The gradient is right where elements are zero, too.
    """
    (x,) = raised(x)
    return _Prod.apply(_as_dtype(x, dtype), dim, keepdim)


def var(x: Tensor, dim: Dim = None, correction: float = 1, keepdim: bool = False) -> Tensor:
    """Variance over axes `dim` (None: all): sum((x - mean)²) / max(0, n - correction).

    `correction=1` is the unbiased estimate of the variance of a population, 0 the variance of the sample itself. Taken
    about the mean, in two passes over blocks, so that a large mean costs no digits.

    Raises:
        TypeError: not a floating dtype.
    """
    return _Var.apply(x, dim, correction, keepdim)


def std(x: Tensor, dim: Dim = None, correction: float = 1, keepdim: bool = False) -> Tensor:
    """Standard deviation over axes `dim`: the root of `var`."""
    return ops.sqrt(var(x, dim, correction, keepdim))


@shortcut(_C.amax)
def amax(x: Tensor, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """Largest element over axes `dim` (None: all); NaN where there is one. Equal elements share the gradient evenly.

    Raises:
        ValueError: nothing to choose from.
    """
    return _Extreme.apply(x, dim, keepdim, True)


@shortcut(_C.amin)
def amin(x: Tensor, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """Smallest element over axes `dim` (None: all); as `amax`."""
    return _Extreme.apply(x, dim, keepdim, False)


def max(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """Largest element: of all (a tensor), or along axis `dim` as (values, indices), the first where several are equal.

    NaN counts as the largest. Along an axis the gradient goes to the chosen element; else equal elements share it.

    Raises:
        ValueError: nothing to choose from.
    """
    if dim is None:
        return amax(x, None, keepdim)
    return ValuesIndices(*_ExtremeAlong.apply(x, dim, keepdim, True))


def min(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """Smallest element: of all, or along axis `dim` as (values, indices); as `max`. NaN counts as the smallest."""
    if dim is None:
        return amin(x, None, keepdim)
    return ValuesIndices(*_ExtremeAlong.apply(x, dim, keepdim, False))


def argmax(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Index of the largest element along axis `dim`, or in the flattened tensor (None).

    The first where several are equal; NaN counts as the largest.

    Raises:
        ValueError: nothing to choose from.
    """
    return _C.argmax(x, dim, keepdim)


def argmin(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Index of the smallest element along axis `dim`, or in the flattened tensor (None); as `argmax`."""
    return _C.argmin(x, dim, keepdim)


def logsumexp(x: Tensor, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """log(sum(exp(x))) over axes `dim` (None: all) without overflow; -inf for nothing.

    Raises:
        TypeError: not a floating dtype.
    """
    return _LogSumExp.apply(x, dim, keepdim)


def cumsum(x: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """Running sums along axis `dim`: y[k] = x[0] + … + x[k]. Integers and bool add up in int64."""
    return _CumSum.apply(_as_dtype(x, dtype), dim, False)


def any(x: Tensor, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """Whether some element over axes `dim` (None: all) is not zero, as bool; False for nothing."""
    return _C.any(x, dim, keepdim)


def all(x: Tensor, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """Whether every element over axes `dim` (None: all) is not zero, as bool; True for nothing."""
    return _C.all(x, dim, keepdim)


def norm(x: Tensor, p: float | str = 2, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """Vector norm over axes `dim` (None: all): (sum |x|^p)^(1/p).

    `p` may be any number; "fro" is 2, inf the largest and -inf the smallest magnitude, 0 the count of nonzero elements.

    Raises:
        TypeError: not a floating dtype.
        ValueError: an unknown name for `p`.
    """
    if isinstance(p, str):
        if p != "fro":
            raise ValueError(f"[norm] expected p to be a number or 'fro', got {p!r}")
        p = 2
    if p in (1, 2):
        return _Norm.apply(x, int(p), dim, keepdim)
    if not x.dtype.is_floating_point:
        raise TypeError(f"[norm] expected a floating dtype, got {x.dtype.name} of shape {x.shape}")
    if math.isinf(p):
        return amax(ops.abs(x), dim, keepdim) if p > 0 else amin(ops.abs(x), dim, keepdim)
    if p == 0:
        return sum(ops.cast(ops.ne(x, 0.0), x.dtype), dim, keepdim)
    return ops.pow(sum(ops.pow(ops.abs(x), p), dim, keepdim), 1 / p)


class ReduceMethods:
    __slots__ = ()

    sum = sum
    mean = mean
    prod = prod
    var = var
    std = std
    amax = amax
    amin = amin
    max = max
    min = min
    argmax = argmax
    argmin = argmin
    logsumexp = logsumexp
    cumsum = cumsum
    any = any
    all = all
    norm = norm
