"""Joining, splitting and padding."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from dlcore import _C, ops
from dlcore.autograd import Function, View
from dlcore.ops.copy import cast
from dlcore.ops.creation import tensor
from dlcore.ops.shape import axis_of, reshape
from dlcore.state import is_grad_enabled

if TYPE_CHECKING:
    from dlcore.tensor import Tensor

__all__ = ["cat", "chunk", "concatenate", "hstack", "pad", "split", "stack", "unbind", "vstack"]


class _Cat(Function):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, dim: int, *xs: Tensor) -> Tensor:
        y = _C.cat(list(xs), dim)
        ctx.dim, ctx.parts = dim, [(x.shape[dim], x.dtype) for x in xs]
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        dxs = split(dy, [size for size, _ in ctx.parts], ctx.dim)
        return None, *_in_dtypes(dxs, [dtype for _, dtype in ctx.parts])


class _Stack(Function):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, dim: int, *xs: Tensor) -> Tensor:
        ctx.dim, ctx.dtypes = dim, [x.dtype for x in xs]
        return _C.stack(list(xs), dim)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        dxs = unbind(dy, ctx.dim)
        return None, *_in_dtypes(dxs, ctx.dtypes)


class _Split(View):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, bounds: list[int], dim: int) -> tuple[Tensor, ...]:
        ctx.dim = dim
        return tuple(_C.slice(x, dim, a, b, 1) for a, b in zip(bounds, bounds[1:], strict=False))

    @staticmethod
    def backward(ctx: Any, *dys: Tensor) -> Any:
        return cat(dys, ctx.dim), None, None


class _Unbind(View):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int) -> tuple[Tensor, ...]:
        ctx.dim = dim
        return tuple(_C.select(x, dim, i) for i in range(x.shape[dim]))

    @staticmethod
    def backward(ctx: Any, *dys: Tensor) -> Any:
        return stack(dys, ctx.dim), None


class _Pad(Function):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, before: tuple[int, ...], after: tuple[int, ...], value: float) -> Tensor:
        ctx.before, ctx.after = before, after
        return _C.pad(x, before, after, tensor(value, x.dtype, x.device))

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        dx = _Pad.apply(dy, tuple(-n for n in ctx.before), tuple(-n for n in ctx.after), 0)
        return dx, None, None, None


def _in_dtypes(dxs: Sequence[Tensor], dtypes: Sequence[Any]) -> list[Tensor | None]:
    return [cast(dx, t) if t.is_floating_point else None for dx, t in zip(dxs, dtypes, strict=True)]


def _listed(xs: Any, op: str) -> list[Tensor]:
    if isinstance(xs, _C.Tensor) or not isinstance(xs, Sequence):
        raise TypeError(f"[{op}] expected a sequence of tensors, got {type(xs).__name__}")
    return xs if isinstance(xs, list) else list(xs)


def _records(xs: list[Tensor]) -> bool:
    """Whether gradients are recorded; where not, thousands of small tensors are spared the way through `apply`."""
    return is_grad_enabled() and _C.any_may_record(xs)


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Joins tensors along dimension `dim`, the only one in which their sizes may differ.

    The dtype is what the inputs' dtypes promote to.

    Raises:
        ValueError: no tensors, 0-dimensional ones, or sizes that do not match; names the input and the dimension.
    """
    xs = _listed(tensors, "cat")
    return _Cat.apply(dim, *xs) if _records(xs) else _C.cat(xs, dim)


concatenate = cat


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Joins tensors of one shape along a new dimension `dim` (-1: the last of the result)."""
    xs = _listed(tensors, "stack")
    return _Stack.apply(dim, *xs) if _records(xs) else _C.stack(xs, dim)


def split(x: Tensor, split_size: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Views of consecutive parts of `x` along `dim`.

    Args:
        split_size: the size of every part (the last may be smaller), or all sizes, which add up to `x.shape[dim]`.

    Raises:
        ValueError: sizes that are negative or do not add up.
    """
    axis = axis_of(dim, x, "split")
    n = x.shape[axis]
    if isinstance(split_size, int):
        if split_size < 0 or (split_size == 0 and n > 0):
            raise ValueError(f"[split] split_size must be positive, got {split_size}")
        bounds = [*range(0, n, split_size), n] if n else [0, 0]
    else:
        if any(size < 0 for size in split_size) or sum(split_size) != n:
            raise ValueError(
                f"[split] sizes must not be negative and add up to {n}, the size of dimension {dim} "
                f"of shape {x.shape}, got {list(split_size)}"
            )
        bounds = [0, *accumulate(split_size)]
    return _Split.apply(x, bounds, axis)


def chunk(x: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of at most `chunks` parts of `x` along `dim`, of one size but for the last."""
    if chunks < 1:
        raise ValueError(f"[chunk] chunks must be positive, got {chunks}")
    n = x.shape[axis_of(dim, x, "chunk")]
    return split(x, -(-n // chunks), dim) if n else split(x, [0] * chunks, dim)


def unbind(x: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of `x` at every index along `dim`, which goes away."""
    return _Unbind.apply(x, axis_of(dim, x, "unbind"))


def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """`cat` along dimension 1, or 0 for vectors; numbers count as vectors of one element."""
    xs = [reshape(x, (1,)) if x.ndim == 0 else x for x in _listed(tensors, "hstack")]
    return cat(xs, 0 if xs and xs[0].ndim == 1 else 1)


def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """`cat` along dimension 0; vectors count as rows."""
    return cat([reshape(x, (1, -1)) if x.ndim < 2 else x for x in _listed(tensors, "vstack")], 0)


def pad(x: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Adds elements around `x`.

    Args:
        pad: (before, after) of the last dimension, then of the one before it, and so on; negative numbers cut.
        mode: what is added: "constant" is `value`, "reflect" the elements mirrored at the first and at the last one,
            "replicate" the first or the last again and again, "circular" those of the other end.
        value: for "constant" alone; 0 by default.

    Raises:
        ValueError: an odd number of entries, more pairs than dimensions, a cut of more than there is, an unknown mode,
            a value with another mode than "constant", or more elements to mirror or to repeat than there are.
    """
    if len(pad) % 2 or len(pad) > 2 * x.ndim:
        raise ValueError(
            f"[pad] expected up to {x.ndim} pairs (before, after), last dimension first, "
            f"for shape {x.shape}, got {list(pad)}"
        )
    if mode == "constant":
        return _Pad.apply(x, *_sides(x, pad), 0 if value is None else value)
    if mode not in ("reflect", "replicate", "circular"):
        raise ValueError(f"[pad] mode must be 'constant', 'reflect', 'replicate' or 'circular', got {mode!r}")
    if value is not None:
        raise ValueError(f"[pad] mode {mode!r} takes no value, got {value}")
    for i, (before, after) in enumerate(zip(pad[0::2], pad[1::2], strict=True)):
        axis = x.ndim - 1 - i
        if before < 0 or after < 0:
            cut = [0] * (2 * i) + [min(before, 0), min(after, 0)]
            x = _Pad.apply(x, *_sides(x, cut), 0)
        if before > 0 or after > 0:
            x = _extended(x, axis, max(before, 0), max(after, 0), mode)
    return x


def _sides(x: Tensor, pad: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    untouched = (0,) * (x.ndim - len(pad) // 2)
    return untouched + tuple(pad[0::2])[::-1], untouched + tuple(pad[1::2])[::-1]


def _extended(x: Tensor, axis: int, before: int, after: int, mode: str) -> Tensor:
    n = x.shape[axis]
    most = {"reflect": n - 1, "replicate": before + after if n else 0, "circular": n}[mode]
    if max(before, after) > most:
        raise ValueError(
            f"[pad] mode {mode!r} can add at most {max(most, 0)} on each side of dimension {axis} of shape {x.shape}, "
            f"got {before} before and {after} after"
        )

    def part(begin: int, end: int) -> Tensor:
        return x[(slice(None),) * axis + (slice(begin, end),)]

    if mode == "reflect":
        parts = [ops.flip(part(1, before + 1), axis), x, ops.flip(part(n - 1 - after, n - 1), axis)]
    elif mode == "circular":
        parts = [part(n - before, n), x, part(0, after)]
    else:
        shape = [(*x.shape[:axis], k, *x.shape[axis + 1 :]) for k in (before, after)]
        parts = [ops.expand(part(0, 1), shape[0]), x, ops.expand(part(n - 1, n), shape[1])]
    return cat(parts, axis)


class JoinMethods:
    __slots__ = ()

    split = split
    chunk = chunk
    unbind = unbind
