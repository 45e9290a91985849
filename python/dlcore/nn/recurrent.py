"""RNN, LSTM and GRU: layers over whole sequences, with PyTorch's interface and names; and their single steps."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from dlcore import _C, ops
from dlcore.nn import init
from dlcore.nn.linear import check_last, check_size
from dlcore.nn.module import Module
from dlcore.nn.parameter import Parameter
from dlcore.nn.utils.rnn import PackedSequence
from dlcore.tensor import Tensor

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNCell"]


class _Gated(Module):
    """What layers and cells have in common: how parameters begin."""

    _gates: ClassVar[int] = 1
    hidden_size: int

    def reset_parameters(self) -> None:
        """Draws the parameters anew, uniform in ±1/√H."""
        bound = 1 / math.sqrt(self.hidden_size)
        for p in self.parameters():
            init.uniform_(p, -bound, bound)


class _Recurrent(_Gated):
    """What the three have in common: parameters, layers and directions, the forms of input."""

    _states: ClassVar[int] = 1  # h, or h and c

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: Any = _C.float32,
    ) -> None:
        check_size(self, input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        if not 0 <= dropout <= 1:
            raise ValueError(f"[{type(self).__name__}] expected a probability dropout in [0, 1], got {dropout}")
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.bidirectional = bias, batch_first, bidirectional
        self.dropout = float(dropout)
        rows, directions = self._gates * hidden_size, 2 if bidirectional else 1
        for layer in range(num_layers):
            size = input_size if layer == 0 else hidden_size * directions
            for reverse in range(directions):
                shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, size), "weight_hh": (rows, hidden_size)}
                if bias:
                    shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
                for name, shape in shapes.items():
                    setattr(self, f"{name}_{_suffix(layer, bool(reverse))}", Parameter(_C.empty(shape, dtype)))
        self.reset_parameters()

    def _layer(self, x: Tensor, weights: list[Any], states: list[Any], sizes: Any, reverse: bool) -> tuple[Tensor, ...]:
        raise NotImplementedError

    def _forward(self, input: Any, given: Any) -> tuple[Any, list[Tensor]]:
        """The output in the form of the input, and the last states."""
        packed = input if isinstance(input, PackedSequence) else None
        x = input if packed is None else packed.data
        check_last(self, x, self.input_size)
        if packed is None and x.ndim not in (2, 3):
            raise ValueError(f"[{type(self).__name__}] expected an input of 2 or 3 dimensions, got shape {x.shape}")
        batched = packed is not None or x.ndim == 3
        sizes = None
        if packed is not None:
            sizes = packed.batch_sizes.tolist()
        elif not batched:
            x = x.unsqueeze(1)
        elif self.batch_first:
            x = x.transpose(0, 1)
        B = x.shape[1] if sizes is None else sizes[0]
        states = self._given_states(given, B, batched, packed)
        outputs: list[list[Tensor]] = [[] for _ in range(self._states)]
        for layer in range(self.num_layers):
            if layer > 0 and self.dropout > 0 and self.training:
                x = ops.dropout(x, self.dropout)
            ys = []
            for reverse in (False, True) if self.bidirectional else (False,):
                first = [None if s is None else s[len(outputs[0])] for s in states]
                y, *last = self._layer(x, self._weights(layer, reverse), first, sizes, reverse)
                ys.append(y)
                for states_n, s in zip(outputs, last, strict=True):
                    states_n.append(s)
            x = ys[0] if len(ys) == 1 else ops.cat(ys, -1)
        ends = [ops.stack(s, 0) for s in outputs]
        if packed is not None:
            if packed.unsorted_indices is not None:
                ends = [ops.index_select(s, 1, packed.unsorted_indices) for s in ends]
            return packed._replace(data=x), ends
        if not batched:
            return x.squeeze(1), [s.squeeze(1) for s in ends]
        return x.transpose(0, 1) if self.batch_first else x, ends

    def _given_states(self, given: Any, B: int, batched: bool, packed: PackedSequence | None) -> list[Any]:
        """h0, and c0, as (layers · directions, B, H), or None each."""
        if given is None:
            return [None] * self._states
        name = type(self).__name__
        states = list(given) if isinstance(given, (tuple, list)) else [given]
        if len(states) != self._states:
            raise ValueError(f"[{name}] expected {self._states} initial states, got {len(states)}")
        layers = self.num_layers * (2 if self.bidirectional else 1)
        shape = (layers, B, self.hidden_size) if batched else (layers, self.hidden_size)
        for what, s in zip(("h0", "c0"), states, strict=False):
            if s.shape != shape:
                raise ValueError(f"[{name}] expected {what} of shape {shape}, got {s.shape}")
        if packed is not None and packed.sorted_indices is not None:
            states = [ops.index_select(s, 1, packed.sorted_indices) for s in states]
        return states if batched else [s.unsqueeze(1) for s in states]

    def _weights(self, layer: int, reverse: bool) -> list[Any]:
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        return [getattr(self, f"{n}_{_suffix(layer, reverse)}", None) for n in names]

    def multiply_adds(self, args: tuple[Any, ...], output: Any) -> int:
        x = args[0].data if isinstance(args[0], PackedSequence) else args[0]
        rows = x.numel() // self.input_size
        return rows * sum(p.numel() for p in self.parameters() if p.ndim == 2)

    def extra_repr(self) -> str:
        words = [f"{self.input_size}, {self.hidden_size}"]
        defaults = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False}
        words += [f"{k}={getattr(self, k)}" for k, v in defaults.items() if getattr(self, k) != v]
        return ", ".join(words)


def _suffix(layer: int, reverse: bool) -> str:
    return f"l{layer}_reverse" if reverse else f"l{layer}"


class RNN(_Recurrent):
    """Layers of h' = f(w_ih x_t + b_ih + w_hh h + b_hh).

    Args:
        input_size, hidden_size: I and H.
        num_layers: L; every layer after the first has the output of the one before as its input.
        nonlinearity: f, "tanh" or "relu".
        bias: whether there are b_ih and b_hh.
        batch_first: whether inputs and outputs are (B, T, …) instead of (T, B, …); states stay as they are.
        dropout: probability of dropping an output of every layer but the last, in training.
        bidirectional: whether each layer also has a direction from the last step to the first.
        dtype: of the parameters.

    Attributes:
        weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0: (H, I), (H, H), (H,), (H,), uniform in ±1/√H; for layer k
            l0 is lk, the second direction's end in _reverse. With D directions, later layers have (H, D·H).

    Shapes: (T, B, I), and h0 (L·D, B, H), or None for 0, to (T, B, D·H) and h_n (L·D, B, H). Without B throughout for
        one sequence. A `PackedSequence` gives one back; see `dlcore.nn.utils.rnn`.

    Source: J. Elman, "Finding structure in time", 1990.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: Any = _C.float32,
    ) -> None:
        _check_nonlinearity(self, nonlinearity)
        self.nonlinearity = nonlinearity
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype)

    def _layer(self, x: Tensor, weights: list[Any], states: list[Any], sizes: Any, reverse: bool) -> tuple[Tensor, ...]:
        options: Any = {"nonlinearity": self.nonlinearity, "batch_sizes": sizes, "reverse": reverse}
        return ops.rnn_layer(x, *weights, *states, **options)

    def forward(self, input: Any, hx: Tensor | None = None) -> tuple[Any, Tensor]:
        y, (h_n,) = self._forward(input, hx)
        return y, h_n


class LSTM(_Recurrent):
    """Layers of long short-term memory.

    With pre = w_ih x_t + b_ih + w_hh h + b_hh in four parts:
    i, f, o = sigmoid(pre_i, pre_f, pre_o), g = tanh(pre_g), c' = f c + i g, h' = o tanh(c').

    Args:
        input_size, hidden_size: I and H.
        num_layers, bias, batch_first, dropout, bidirectional, dtype: as in `RNN`.

    Attributes:
        weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0: as in `RNN`, with 4H rows: i, f, g, o.

    Shapes: (T, B, I), and (h0, c0), each (L·D, B, H), or None for 0, to (T, B, D·H) and (h_n, c_n).

    Source: S. Hochreiter, J. Schmidhuber, "Long short-term memory", 1997; F. Gers et al., "Learning to forget", 1999.
    """

    _gates = 4
    _states = 2

    def _layer(self, x: Tensor, weights: list[Any], states: list[Any], sizes: Any, reverse: bool) -> tuple[Tensor, ...]:
        return ops.lstm_layer(x, *weights, *states, batch_sizes=sizes, reverse=reverse)

    def forward(self, input: Any, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Any, tuple[Tensor, Tensor]]:
        y, (h_n, c_n) = self._forward(input, hx)
        return y, (h_n, c_n)


class GRU(_Recurrent):
    """Layers of gated recurrent units.

    r, z = sigmoid(w_ih x_t + b_ih + w_hh h + b_hh), n = tanh(w_in x_t + b_in + r (w_hn h + b_hn)),
    h' = (1 - z) n + z h.

    Args:
        input_size, hidden_size: I and H.
        num_layers, bias, batch_first, dropout, bidirectional, dtype: as in `RNN`.

    Attributes:
        weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0: as in `RNN`, with 3H rows: r, z, n.

    Shapes: as in `RNN`.

    Source: K. Cho et al., "Learning phrase representations using RNN encoder-decoder", 2014.
    """

    _gates = 3

    def _layer(self, x: Tensor, weights: list[Any], states: list[Any], sizes: Any, reverse: bool) -> tuple[Tensor, ...]:
        return ops.gru_layer(x, *weights, *states, batch_sizes=sizes, reverse=reverse)

    def forward(self, input: Any, hx: Tensor | None = None) -> tuple[Any, Tensor]:
        y, (h_n,) = self._forward(input, hx)
        return y, h_n


def _check_nonlinearity(layer: Module, nonlinearity: str) -> None:
    if nonlinearity not in ("tanh", "relu"):
        raise ValueError(f"[{type(layer).__name__}] expected nonlinearity 'tanh' or 'relu', got {nonlinearity!r}")


class _Cell(_Gated):
    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, dtype: Any = _C.float32) -> None:
        check_size(self, input_size=input_size, hidden_size=hidden_size)
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        rows = self._gates * hidden_size
        self.weight_ih = Parameter(_C.empty((rows, input_size), dtype))
        self.weight_hh = Parameter(_C.empty((rows, hidden_size), dtype))
        self.bias_ih = Parameter(_C.empty((rows,), dtype)) if bias else None
        self.bias_hh = Parameter(_C.empty((rows,), dtype)) if bias else None
        self.reset_parameters()

    def _step(self, layer: Any, x: Tensor, states: tuple[Tensor, ...] | None, **options: Any) -> list[Tensor]:
        """The states after one step of a layer's kernel, in the form of the input."""
        check_last(self, x, self.input_size)
        name = type(self).__name__
        if x.ndim not in (1, 2):
            raise ValueError(f"[{name}] expected an input of shape (B, {self.input_size}) or without B, got {x.shape}")
        for what, s in zip(("h", "c"), states or (), strict=False):
            if s.shape != (*x.shape[:-1], self.hidden_size):
                expected = (*x.shape[:-1], self.hidden_size)
                raise ValueError(f"[{name}] expected {what} of shape {expected}, got {s.shape}")
        rows = [t if x.ndim == 2 else t.unsqueeze(0) for t in (x, *(states or ()))]
        weights = (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        _, *after = layer(rows[0].unsqueeze(0), *weights, *rows[1:], **options)
        return after if x.ndim == 2 else [s.squeeze(0) for s in after]

    def multiply_adds(self, args: tuple[Any, ...], output: Any) -> int:
        return args[0].numel() // self.input_size * (self.weight_ih.numel() + self.weight_hh.numel())

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")


class RNNCell(_Cell):
    """One step of `RNN`: h' = f(w_ih x + b_ih + w_hh h + b_hh).

    Args:
        input_size, hidden_size: I and H.
        bias: whether there are bias_ih and bias_hh.
        nonlinearity: f, "tanh" or "relu".
        dtype: of the parameters.

    Attributes:
        weight_ih, weight_hh, bias_ih, bias_hh: (H, I), (H, H), (H,), (H,), uniform in ±1/√H.

    Shapes: (B, I), and h (B, H), or None for 0, to (B, H). Without B throughout for one.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        dtype: Any = _C.float32,
    ) -> None:
        _check_nonlinearity(self, nonlinearity)
        super().__init__(input_size, hidden_size, bias, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        states = None if hx is None else (hx,)
        return self._step(ops.rnn_layer, input, states, nonlinearity=self.nonlinearity)[0]

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.nonlinearity == "tanh" else f", nonlinearity={self.nonlinearity}")


class LSTMCell(_Cell):
    """One step of `LSTM`.

    Args:
        input_size, hidden_size, bias, dtype: as in `RNNCell`.

    Attributes:
        weight_ih, weight_hh, bias_ih, bias_hh: as in `RNNCell`, with 4H rows: i, f, g, o.

    Shapes: (B, I), and (h, c), each (B, H), or None for 0, to (h', c'). Without B throughout for one.
    """

    _gates = 4

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        h, c = self._step(ops.lstm_layer, input, hx)
        return h, c


class GRUCell(_Cell):
    """One step of `GRU`.

    Args:
        input_size, hidden_size, bias, dtype: as in `RNNCell`.

    Attributes:
        weight_ih, weight_hh, bias_ih, bias_hh: as in `RNNCell`, with 3H rows: r, z, n.

    Shapes: as in `RNNCell`.
    """

    _gates = 3

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._step(ops.gru_layer, input, None if hx is None else (hx,))[0]
