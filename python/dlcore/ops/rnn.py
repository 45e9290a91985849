"""Recurrent layers over whole sequences: the inputs of many steps in one matrix product, the recurrence in one kernel
with its gates fused, the gradients of the weights from many steps at a time."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from dlcore import _C, ops
from dlcore.amp import raised
from dlcore.autograd import Function
from dlcore.state import is_grad_enabled

if TYPE_CHECKING:
    from dlcore.tensor import Tensor

__all__ = ["gru_layer", "lstm_layer", "rnn_layer"]

GATES = {"tanh": 1, "relu": 1, "lstm": 4, "gru": 3}


class _Recurrence(Function):
    """forward(cell, x, w_ih, w_hh, b_ih, b_hh, h0, c0, sizes, reverse) gives y, h_n and, with lstm, c_n."""

    @property
    def name(self) -> str:
        return f"{getattr(self, 'cell', 'rnn')} layer"

    @staticmethod
    def forward(
        ctx: Any,
        cell: str,
        x: Tensor,
        w_ih: Tensor,
        w_hh: Tensor,
        b_ih: Tensor | None,
        b_hh: Tensor | None,
        h0: Tensor,
        c0: Tensor | None,
        sizes: list[int],
        reverse: bool,
    ) -> Any:
        bias, b_n = _biases(cell, b_ih, b_hh)
        rows = _C.view(_C.contiguous(x), (prod(x.shape[:-1]), x.shape[-1]))
        inputs = (x, w_ih, w_hh, b_ih, b_hh, h0, c0)
        keep = is_grad_enabled() and any(t is not None and t.requires_grad for t in inputs)
        y, prev, h_n, c_n, gates, saved = _C.rnn_forward(
            cell, rows, w_ih, w_hh, bias, b_n, h0, c0, sizes, reverse, keep
        )
        y = _C.view(y, (*x.shape[:-1], y.shape[-1]))
        if keep:
            optional = [t for t in (saved, c0) if t is not None]
            ctx.save(rows, w_ih, w_hh, gates, y, prev, *optional, cell=cell, sizes=sizes, reverse=reverse)
            ctx.x_shape = x.shape
        return (y, h_n) if c_n is None else (y, h_n, c_n)

    @staticmethod
    def backward(ctx: Any, dy: Tensor, dh_n: Tensor, dc_n: Tensor | None = None) -> Any:
        rows, w_ih, w_hh, gates, y, prev, *rest = ctx.saved
        saved, c0 = (*rest, None, None)[:2]
        _, *need, _, _, _, _, _, _ = ctx.needs_input_grad
        dx, dw_ih, dw_hh, db, dh0, dc0 = _C.rnn_backward(
            ctx.cell, rows, w_ih, w_hh, gates, saved, y, prev, c0, dy, dh_n, dc_n, ctx.sizes, ctx.reverse, *need
        )
        db_ih = db_hh = db
        if ctx.cell == "gru":  # of r, z, n and of h's part of n
            H = prev.shape[-1]
            db_ih = _C.slice(db, 0, 0, 3 * H, 1)
            db_hh = _C.cat([_C.slice(db, 0, 0, 2 * H, 1), _C.slice(db, 0, 3 * H, 4 * H, 1)], 0)
        dx = None if dx is None else _C.view(dx, ctx.x_shape)
        return None, dx, dw_ih, dw_hh, db_ih, db_hh, dh0, dc0, None, None


def _biases(cell: str, b_ih: Tensor | None, b_hh: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """What the product with the input adds, and what only gru's kernel can."""
    if b_hh is None:
        return b_ih, None
    b_n = None
    if cell == "gru":
        H = b_hh.shape[0] // 3
        b_n = _C.slice(b_hh, 0, 2 * H, 3 * H, 1)
        b_hh = _C.cat([_C.slice(b_hh, 0, 0, 2 * H, 1), _C.zeros((H,), b_hh.dtype, b_hh.device)], 0)
    return (b_hh if b_ih is None else _C.add(b_ih, b_hh)), b_n


def lstm_layer(
    x: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
    h0: Tensor | None = None,
    c0: Tensor | None = None,
    *,
    batch_sizes: Sequence[int] | None = None,
    reverse: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """One direction of one layer of long short-term memory, over whole sequences.

    With pre = x_t w_ihᵀ + b_ih + h w_hhᵀ + b_hh in four parts:
    i, f, o = sigmoid(pre_i, pre_f, pre_o), g = tanh(pre_g), c' = f c + i g, h' = o tanh(c').

    Args:
        x: (T, B, I), or (rows, I) with `batch_sizes`.
        w_ih, w_hh: (4H, I) and (4H, H), the parts i, f, g, o one below the other.
        b_ih, b_hh: (4H,), or None for 0.
        h0, c0: (B, H), or None for 0.
        batch_sizes: how many sequences each step has, never more than the step before; `x` then holds the rows of the
            first step, of the second, and so on. See `dlcore.nn.utils.rnn.pack_padded_sequence`.
        reverse: from each sequence's last step to its first.

    Returns:
        y (T, B, H), or (rows, H): h after each step, in the order of `x`; and the last h and c, (B, H).
        bfloat16 is computed in float32 and rounded at the end. There are no second derivatives.

    Raises:
        ValueError: shapes that do not fit, no steps, or batch_sizes that grow or do not add up to the rows.
        TypeError: dtypes that differ or are not floating.

    Source: S. Hochreiter, J. Schmidhuber, "Long short-term memory", 1997; F. Gers et al., "Learning to forget", 1999.
    """
    y, h_n, c_n = _run("lstm_layer", "lstm", x, w_ih, w_hh, b_ih, b_hh, h0, c0, batch_sizes, reverse)
    return y, h_n, c_n


def gru_layer(
    x: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
    h0: Tensor | None = None,
    *,
    batch_sizes: Sequence[int] | None = None,
    reverse: bool = False,
) -> tuple[Tensor, Tensor]:
    """One direction of one layer of gated recurrent units, over whole sequences.

    r, z = sigmoid(w_ih x_t + b_ih + w_hh h + b_hh), n = tanh(w_in x_t + b_in + r (w_hn h + b_hn)),
    h' = (1 - z) n + z h.

    Args:
        x: (T, B, I), or (rows, I) with `batch_sizes`.
        w_ih, w_hh: (3H, I) and (3H, H), the parts r, z, n one below the other.
        b_ih, b_hh: (3H,), or None for 0.
        h0: (B, H), or None for 0.
        batch_sizes, reverse: as in `lstm_layer`.

    Returns:
        y (T, B, H), or (rows, H), and the last h, (B, H).

    Raises:
        ValueError: shapes that do not fit, no steps, or batch_sizes that grow or do not add up to the rows.
        TypeError: dtypes that differ or are not floating.

    Source: K. Cho et al., "Learning phrase representations using RNN encoder-decoder", 2014; r scales the product with
    h as in cuDNN and PyTorch.
    """
    y, h_n = _run("gru_layer", "gru", x, w_ih, w_hh, b_ih, b_hh, h0, None, batch_sizes, reverse)
    return y, h_n


def rnn_layer(
    x: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
    h0: Tensor | None = None,
    *,
    nonlinearity: str = "tanh",
    batch_sizes: Sequence[int] | None = None,
    reverse: bool = False,
) -> tuple[Tensor, Tensor]:
    """One direction of one layer of h' = f(w_ih x_t + b_ih + w_hh h + b_hh), over whole sequences.

    Args:
        x: (T, B, I), or (rows, I) with `batch_sizes`.
        w_ih, w_hh: (H, I) and (H, H).
        b_ih, b_hh: (H,), or None for 0.
        h0: (B, H), or None for 0.
        nonlinearity: f, "tanh" or "relu".
        batch_sizes, reverse: as in `lstm_layer`.

    Returns:
        y (T, B, H), or (rows, H), and the last h, (B, H).

    Raises:
        ValueError: shapes that do not fit, no steps, another nonlinearity, or batch_sizes that grow or do not add up
            to the rows.
        TypeError: dtypes that differ or are not floating.

    Source: J. Elman, "Finding structure in time", 1990.
    """
    if nonlinearity not in ("tanh", "relu"):
        raise ValueError(f"[rnn_layer] expected nonlinearity 'tanh' or 'relu', got {nonlinearity!r}")
    y, h_n = _run("rnn_layer", nonlinearity, x, w_ih, w_hh, b_ih, b_hh, h0, None, batch_sizes, reverse)
    return y, h_n


def _run(
    op: str,
    cell: str,
    x: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    h0: Tensor | None,
    c0: Tensor | None,
    batch_sizes: Sequence[int] | None,
    reverse: bool,
) -> Any:
    x, w_ih, w_hh, b_ih, b_hh, h0, c0 = raised(x, w_ih, w_hh, b_ih, b_hh, h0, c0)
    sizes = _check_sizes(op, x, batch_sizes)
    gates, B = GATES[cell], sizes[0]
    if w_hh.ndim != 2 or w_hh.shape[0] != gates * w_hh.shape[1]:
        raise ValueError(f"[{op}] expected w_hh of shape ({_times(gates, 'H')}, H), got {w_hh.shape}")
    H = w_hh.shape[1]
    expected = {
        "w_ih": (w_ih, (gates * H, x.shape[-1])),
        "b_ih": (b_ih, (gates * H,)),
        "b_hh": (b_hh, (gates * H,)),
        "h0": (h0, (B, H)),
        "c0": (c0, (B, H)),
    }
    for name, (t, shape) in expected.items():
        if t is not None and t.shape != shape:
            raise ValueError(f"[{op}] expected {name} of shape {shape} for x {x.shape} and H = {H}, got {t.shape}")
    given = {"x": x, "w_hh": w_hh, **{name: t for name, (t, _) in expected.items() if t is not None}}
    if not x.dtype.is_floating_point:
        raise TypeError(f"[{op}] expected a floating dtype, got {x.dtype!r} of shape {x.shape}")
    for name, t in given.items():
        if t.dtype is not x.dtype:
            raise TypeError(f"[{op}] expected {name} of the input's dtype {x.dtype!r}, got {t.dtype!r}")
    if h0 is None:
        h0 = _C.zeros((B, H), x.dtype, x.device)
    if c0 is None and cell == "lstm":
        c0 = _C.zeros((B, H), x.dtype, x.device)
    args: Any = (x, w_ih, w_hh, b_ih, b_hh, h0, c0)
    if x.dtype is not _C.bfloat16:
        return _Recurrence.apply(cell, *args, sizes, bool(reverse))
    args = [None if t is None else ops.cast(t, _C.float32) for t in args]
    return tuple(ops.cast(t, _C.bfloat16) for t in _Recurrence.apply(cell, *args, sizes, bool(reverse)))


def _times(n: int, letter: str) -> str:
    return letter if n == 1 else f"{n}{letter}"


def _check_sizes(op: str, x: Tensor, batch_sizes: Sequence[int] | None) -> list[int]:
    """The number of sequences of each step."""
    if batch_sizes is None:
        if x.ndim != 3:
            raise ValueError(f"[{op}] expected x of shape (T, B, I), or (rows, I) with batch_sizes, got {x.shape}")
        if x.shape[0] == 0:
            raise ValueError(f"[{op}] expected at least one step, got x of shape {x.shape}")
        return [x.shape[1]] * x.shape[0]
    sizes = [int(n) for n in batch_sizes]
    if x.ndim != 2:
        raise ValueError(f"[{op}] expected x of shape (rows, I) with batch_sizes, got {x.shape}")
    if not sizes or sizes[-1] < 1 or any(b > a for a, b in zip(sizes, sizes[1:], strict=False)):
        raise ValueError(f"[{op}] expected batch_sizes of at least 1 that never grow, got {sizes}")
    if sum(sizes) != x.shape[0]:
        raise ValueError(f"[{op}] expected batch_sizes that add up to the {x.shape[0]} rows of x, got {sum(sizes)}")
    return sizes
