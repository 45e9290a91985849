"""Images and sequences in another size."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from dlcore import _C, ops
from dlcore.autograd import Function
from dlcore.ops.creation import tensor

if TYPE_CHECKING:
    from dlcore.tensor import Tensor

__all__ = ["interpolate"]

MODES = {3: ("nearest", "nearest-exact", "linear"), 4: ("nearest", "nearest-exact", "bilinear")}
LARGEST = 1 << 20  # the kernel keeps a row in scratch memory

Places = tuple[Any, Any, Any]  # of a direction: the first and the second place, and the second's share or None


class _Interpolate(Function):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: Places, cols: Places) -> Tensor:
        ctx.save(size=x.shape[2:], rows=rows, cols=cols)
        return _C.interpolate_forward(x, rows, cols)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        return _InterpolateGradient.apply(dy, ctx.size, ctx.rows, ctx.cols), None, None


class _InterpolateGradient(Function):
    twice_differentiable = True

    @staticmethod
    def forward(ctx: Any, dy: Tensor, size: tuple[int, int], rows: Places, cols: Places) -> Tensor:
        ctx.save(rows=rows, cols=cols)
        return _C.interpolate_backward(dy, size, rows, cols)

    @staticmethod
    def backward(ctx: Any, ddx: Tensor) -> Any:
        return _Interpolate.apply(ddx, ctx.rows, ctx.cols), None, None, None


def interpolate(
    x: Tensor,
    size: int | tuple[int, ...] | None = None,
    scale_factor: float | tuple[float, ...] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """`x` in another size: every element of the result is read at its place in x, between the elements of x.

    Element i is read at i · scale ("nearest": the element there or before), at (i + ½) · scale ("nearest-exact"), or
    between the two next to (i + ½) · scale - ½ ("linear", "bilinear"), where scale is the old size over the new one or
    1 / scale_factor. With `align_corners` the first and the last elements stay in place, and scale is
    (old - 1) / (new - 1). Twice differentiable.

    Args:
        x: (N, C, L) or (N, C, H, W).
        size: L, or H and W, of the result; one number for both.
        scale_factor: instead of the size; the new size is floor(old · scale_factor).
        mode: "nearest", "nearest-exact", "linear" for sequences, "bilinear" for images.
        align_corners: for "linear" and "bilinear" alone; False by default.

    Raises:
        ValueError: another number of dimensions, both or none of size and scale_factor, a mode that does not exist or
            does not fit, a size below 1.
        TypeError: not a floating dtype.
    """
    if not isinstance(x, _C.Tensor):
        raise TypeError(f"[interpolate] expected a Tensor, got {type(x).__name__}")
    if x.ndim not in MODES:
        raise ValueError(f"[interpolate] expected x with dimensions (N, C, L) or (N, C, H, W), got shape {x.shape}")
    if mode not in MODES[x.ndim]:
        raise ValueError(f"[interpolate] mode must be one of {MODES[x.ndim]} for {x.ndim} dimensions, got {mode!r}")
    if align_corners is not None and "linear" not in mode:
        raise ValueError(f"[interpolate] align_corners is for 'linear' and 'bilinear', got mode {mode!r}")
    if (size is None) == (scale_factor is None):
        raise ValueError(
            f"[interpolate] expected size or scale_factor, got size {size} and scale_factor {scale_factor}"
        )
    if x.ndim == 3:
        row, where = ops.unsqueeze(x, 2), _places(x.shape[2:], size, scale_factor, mode, bool(align_corners))
        same = tensor([0], dtype=_C.int32)
        return ops.squeeze(_Interpolate.apply(row, (same, same, None), where[0]), 2)
    rows, cols = _places(x.shape[2:], size, scale_factor, mode, bool(align_corners))
    return _Interpolate.apply(x, rows, cols)


def _places(old: tuple[int, ...], size: Any, scale_factor: Any, mode: str, align_corners: bool) -> list[Places]:
    given, what = (scale_factor, "scale_factor") if size is None else (size, "size")
    each = (given,) * len(old) if isinstance(given, (int, float)) else tuple(given)
    kinds = (int,) if scale_factor is None else (int, float)
    if len(each) != len(old) or not all(isinstance(v, kinds) and v > 0 for v in each):
        raise ValueError(f"[interpolate] {what} must be a positive number or {len(old)} of them, got {given}")
    new: list[Any] = [math.floor(n * s) for n, s in zip(old, each, strict=True)] if size is None else list(each)
    if not 1 <= min(*old, *new) <= max(*old, *new) < LARGEST:
        raise ValueError(f"[interpolate] sizes must be at least 1 and below 2^20, got {old} to be made {tuple(new)}")
    scales = [1 / s for s in each] if size is None else [n / m for n, m in zip(old, new, strict=True)]
    return [_direction(n, m, s, mode, align_corners) for n, m, s in zip(old, new, scales, strict=True)]


def _direction(old: int, new: int, scale: float, mode: str, align_corners: bool) -> Places:
    i = np.arange(new)
    if "nearest" in mode:
        # In float32, as PyTorch counts: at whole numbers the rounding decides which element is meant.
        at = np.float32(scale) * (i + (0.5 if mode == "nearest-exact" else 0)).astype(np.float32)
        first = tensor(np.minimum(at.astype(np.int32), old - 1))
        return first, first, None
    if align_corners:
        at = i * (old - 1) / max(new - 1, 1)
    else:
        at = np.maximum(scale * (i + 0.5) - 0.5, 0)
    first = np.minimum(at.astype(np.int32), old - 1)
    second = np.minimum(first + 1, old - 1)
    return tensor(first), tensor(second.astype(np.int32)), tensor(np.minimum(at - first, 1.0))
