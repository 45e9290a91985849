"""Pooling of sequences and volumes, by that of images: a sequence is an image of one row, and the largest and the mean
of a box are found plane by plane and then along the depth. And the largest over a grid of tiles."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from dlcore import _C, ops
from dlcore.ops.conv import tuple_of

if TYPE_CHECKING:
    from dlcore.tensor import Tensor

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "avg_pool1d",
    "avg_pool3d",
    "max_pool1d",
    "max_pool3d",
]

One = int | tuple[int]
Three = int | tuple[int, int, int]
DIMENSIONS = {1: "(N, C, L) or (C, L)", 2: "(N, C, H, W) or (C, H, W)", 3: "(N, C, D, H, W) or (C, D, H, W)"}


def max_pool1d(
    x: Tensor,
    kernel_size: One,
    stride: One | None = None,
    padding: One = 0,
    dilation: One = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window of each sequence; NaN, padding and equal elements as in `max_pool2d`.

    Args:
        x: (N, C, L) or (C, L).
        kernel_size, stride, padding, dilation, ceil_mode: as in `max_pool2d`, with one number each.
        return_indices: return (y, indices), the places within the sequence.

    Returns:
        (N, C, OL) with OL = floor((L + 2 * padding - dilation * (kernel_size - 1) - 1) / stride) + 1. Twice
        differentiable.

    Raises:
        ValueError: options that do not fit together, or a window longer than the padded sequence.
        TypeError: not a floating dtype.
    """
    (k,), (s,), (p,), (d,) = _windows("max_pool1d", x, kernel_size, stride, padding, dilation)
    y = ops.max_pool2d(ops.unsqueeze(x, -2), (1, k), (1, s), (0, p), (1, d), ceil_mode, return_indices)
    return tuple(ops.squeeze(t, -2) for t in y) if return_indices else ops.squeeze(y, -2)


def max_pool3d(
    x: Tensor,
    kernel_size: Three,
    stride: Three | None = None,
    padding: Three = 0,
    dilation: Three = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """The largest element of each box of each volume; NaN, padding and equal elements as in `max_pool2d`.

    Args:
        x: (N, C, D, H, W) or (C, D, H, W).
        kernel_size, stride, padding, dilation: as in `max_pool2d`, one number or (depth, rows, columns).
        ceil_mode: as in `max_pool2d`.

    Returns:
        (N, C, OD, OH, OW), each size as in `max_pool2d`. Twice differentiable.

    Raises:
        ValueError: options that do not fit together, or a box larger than the padded volume.
        TypeError: not a floating dtype.
    """
    k, s, p, d = _windows("max_pool3d", x, kernel_size, stride, padding, dilation)
    y = ops.max_pool2d(_volumes(x), k[1:], s[1:], p[1:], d[1:], ceil_mode)
    deep = ops.max_pool2d(_flat(y), (k[0], 1), (s[0], 1), (p[0], 0), (d[0], 1), ceil_mode)
    return ops.reshape(deep, (*x.shape[:-3], deep.shape[-2], *y.shape[-2:]))


def avg_pool1d(
    x: Tensor,
    kernel_size: One,
    stride: One | None = None,
    padding: One = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The average of each window of each sequence, with zeros around it. Twice differentiable.

    Args:
        x: (N, C, L) or (C, L).
        kernel_size, stride, padding, ceil_mode, count_include_pad: as in `avg_pool2d`, with one number each.

    Raises:
        ValueError: options that do not fit together, or a window longer than the padded sequence.
        TypeError: not a floating dtype.
    """
    (k,), (s,), (p,), _ = _windows("avg_pool1d", x, kernel_size, stride, padding, 1)
    return ops.squeeze(ops.avg_pool2d(ops.unsqueeze(x, -2), (1, k), (1, s), (0, p), ceil_mode, count_include_pad), -2)


def avg_pool3d(
    x: Tensor,
    kernel_size: Three,
    stride: Three | None = None,
    padding: Three = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The average of each box of each volume, with zeros around it. Twice differentiable.

    Args:
        x: (N, C, D, H, W) or (C, D, H, W).
        kernel_size, stride, padding: as in `avg_pool2d`, one number or (depth, rows, columns).
        ceil_mode, count_include_pad, divisor_override: as in `avg_pool2d`.

    Raises:
        ValueError: options that do not fit together, or a box larger than the padded volume.
        TypeError: not a floating dtype.
    """
    k, s, p, _ = _windows("avg_pool3d", x, kernel_size, stride, padding, 1)
    options = (ceil_mode, count_include_pad)
    y = ops.avg_pool2d(_volumes(x), k[1:], s[1:], p[1:], *options, None if divisor_override is None else 1)
    deep = ops.avg_pool2d(_flat(y), (k[0], 1), (s[0], 1), (p[0], 0), *options, divisor_override)
    return ops.reshape(deep, (*x.shape[:-3], deep.shape[-2], *y.shape[-2:]))


def adaptive_avg_pool1d(x: Tensor, output_size: One) -> Tensor:
    """Averages over `output_size` tiles that cover each sequence; see `adaptive_avg_pool2d`.

    Args:
        x: (N, C, L) or (C, L).

    Raises:
        ValueError: a size that is not positive.
        TypeError: not a floating dtype.
    """
    (size,) = _sizes("adaptive_avg_pool1d", x, output_size, 1)
    return ops.squeeze(ops.adaptive_avg_pool2d(ops.unsqueeze(x, -2), (1, size)), -2)


def adaptive_avg_pool3d(x: Tensor, output_size: int | tuple[int | None, int | None, int | None]) -> Tensor:
    """Averages over a grid of OD x OH x OW tiles that cover each volume; see `adaptive_avg_pool2d`.

    Args:
        x: (N, C, D, H, W) or (C, D, H, W).
        output_size: OD, OH and OW, one number or three; None keeps the size of x.

    Raises:
        ValueError: sizes that are not positive.
        TypeError: not a floating dtype.
    """
    size = _sizes("adaptive_avg_pool3d", x, output_size, 3)
    return _by_planes(x, size, ops.adaptive_avg_pool2d)


def adaptive_max_pool1d(x: Tensor, output_size: One, return_indices: bool = False) -> Any:
    """The largest elements of `output_size` tiles that cover each sequence; see `adaptive_max_pool2d`.

    Args:
        x: (N, C, L) or (C, L).
        return_indices: return (y, indices), the places within the sequence.

    Raises:
        ValueError: a size that is not positive.
        TypeError: not a floating dtype.
    """
    (size,) = _sizes("adaptive_max_pool1d", x, output_size, 1)
    y = _max_of_tiles(ops.unsqueeze(x, -2), (1, size), return_indices)
    return tuple(ops.squeeze(t, -2) for t in y) if return_indices else ops.squeeze(y, -2)


def adaptive_max_pool2d(
    x: Tensor, output_size: int | tuple[int | None, int | None], return_indices: bool = False
) -> Any:
    """The largest elements of a grid of OH x OW tiles that cover each plane, the tiles of `adaptive_avg_pool2d`.

    NaN counts as the largest; the gradient goes to the first of several equal elements. Twice differentiable.

    Args:
        x: (N, C, H, W) or (C, H, W).
        output_size: OH and OW, one number or (rows, columns); None keeps the size of x.
        return_indices: return (y, indices), where an index is row * W + column within the plane.

    Raises:
        ValueError: sizes that are not positive.
        TypeError: not a floating dtype.
    """
    return _max_of_tiles(x, _sizes("adaptive_max_pool2d", x, output_size, 2), return_indices)


def adaptive_max_pool3d(x: Tensor, output_size: int | tuple[int | None, int | None, int | None]) -> Tensor:
    """The largest elements of a grid of OD x OH x OW tiles that cover each volume; see `adaptive_max_pool2d`.

    Args:
        x: (N, C, D, H, W) or (C, D, H, W).
        output_size: OD, OH and OW, one number or three; None keeps the size of x.

    Raises:
        ValueError: sizes that are not positive.
        TypeError: not a floating dtype.
    """
    size = _sizes("adaptive_max_pool3d", x, output_size, 3)
    return _by_planes(x, size, _max_of_tiles)


def _volumes(x: Tensor) -> Tensor:
    """(N * C, D, H, W)."""
    return ops.reshape(x, (int(np.prod(x.shape[:-3])), *x.shape[-3:]))


def _flat(x: Tensor) -> Tensor:
    """(N * C, D, H * W): planes whose rows are the depth."""
    return ops.reshape(x, (*x.shape[:2], x.shape[2] * x.shape[3]))


def _by_planes(x: Tensor, size: tuple[int, ...], pool: Callable[[Tensor, Any], Tensor]) -> Tensor:
    """A grid of tiles that is pooled plane by plane and then along the depth."""
    deep = pool(_flat(pool(_volumes(x), size[1:])), (size[0], size[1] * size[2]))
    return ops.reshape(deep, (*x.shape[:-3], *size))


def _check_shape(op: str, x: Any, n: int) -> None:
    if not isinstance(x, _C.Tensor):
        raise TypeError(f"[{op}] expected a Tensor, got {type(x).__name__}")
    if x.ndim not in (n + 1, n + 2):
        raise ValueError(f"[{op}] expected x with dimensions {DIMENSIONS[n]}, got shape {x.shape}")
    if 0 in x.shape[-n:]:
        raise ValueError(f"[{op}] expected at least one element in each direction, got shape {x.shape}")


def _windows(op: str, x: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any) -> list[Any]:
    """kernel_size, stride, padding and dilation for each direction, once all fits together."""
    n = int(op[-2])
    _check_shape(op, x, n)
    kernel, step, side, spread = (
        tuple_of(v, n, what, op)
        for v, what in (
            (kernel_size, "kernel_size"),
            (kernel_size if stride is None else stride, "stride"),
            (padding, "padding"),
            (dilation, "dilation"),
        )
    )
    for what, given, least in (
        ("kernel_size", kernel, 1),
        ("stride", step, 1),
        ("padding", side, 0),
        ("dilation", spread, 1),
    ):
        if min(given) < least:
            raise ValueError(f"[{op}] {what} must be {'positive' if least else '0 or more'}, got {given}")
    for size, k, p, d in zip(x.shape[-n:], kernel, side, spread, strict=True):
        span = (k - 1) * d + 1
        if p > span // 2:
            raise ValueError(
                f"[{op}] padding must be at most half the kernel, got padding {side} and kernel size {kernel}"
            )
        if span > size + 2 * p:
            raise ValueError(
                f"[{op}] a window that spans {span} does not fit into {size} elements with padding {p} (x {x.shape}, "
                f"kernel size {kernel}, dilation {spread})"
            )
    return [kernel, step, side, spread]


def _sizes(op: str, x: Any, output_size: Any, n: int) -> tuple[int, ...]:
    _check_shape(op, x, n)
    if isinstance(output_size, (tuple, list)) and len(output_size) == n:
        output_size = tuple(
            have if want is None else want for want, have in zip(output_size, x.shape[-n:], strict=True)
        )
    size = tuple_of(output_size, n, "output_size", op)
    if min(size) < 1:
        raise ValueError(f"[{op}] output_size must be positive, got {size}")
    return size


def _tiles(n: int, tiles: int) -> np.ndarray:
    """(tiles, longest): the elements of each tile, a shorter tile's last one repeated."""
    begin = np.arange(tiles) * n // tiles
    end = -(-(np.arange(tiles) + 1) * n // tiles)
    return np.minimum(begin[:, None] + np.arange((end - begin).max()), end[:, None] - 1)


def _max_of_tiles(x: Tensor, size: tuple[int, ...], return_indices: bool = False) -> Any:
    """Windows of one size, once shorter tiles repeat their last row or column. The repeated come after, so that the
    first of equal elements stays the first."""
    places = [_tiles(n, tiles) for n, tiles in zip(x.shape[-2:], size, strict=True)]
    spread = x
    for axis, at in zip((-2, -1), places, strict=True):
        if at.size != x.shape[axis]:
            spread = ops.index_select(spread, axis, ops.tensor(at.reshape(-1)))
    window = (places[0].shape[1], places[1].shape[1])
    if not return_indices:
        return ops.max_pool2d(spread, window)
    y, index = ops.max_pool2d(spread, window, return_indices=True)
    rows, cols = (ops.tensor(at.reshape(-1)) for at in places)
    columns = spread.shape[-1]
    at_row, at_col = (ops.reshape(i, (-1,)) for i in (index // columns, index % columns))
    found = ops.index_select(rows, 0, at_row) * x.shape[-1] + ops.index_select(cols, 0, at_col)
    return y, ops.reshape(found, index.shape)
