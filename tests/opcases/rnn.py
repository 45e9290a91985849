"""Recurrent layers against the formulas, step by step in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

import dlcore as dl
from tests.opcases import Eps, Fails, OpCase, Rand, Sample


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def lstm_cell(a: Any, b: Any, h: Any, c: Any) -> Any:
    """From the input's share of the gates, the hidden state's, and the states before."""
    i, f, g, o = np.split(a + b, 4, -1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru_cell(a: Any, b: Any, h: Any, c: Any) -> Any:
    (ar, az, an), (br, bz, bn) = np.split(a, 3, -1), np.split(b, 3, -1)
    z = sigmoid(az + bz)
    return (1 - z) * np.tanh(an + sigmoid(ar + br) * bn) + z * h, c


def tanh_cell(a: Any, b: Any, h: Any, c: Any) -> Any:
    return np.tanh(a + b), c


def relu_cell(a: Any, b: Any, h: Any, c: Any) -> Any:
    return np.maximum(a + b, 0), c


def layer(cell: Any, x: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, h0: Any, c0: Any, sizes: Any, reverse: bool):
    H = w_hh.shape[1]
    sizes = [x.shape[1]] * x.shape[0] if sizes is None else sizes
    ends = np.cumsum(sizes, dtype=int)
    rows = x.reshape(ends[-1], x.shape[-1])
    h, c = (np.zeros((sizes[0], H), x.dtype) if s is None else s.copy() for s in (h0, c0))
    y = np.zeros((len(rows), H), x.dtype)
    for n, end in list(zip(sizes, ends, strict=True))[:: -1 if reverse else 1]:
        a = rows[end - n : end] @ w_ih.T + (0 if b_ih is None else b_ih)
        b = h[:n] @ w_hh.T + (0 if b_hh is None else b_hh)
        h[:n], c[:n] = cell(a, b, h[:n], c[:n])
        y[end - n : end] = h[:n]
    return y.reshape(*x.shape[:-1], H), h, c


def reference(cell: Any) -> Any:
    def call(x, w_ih, w_hh, b_ih=None, b_hh=None, h0=None, c0=None, batch_sizes=None, reverse=False, **_: Any) -> Any:
        y, h_n, c_n = layer(cell, x, w_ih, w_hh, b_ih, b_hh, h0, c0, batch_sizes, reverse)
        return (y, h_n, c_n) if cell is lstm_cell else (y, h_n)

    return call


def magnitude(cell: Any) -> Any:
    """Each output's share of what rounds: the terms of the pre-activations, which a step's derivative, of at most
    about 1, hands on to the steps after it."""

    def call(x, w_ih, w_hh, b_ih=None, b_hh=None, h0=None, c0=None, **kwargs: Any) -> Any:
        out = reference(cell)(x, w_ih, w_hh, b_ih, b_hh, h0, c0, **kwargs)
        state = 1 + max(np.abs(o).max(initial=0) for o in out)
        terms = 1 + np.abs(w_ih).sum(-1).max(initial=0) * np.abs(x).max(initial=0) / 2
        terms = terms + np.abs(w_hh).sum(-1).max(initial=0) * state / 2
        return [np.full(o.shape, state * terms) for o in out]

    return call


def draw(gates: int, shape: Any, H: int, *, bias: bool = True, initial: int = 0, scale: float = 0.4, **kwargs: Any):
    """x, weights small enough that no unit saturates, and `initial` of h0, c0."""
    B = shape[1] if len(shape) == 3 else kwargs["batch_sizes"][0]
    rng = np.random.default_rng(H)

    def weight(*size: int) -> Any:
        return (scale * rng.standard_normal(size)).astype(np.float32)

    for name in ("h0", "c0")[:initial]:
        kwargs[name] = rng.standard_normal((B, H)).astype(np.float32)
    if bias:
        kwargs |= {"b_ih": weight(gates * H), "b_hh": weight(gates * H)}
    return Sample(shape, weight(gates * H, shape[-1]), weight(gates * H, H), **kwargs)


def samples(gates: int, initial: int) -> list[Sample]:
    def make(*args: Any, **kwargs: Any) -> Sample:
        return draw(gates, *args, **kwargs)

    return [
        make((3, 2, 4), 5, initial=initial),
        make((5, 1, 3), 1, bias=False),
        make((4, 15, 2), 3, initial=initial),
        make((2, 3, 5), 16, initial=1),
        make((3, 2, 3), 17, initial=initial, reverse=True),
        make((2, 3, 4), 33, bias=False, reverse=True, scale=0.2),
        make((1, 2, 3), 8, initial=initial),
        make((9, 4), 5, initial=initial, batch_sizes=[4, 2, 2, 1]),
        make((9, 4), 7, initial=initial, batch_sizes=[4, 2, 2, 1], reverse=True),
        make((6, 3), 4, batch_sizes=[3, 3]),
        # More rows than are taken at a time.
        make((70, 16, 3), 3, initial=initial),
        make((1120, 2), 2, initial=initial, batch_sizes=[16] * 60 + [8] * 20, reverse=True),
    ]


def edges(gates: int) -> list[Sample]:
    return [
        draw(gates, (2, 0, 3), 4),
        draw(gates, (2, 2, 0), 4),
        draw(gates, (3, 2, 4), 5, scale=100.0),
    ]


def errors(op: str, gates: int) -> list[Fails]:
    x, w_ih, w_hh = (3, 2, 4), (gates * 5, 4), (gates * 5, 5)
    several = f"{gates}H" if gates > 1 else "H"
    odd = (gates * 5 + 1, 5)

    def fails(*args: Any, text: str, **kwargs: Any) -> Fails:
        return Fails(*args, text=f"[{op}] {text}", **kwargs)

    return [
        fails((3, 4), w_ih, w_hh, text="expected x of shape (T, B, I), or (rows, I) with batch_sizes, got (3, 4)"),
        fails((0, 2, 4), w_ih, w_hh, text="expected at least one step, got x of shape (0, 2, 4)"),
        fails(x, w_ih, odd, text=f"expected w_hh of shape ({several}, H), got {odd}"),
        fails(
            (3, 2, 3), w_ih, w_hh, text=f"expected w_ih of shape ({gates * 5}, 3) for x (3, 2, 3) and H = 5, got {w_ih}"
        ),
        fails(x, w_ih, w_hh, b_ih=Rand((4,)), text=f"expected b_ih of shape ({gates * 5},) for x"),
        fails(x, w_ih, w_hh, b_hh=Rand((1, gates * 5)), text=f"expected b_hh of shape ({gates * 5},) for x"),
        fails(x, w_ih, w_hh, h0=Rand((5,)), text="expected h0 of shape (2, 5) for x (3, 2, 4) and H = 5, got (5,)"),
        fails(x, w_ih, w_hh, batch_sizes=[3, 3], text="expected x of shape (rows, I) with batch_sizes, got (3, 2, 4)"),
        fails((5, 4), w_ih, w_hh, batch_sizes=[2, 3], text="expected batch_sizes of at least 1 that never grow, got ["),
        fails(
            (5, 4), w_ih, w_hh, batch_sizes=[3, 1], text="expected batch_sizes that add up to the 5 rows of x, got 4"
        ),
        fails(Rand(x, "int64"), w_ih, w_hh, error=TypeError, text="expected a floating dtype, got dlcore.int64"),
        fails(
            x,
            Rand(w_ih, "float64"),
            w_hh,
            error=TypeError,
            text="expected w_ih of the input's dtype dlcore.float32, got",
        ),
    ]


BENCH = {"t128_b32_h256": (128, 32, 256, 256), "t32_b16_h64": (32, 16, 64, 64), "t32_b64_h512": (32, 64, 512, 512)}


def case(name: str, op: Any, cell: Any, gates: int, initial: int = 1) -> OpCase:
    def flops(x: Any, w_ih: Any, w_hh: Any, *_: Any, **__: Any) -> float:
        return 2.0 * x.shape[0] * x.shape[1] * (w_ih.size + w_hh.size)

    return OpCase(
        name,
        op=op,
        reference=reference(cell),
        magnitude=magnitude(cell),
        samples=samples(gates, initial),
        edges=edges(gates),
        errors=errors(name.split(":")[0], gates),
        eps=Eps(forward=8, backward=256),
        big=[
            draw(gates, (40, 33, 40), 130, initial=initial, scale=0.1),
            draw(gates, (300, 20), 200, scale=0.1, batch_sizes=[20] * 10 + [10] * 10),
        ],
        bench={k: draw(gates, s[:3], s[3], scale=0.05) for k, s in BENCH.items()},
        bytes=lambda x, w_ih, w_hh, *_, **__: x.nbytes + w_ih.nbytes + w_hh.nbytes,
        flops=flops,
    )


def rnn_relu(*args: Any, **kwargs: Any) -> Any:
    return dl.rnn_layer(*args, nonlinearity="relu", **kwargs)


CASES = [
    case("lstm_layer", dl.lstm_layer, lstm_cell, 4, 2),
    case("gru_layer", dl.gru_layer, gru_cell, 3),
    case("rnn_layer", dl.rnn_layer, tanh_cell, 1),
    case("rnn_layer:relu", rnn_relu, relu_cell, 1),
]
