"""Convolutions over sequences and volumes, by those over images: a sequence is an image of one row, and a volume is
cut into images that have the planes under the kernel as channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dlcore import _C, ops
from dlcore.ops.conv import same_padding, tuple_of

if TYPE_CHECKING:
    from dlcore.tensor import Tensor

__all__ = ["conv1d", "conv3d", "conv_transpose1d"]

NAMES = {1: ("(N, C, L)", "K"), 3: ("(N, C, D, H, W)", "KD, KH, KW")}
DIRECTIONS = {1: ("length",), 3: ("depth", "height", "width")}


def conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int] = 1,
    padding: int | tuple[int] | str = 0,
    dilation: int | tuple[int] = 1,
    groups: int = 1,
) -> Tensor:
    """Convolution (cross-correlation) of sequences.

    y[n, o, i] = bias[o] + sum over c, p of weight[o, c, p] * x[n, c, i * stride + p * dilation - padding]

    Args:
        x: (N, C, L), or (C, L) for one sequence.
        weight: (O, C / groups, K).
        bias: (O,), or None.
        stride, dilation, groups: as in `conv2d`.
        padding: zeros on each side; "valid" is none, "same" keeps L (stride 1).

    Returns:
        (N, O, OL), or without N where x has none, with OL = floor((L + 2 * padding - dilation * (K - 1) - 1) / stride)
        + 1. Twice differentiable.

    Raises:
        ValueError: shapes, groups or options that do not fit together; a kernel longer than the padded sequence.
        TypeError: not floating, or not one dtype.
    """
    if isinstance(x, _C.Tensor) and x.ndim == 2:
        return ops.squeeze(conv1d(ops.unsqueeze(x, 0), weight, bias, stride, padding, dilation, groups), 0)
    op = "conv1d"
    (step,), (spread,), (sides,) = _options(op, x, weight, bias, stride, padding, dilation, groups)
    if sides[0] != sides[1]:  # "same" with an even kernel
        x, sides = ops.pad(x, [0, sides[1] - sides[0]]), (sides[0], sides[0])
    rows, taps = ops.unsqueeze(x, 2), ops.unsqueeze(weight, 2)
    y = ops.conv2d(rows, taps, bias, (1, step), (0, sides[0]), (1, spread), groups)
    return ops.squeeze(y, 2)


def conv_transpose1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int] = 1,
    padding: int | tuple[int] = 0,
    output_padding: int | tuple[int] = 0,
    groups: int = 1,
    dilation: int | tuple[int] = 1,
) -> Tensor:
    """Transposed convolution of sequences: the adjoint of `conv1d` in x.

    Args:
        x: (N, C, L), or (C, L) for one sequence.
        weight: (C, O / groups, K).
        bias: (O,), or None.
        stride, padding, dilation, groups: of the convolution whose adjoint this is.
        output_padding: extra elements at the end, less than stride or dilation.

    Returns:
        (N, O, OL), or without N where x has none, with
        OL = (L - 1) * stride - 2 * padding + dilation * (K - 1) + output_padding + 1. Twice differentiable.

    Raises:
        ValueError: shapes, groups or options that do not fit together; a result without elements.
        TypeError: not floating, or not one dtype.
    """
    op = "conv_transpose1d"
    if isinstance(x, _C.Tensor) and x.ndim == 2:
        one = ops.unsqueeze(x, 0)
        return ops.squeeze(conv_transpose1d(one, weight, bias, stride, padding, output_padding, groups, dilation), 0)
    _check_shapes(op, x, weight, 1, "(C, O / groups, K)")
    (step,), (side,), (extra,), (spread,) = (
        tuple_of(v, 1, what, op)
        for what, v in {
            "stride": stride,
            "padding": padding,
            "output_padding": output_padding,
            "dilation": dilation,
        }.items()
    )
    if x.shape[1] != weight.shape[0]:
        raise ValueError(
            f"[{op}] expected dimension 0 of weight to be {x.shape[1]}, the channels of x, got {weight.shape[0]} "
            f"(x {x.shape}, weight {weight.shape})"
        )
    if not 0 <= extra < max(step, spread):
        raise ValueError(
            f"[{op}] output_padding must be at least 0 and less than stride or dilation, got {extra} with stride "
            f"{step} and dilation {spread}"
        )
    length = (x.shape[2] - 1) * step - 2 * side + spread * (weight.shape[2] - 1) + extra + 1
    if length < 1:
        raise ValueError(
            f"[{op}] the result would have {length} elements (x {x.shape}, weight {weight.shape}, stride {step}, "
            f"padding {side}, dilation {spread})"
        )
    _check_channels(op, x, groups, weight.shape[1] * groups, bias)
    rows, taps = ops.unsqueeze(x, 2), ops.unsqueeze(weight, 2)
    y = ops.conv_transpose2d(rows, taps, bias, (1, step), (0, side), (0, extra), groups, (1, spread))
    return ops.squeeze(y, 2)


def conv3d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, int, int] = 1,
    padding: int | tuple[int, int, int] | str = 0,
    dilation: int | tuple[int, int, int] = 1,
    groups: int = 1,
) -> Tensor:
    """Convolution (cross-correlation) of volumes.

    y[n, o, h, i, j] = bias[o] + sum over c, r, p, q of weight[o, c, r, p, q] * x[n, c, h * stride + r * dilation -
    padding, ...]

    Args:
        x: (N, C, D, H, W), or (C, D, H, W) for one volume.
        weight: (O, C / groups, KD, KH, KW).
        bias: (O,), or None.
        stride, dilation: one number or (depth, rows, columns); groups: as in `conv2d`.
        padding: zeros around the volume, one number or (depth, rows, columns); "valid" is none, "same" keeps the size
            (stride 1).

    Returns:
        (N, O, OD, OH, OW), or without N where x has none, with
        OD = floor((D + 2 * padding - dilation * (KD - 1) - 1) / stride) + 1. Twice differentiable.

    Raises:
        ValueError: shapes, groups or options that do not fit together; a kernel larger than the padded volume.
        TypeError: not floating, or not one dtype.
    """
    if isinstance(x, _C.Tensor) and x.ndim == 4:
        return ops.squeeze(conv3d(ops.unsqueeze(x, 0), weight, bias, stride, padding, dilation, groups), 0)
    steps, spread, sides = _options("conv3d", x, weight, bias, stride, padding, dilation, groups)
    widths = [0] * 4 + list(sides[0])
    for i in (1, 2):
        before, after = sides[i]
        if before != after:  # "same" with an even kernel
            widths[4 - 2 * i + 1] = after - before
    x = ops.pad(x, widths) if any(widths) else x
    made, c, KD, KH, KW = weight.shape
    N, C = x.shape[:2]
    OD = (x.shape[2] - spread[0] * (KD - 1) - 1) // steps[0] + 1
    last = (OD - 1) * steps[0] + 1
    planes = [x[:, :, r * spread[0] : r * spread[0] + last : steps[0]] for r in range(KD)]  # each (N, C, OD, H, W)
    images = ops.stack([ops.permute(p, (0, 2, 1, 3, 4)) for p in planes], 3)  # (N, OD, C, KD, H, W)
    y = ops.conv2d(
        ops.reshape(images, (N * OD, C * KD, *x.shape[3:])),
        ops.reshape(weight, (made, c * KD, KH, KW)),
        bias,
        steps[1:],
        (sides[1][0], sides[2][0]),
        spread[1:],
        groups,
    )
    y = ops.reshape(y, (N, OD, made, *y.shape[2:]))
    return ops.contiguous(ops.permute(y, (0, 2, 1, 3, 4)))


def _check_shapes(op: str, x: Any, weight: Any, n: int, weight_dims: str) -> None:
    for what, t, dims in (("x", x, NAMES[n][0]), ("weight", weight, weight_dims)):
        if not isinstance(t, _C.Tensor):
            raise TypeError(f"[{op}] expected {what} as a Tensor, got {type(t).__name__}")
        if t.ndim != n + 2:
            raise ValueError(f"[{op}] expected {what} with {n + 2} dimensions {dims}, got shape {t.shape}")


def _check_channels(op: str, x: Tensor, groups: int, made: int, bias: Tensor | None) -> None:
    if groups < 1:
        raise ValueError(f"[{op}] groups must be positive, got {groups}")
    if x.shape[1] % groups or made % groups:
        raise ValueError(f"[{op}] groups must divide {x.shape[1]} and {made} channels, got {groups}")
    if bias is not None and bias.shape != (made,):
        raise ValueError(f"[{op}] expected bias of shape {(made,)}, one number for each channel made, got {bias.shape}")


def _options(
    op: str, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> tuple[Any, Any, Any]:
    """stride and dilation, and the padding as (before, after), for each direction, once all fits together."""
    n = 1 if op == "conv1d" else 3
    _check_shapes(op, x, weight, n, f"(O, C / groups, {NAMES[n][1]})")
    _check_channels(op, x, groups, weight.shape[0], bias)
    if weight.shape[1] != x.shape[1] // groups:
        over = f" over {groups} groups" if groups > 1 else ""
        raise ValueError(
            f"[{op}] expected dimension 1 of weight to be {x.shape[1] // groups}, the channels of x{over}, got "
            f"{weight.shape[1]} (x {x.shape}, weight {weight.shape})"
        )
    steps, spread = tuple_of(stride, n, "stride", op), tuple_of(dilation, n, "dilation", op)
    for what, given, least in (("stride", steps, 1), ("dilation", spread, 1), ("the kernel", weight.shape[2:], 1)):
        if min(given) < least:
            raise ValueError(f"[{op}] {what} must be positive, got {given}")
    spans = [d * (k - 1) + 1 for d, k in zip(spread, weight.shape[2:], strict=True)]
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise ValueError(f"[{op}] padding must be 'same', 'valid', or numbers, got {padding!r}")
        if padding == "same" and set(steps) != {1}:
            raise ValueError(f"[{op}] padding 'same' needs stride 1, got {steps}; give the padding as numbers")
        sides = same_padding(weight.shape[2:], spread) if padding == "same" else [(0, 0)] * n
    else:
        sides = [(p, p) for p in tuple_of(padding, n, "padding", op)]
        if min(sides)[0] < 0:
            raise ValueError(f"[{op}] padding must be 0 or more, got {padding}")
    for name, size, (before, after), span in zip(DIRECTIONS[n], x.shape[2:], sides, spans, strict=True):
        if span > size + before + after:
            raise ValueError(
                f"[{op}] the kernel spans {span} in {name} and does not fit into the input's {size} with padding "
                f"{before} + {after} (x {x.shape}, weight {weight.shape}, dilation {spread})"
            )
    return steps, spread, sides
