"""Views: other shapes over the same memory, and `sum_to`, the adjoint of broadcasting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dlcore import _C, ops
from dlcore.autograd import View, shortcut

if TYPE_CHECKING:
    from dlcore.tensor import Tensor

__all__ = [
    "broadcast_to",
    "expand",
    "flatten",
    "movedim",
    "permute",
    "reshape",
    "squeeze",
    "sum_to",
    "transpose",
    "unsqueeze",
    "view",
]


def _sizes(args: tuple[Any, ...]) -> tuple[int, ...]:
    """Accepts f(2, 3) and f((2, 3))."""
    return tuple(args[0]) if len(args) == 1 and isinstance(args[0], (tuple, list)) else args


class _Reshape(View):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        ctx.shape = x.shape
        return _C.reshape(x, shape)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        return reshape(dy, ctx.shape), None


class _ViewOnly(_Reshape):
    @staticmethod
    def forward(ctx: Any, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        ctx.shape = x.shape
        return _C.view(x, shape)


class _Permute(View):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, axes: tuple[int, ...]) -> Tensor:
        y = _C.permute(x, axes)
        ctx.inverse = tuple(sorted(range(len(axes)), key=lambda i: axes[i] % len(axes)))
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        return permute(dy, ctx.inverse), None


class _Transpose(View):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, dim0: int, dim1: int) -> Tensor:
        ctx.dims = dim0, dim1
        return _C.transpose(x, dim0, dim1)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        return transpose(dy, *ctx.dims), None, None


class _Expand(View):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        ctx.shape = x.shape
        return _C.expand(x, shape)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        return sum_to(dy, ctx.shape), None


@shortcut(_C.reshape, _Reshape)
def reshape(x: Tensor, *shape: Any) -> Tensor:
    """The same elements in another shape; one size may be -1. A view where strides allow it, else a copy.

    Raises:
        ValueError: the element counts differ, or several sizes are -1.
    """
    return _Reshape.apply(x, _sizes(shape))


@shortcut(_C.view, _ViewOnly)
def view(x: Tensor, *shape: Any) -> Tensor:
    """Like `reshape`, but never a copy: ValueError where no view can show the shape."""
    return _ViewOnly.apply(x, _sizes(shape))


def flatten(x: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Merges dimensions `start_dim` to `end_dim`, both included, into one."""
    if x.ndim == 0:
        return reshape(x, (1,))
    first, last = axis_of(start_dim, x, "flatten"), axis_of(end_dim, x, "flatten")
    if first > last:
        raise ValueError(f"[flatten] start_dim {start_dim} comes after end_dim {end_dim} for shape {x.shape}")
    merged = 1
    for size in x.shape[first : last + 1]:
        merged *= size
    return reshape(x, (*x.shape[:first], merged, *x.shape[last + 1 :]))


@shortcut(_C.permute, _Permute)
def permute(x: Tensor, *axes: Any) -> Tensor:
    """The axes in a new order, as a view."""
    return _Permute.apply(x, _sizes(axes))


@shortcut(_C.transpose, _Transpose)
def transpose(x: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two axes swapped, as a view."""
    return _Transpose.apply(x, dim0, dim1)


def movedim(x: Tensor, source: int, destination: int) -> Tensor:
    """One axis moved to another place, the rest in order, as a view."""
    source, destination = axis_of(source, x, "movedim"), axis_of(destination, x, "movedim")
    axes = [i for i in range(x.ndim) if i != source]
    axes.insert(destination, source)
    return permute(x, axes)


@shortcut(_C.expand, _Expand)
def expand(x: Tensor, *shape: Any) -> Tensor:
    """Repeats dimensions of size 1 (and adds leading ones) without a copy; -1 keeps a size."""
    return _Expand.apply(x, _sizes(shape))


def broadcast_to(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """`x` seen in a shape that it broadcasts to; no copy."""
    return expand(x, shape)


def squeeze(x: Tensor, dim: int | None = None) -> Tensor:
    """Removes axis `dim` where its size is 1, or all axes of size 1, as a view."""
    if dim is None:
        return reshape(x, tuple(size for size in x.shape if size != 1))
    axis = axis_of(dim, x, "squeeze")
    return reshape(x, (*x.shape[:axis], *x.shape[axis + 1 :])) if x.shape[axis] == 1 else x


def unsqueeze(x: Tensor, dim: int) -> Tensor:
    """Adds an axis of size 1 before axis `dim` (-1: at the end), as a view."""
    if not -x.ndim - 1 <= dim <= x.ndim:
        raise IndexError(f"[unsqueeze] axis {dim} is out of range for shape {x.shape}")
    axis = dim % (x.ndim + 1)
    return reshape(x, (*x.shape[:axis], 1, *x.shape[axis:]))


def sum_to(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Sums over the dimensions along which `shape` would broadcast to `x.shape`: the adjoint of broadcasting."""
    if x.shape == shape:
        return x
    lead = x.ndim - len(shape)
    axes = tuple(range(lead)) + tuple(i + lead for i, n in enumerate(shape) if n == 1 and x.shape[i + lead] != 1)
    return reshape(ops.sum(x, axes), shape)


def _fit(gradient: Tensor, shape: tuple[int, ...], dtype: Any) -> Tensor:
    return ops.cast(sum_to(gradient, shape), dtype)


_C.set_gradient_fitter(_fit)


def axis_of(dim: int, x: Tensor, op: str) -> int:
    """The dimension that `dim` names, counted from the front; IndexError where `x` has none."""
    if not -x.ndim <= dim < x.ndim:
        raise IndexError(f"[{op}] axis {dim} is out of range for shape {x.shape}")
    return dim % x.ndim


class ShapeMethods:
    __slots__ = ()

    reshape = reshape
    view = view
    flatten = flatten
    permute = permute
    transpose = transpose
    movedim = movedim
    expand = expand
    squeeze = squeeze
    unsqueeze = unsqueeze

    @property
    def T(self: Any) -> Tensor:
        """The axes in reverse order, as a view."""
        return permute(self, tuple(range(self.ndim))[::-1])

    @property
    def mT(self: Any) -> Tensor:
        """The last two axes swapped, as a view."""
        return transpose(self, -2, -1)
