"""The ladder to whole sequences: python -m benchmarks.ladder rnn [T B H]

    1  every operation of every step by itself
    2  the inputs of all steps in one product
    3  the shipped layer: the recurrence in one kernel, weights packed once, gates fused into the product
    P  PyTorch, where it is installed

Rungs are checked against the first before they are timed, forward and backward; they run in turns, and the figures are
medians. The share is of the peak of fused multiply-adds, measured between the rounds; the products of the input and of
the state count, forward once, backward twice.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

import dlcore as dl
from dlcore import _C, nn

GATES = {"lstm": 4, "gru": 3, "rnn": 1}
LAYERS = {"lstm": dl.lstm_layer, "gru": dl.gru_layer, "rnn": dl.rnn_layer}


def cell(kind: str, a: Any, b: Any, h: Any, c: Any) -> tuple[Any, Any]:
    """One step by single operations, from the shares of the input and of the state."""
    if kind == "rnn":
        return dl.tanh(a + b), c
    if kind == "lstm":
        i, f, g, o = dl.chunk(a + b, 4, -1)
        c = dl.sigmoid(f) * c + dl.sigmoid(i) * dl.tanh(g)
        return dl.sigmoid(o) * dl.tanh(c), c
    (ar, az, an), (br, bz, bn) = dl.chunk(a, 3, -1), dl.chunk(b, 3, -1)
    z = dl.sigmoid(az + bz)
    n = dl.tanh(an + dl.sigmoid(ar + br) * bn)
    return n + z * (h - n), c


def by_steps(kind: str, inputs: Callable[[int], Any], T: int, B: int, w_hh: Any, b_hh: Any) -> Any:
    h = c = dl.zeros((B, w_hh.shape[1]))
    ys = []
    for t in range(T):
        h, c = cell(kind, inputs(t), dl.linear(h, w_hh, b_hh), h, c)
        ys.append(h)
    return dl.stack(ys, 0)


def rungs(kind: str, T: int, B: int, H: int) -> dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]]:
    """For each rung its forward, and its backward from what that gave."""
    dl.manual_seed(0)
    module = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[kind](H, H)
    x = dl.randn((T, B, H)).requires_grad_()
    parameters = list(module.parameters())
    w_ih, w_hh, b_ih, b_hh = parameters
    dy = dl.randn((T, B, H))

    def single() -> Any:
        return by_steps(kind, lambda t: dl.linear(x[t], w_ih, b_ih), T, B, w_hh, b_hh)

    def one_product() -> Any:
        a = dl.unbind(dl.linear(x, w_ih, b_ih), 0)
        return by_steps(kind, lambda t: a[t], T, B, w_hh, b_hh)

    def backward(y: Any) -> Any:
        return [g.numpy() for g in dl.grad(y, [x, *parameters], dy)]

    found = {
        "1 single operations": (single, backward),
        "2 one input product": (one_product, backward),
        "3 shipped": (lambda: LAYERS[kind](x, *parameters)[0], backward),
    }
    if find_spec("torch"):
        found["P PyTorch"] = pytorch(kind, module, x, dy)
    return found


def pytorch(kind: str, module: Any, x: Any, dy: Any) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    import torch

    torch.set_num_threads(dl.get_num_threads())
    theirs = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[kind](x.shape[-1], x.shape[-1])
    theirs.load_state_dict({k: torch.tensor(v.numpy()) for k, v in module.state_dict().items()})
    tx, tdy = torch.tensor(x.detach().numpy()).requires_grad_(), torch.tensor(dy.numpy())
    parameters = [tx, *theirs.parameters()]
    return lambda: theirs(tx)[0], lambda y: [g.numpy() for g in torch.autograd.grad(y, parameters, tdy)]


def check(kind: str, found: dict[str, Any]) -> None:
    """The same values and gradients as the first rung, to a few units of what their sums round."""
    expected: list[Any] = []
    for name, (forward, backward) in found.items():
        y = forward()
        got = [y.detach().numpy(), *backward(y)]
        expected = expected or got
        for a, e in zip(got, expected, strict=True):
            error = np.abs(a - e).max() / np.abs(e).max()
            assert error < 1e-4, f"{kind}, {name}: differs from the first rung by {error:.2g}"


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def main(sizes: Sequence[int], rounds: int) -> int:
    if len(sizes) > 3:
        raise SystemExit("expected at most three sizes: T B H")
    T, B, H = (*sizes, *(128, 32, 256)[len(sizes) :])
    print(f"T = {T}, B = {B}, I = H = {H}, {dl.get_num_threads()} threads, {_C.target()}")
    for kind, gates in GATES.items():
        flops = 2.0 * T * B * gates * H * 2 * H
        found = rungs(kind, T, B, H)
        check(kind, found)
        seconds: dict[str, list[tuple[float, float, float]]] = {name: [] for name in found}
        for _ in range(rounds):
            for name, (forward, backward) in found.items():
                settle = time.perf_counter() + 0.02  # the threads of the other library sleep again
                while time.perf_counter() < settle:
                    backward(forward())
                peak = _C.fma_peak(0.01)
                once, y = timed(forward)
                back, _ = timed(lambda backward=backward, y=y: backward(y))
                seconds[name].append((once, once + back, peak))
        theirs = seconds.get("P PyTorch")
        for name, turns in seconds.items():
            shares = [statistics.median(k * flops / r[i] / r[2] for r in turns) for i, k in enumerate((1, 3))]
            times = [statistics.median(r[i] for r in turns) for i in range(2)]
            line = f"{kind:5}{name:22} forward {times[0] * 1e3:8.2f} ms {shares[0]:5.0%} of the peak"
            line += f"   and backward {times[1] * 1e3:8.2f} ms {shares[1]:5.0%}"
            if theirs is not None:
                ratios = [statistics.median(p[i] / r[i] for p, r in zip(theirs, turns, strict=True)) for i in range(2)]
                line += f"   PyTorch's time / this: {ratios[0]:.2f}, {ratios[1]:.2f}"
            print(line)
    return 0
