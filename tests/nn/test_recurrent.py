"""RNN, LSTM and GRU: layers and directions against single steps, forms of input, packed sequences, errors."""

import numpy as np
import pytest

import dlcore as dl
from dlcore import nn, optim
from dlcore.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from tests.opcases import EPS
from tests.opcases.rnn import gru_cell, lstm_cell, relu_cell, tanh_cell

T, B, SIZE, H = 5, 3, 4, 6
KINDS = {
    "RNN": (nn.RNN, nn.RNNCell, tanh_cell, {}),
    "RNN relu": (nn.RNN, nn.RNNCell, relu_cell, {"nonlinearity": "relu"}),
    "LSTM": (nn.LSTM, nn.LSTMCell, lstm_cell, {}),
    "GRU": (nn.GRU, nn.GRUCell, gru_cell, {}),
}
each_kind = pytest.mark.parametrize("kind", KINDS)


def rand(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def make(kind, **options):
    dl.manual_seed(0)
    layer, _, _, extra = KINDS[kind]
    return layer(SIZE, H, **extra, **options).double()


def close(ours, expected):
    # Float64 throughout; sums of at most 2 H products of order 1, handed on over T steps and two layers.
    assert ours.shape == expected.shape
    return np.abs(ours.numpy() - expected).max(initial=0) <= 2 * T * 4 * H * EPS["float64"]


def states_of(kind, layers, seed=10):
    h, c = rand(layers, B, H, seed=seed), rand(layers, B, H, seed=seed + 1)
    return ((dl.tensor(h), dl.tensor(c)) if kind == "LSTM" else dl.tensor(h)), h, c


def by_steps(kind, layer, x, h, c):
    """(T, B, SIZE) through every layer and direction; h and c (layers · directions, B, H)."""
    cell, h, c = KINDS[kind][2], h.copy(), c.copy()
    for k in range(layer.num_layers):
        ys = []
        for d in range(2 if layer.bidirectional else 1):
            at, end = k * (2 if layer.bidirectional else 1) + d, f"l{k}{'_reverse' * d}"
            w_ih, w_hh = (getattr(layer, f"weight_{n}_{end}").numpy() for n in ("ih", "hh"))
            b_ih, b_hh = (getattr(layer, f"bias_{n}_{end}").numpy() if layer.bias else 0 for n in ("ih", "hh"))
            y = [None] * len(x)
            for t in range(len(x))[:: -1 if d else 1]:
                h[at], c[at] = cell(x[t] @ w_ih.T + b_ih, h[at] @ w_hh.T + b_hh, h[at], c[at])
                y[t] = h[at].copy()
            ys.append(np.stack(y))
        x = np.concatenate(ys, -1)
    return x, h, c


@each_kind
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}, {"bias": False}], ids=str)
def test_values(kind, options):
    layer = make(kind, **options)
    layers = layer.num_layers * (2 if layer.bidirectional else 1)
    given, h, c = states_of(kind, layers)
    for hx, h0, c0 in ((given, h, c), (None, 0 * h, 0 * c)):
        y, last = layer(dl.tensor(rand(T, B, SIZE)), hx)
        expected, h_n, c_n = by_steps(kind, layer, rand(T, B, SIZE), h0, c0)
        assert close(y, expected)
        assert close(last[0] if kind == "LSTM" else last, h_n)
        assert kind != "LSTM" or close(last[1], c_n)


@each_kind
def test_cells_are_single_steps(kind):
    layer, x = make(kind), rand(T, B, SIZE)
    _, cell_type, _, extra = KINDS[kind]
    cell = cell_type(SIZE, H, **extra).double()
    cell.load_state_dict({k.removesuffix("_l0"): v for k, v in layer.state_dict().items()})
    y, last = layer(dl.tensor(x))
    state = None
    for t in range(T):
        state = cell(dl.tensor(x[t]), state)
        assert close(state[0] if kind == "LSTM" else state, y[t].numpy())
    single = cell(dl.tensor(x[0, 1]))
    assert close(single[0] if kind == "LSTM" else single, y[0, 1].numpy())
    assert close(state[1] if kind == "LSTM" else state, (last[1] if kind == "LSTM" else last)[0].numpy())


@each_kind
def test_forms_of_input(kind):
    layer, x = make(kind, num_layers=2, bidirectional=True), rand(T, B, SIZE)
    given, _, _ = states_of(kind, 4)
    y, last = layer(dl.tensor(x), given)
    layer.batch_first = True
    again, same = layer(dl.tensor(x.swapaxes(0, 1).copy()), given)
    assert close(again, y.numpy().swapaxes(0, 1))
    layer.batch_first = False
    one = (given[0][:, 1], given[1][:, 1]) if kind == "LSTM" else given[:, 1]
    single, end = layer(dl.tensor(x[:, 1].copy()), one)
    assert close(single, y.numpy()[:, 1])
    for all_, swapped, alone in zip(*((v if kind == "LSTM" else (v,)) for v in (last, same, end)), strict=True):
        assert close(swapped, all_.numpy()) and close(alone, all_.numpy()[:, 1])


@each_kind
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("lengths", [(5, 3, 1), (2, 5, 2), (4, 4, 4)], ids=str)
def test_packed_sequences_are_each_alone(kind, batch_first, lengths):
    layer = make(kind, num_layers=2, bidirectional=True, batch_first=batch_first)
    given, _, _ = states_of(kind, 4)
    padded = rand(B, T, SIZE) if batch_first else rand(T, B, SIZE)
    x = dl.tensor(padded, requires_grad=True)
    packed = pack_padded_sequence(x, dl.tensor(lengths), batch_first, enforce_sorted=lengths == (5, 3, 1))
    y, last = layer(packed, given)
    out, got = pad_packed_sequence(y, batch_first, padding_value=7.0, total_length=6)
    assert got.tolist() == list(lengths) and out.shape == ((B, 6, 2 * H) if batch_first else (6, B, 2 * H))
    (out * out).sum().backward()
    layer.batch_first = False
    for b, n in enumerate(lengths):
        rows = (padded[b] if batch_first else padded[:, b])[:n].copy()
        alone = dl.tensor(rows, requires_grad=True)
        h = (given[0][:, b], given[1][:, b]) if kind == "LSTM" else given[:, b]
        expected, end = layer(alone, h)
        ours = out[b] if batch_first else out[:, b]
        assert close(ours[:n], expected.numpy()) and np.all(ours[n:].numpy() == 7)
        for a, e in zip(*((v if kind == "LSTM" else (v,)) for v in (last, end)), strict=True):
            assert close(a[:, b], e.numpy())
        (expected * expected).sum().backward()
        g = x.grad[b] if batch_first else x.grad[:, b]
        assert np.allclose(g[:n].numpy(), alone.grad.numpy(), rtol=1e-12, atol=1e-13) and not g[n:].numpy().any()


def test_dropout_between_layers_only_in_training():
    dl.manual_seed(0)
    layer, x = nn.LSTM(SIZE, H, 2, dropout=0.5), dl.tensor(rand(T, B, SIZE), dtype="float32")
    calm = layer.eval()(x)[0].numpy()
    assert np.array_equal(calm, layer(x)[0].numpy())
    layer.train()
    a, b = layer(x)[0].numpy(), layer(x)[0].numpy()
    assert not np.array_equal(a, b) and a.all()  # the last layer's own output is not dropped
    assert np.array_equal(nn.LSTM(SIZE, H, dropout=0.5)(x)[0].shape, (T, B, H))


def test_bfloat16_is_computed_in_float32():
    dl.manual_seed(0)
    layer = nn.GRU(SIZE, H).to(dl.bfloat16)
    x = dl.tensor(rand(T, B, SIZE), dtype="bfloat16")
    y, h_n = layer(x)
    assert y.dtype is dl.bfloat16 and h_n.dtype is dl.bfloat16
    wide, _ = nn.GRU(SIZE, H), None
    wide.load_state_dict({k: v.float() for k, v in layer.state_dict().items()})
    assert np.array_equal(wide(x.float())[0].bfloat16().float().numpy(), y.float().numpy())


def test_summary():
    layer = nn.LSTM(SIZE, H, 2, bidirectional=True)
    weights = sum(p.numel() for p in layer.parameters() if p.ndim == 2)
    assert layer.summary(dl.zeros((T, B, SIZE))).multiply_adds == T * B * weights
    cell = nn.GRUCell(SIZE, H)
    assert cell.summary(dl.zeros((B, SIZE))).multiply_adds == B * 3 * H * (SIZE + H)


def test_learns_to_remember():
    """The first of eight inputs, asked for at the end."""
    dl.manual_seed(0)
    layer, head = nn.LSTM(1, 16), nn.Linear(16, 1)
    optimiser = optim.Adam([*layer.parameters(), *head.parameters()], lr=0.01)
    rng, losses = np.random.default_rng(0), []
    for _ in range(150):
        x = dl.tensor(rng.choice([-1.0, 1.0], (8, 32, 1)), dtype="float32")
        loss = ((head(layer(x)[1][0][0]) - x[0]) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.05 < 0.5 < losses[0]


def test_second_derivatives_are_refused_by_name():
    x = dl.tensor(rand(T, B, SIZE), requires_grad=True)
    (g,) = dl.grad(make("LSTM")(x)[0].sum(), x, create_graph=True)
    with pytest.raises(NotImplementedError, match=r"\[lstm layer\] second derivatives"):
        g.sum().backward()


def pack(*args, **kwargs):
    return pack_padded_sequence(dl.zeros((T, B, SIZE)), *args, **kwargs)


ERRORS = [
    (lambda m, x: nn.LSTM(0, 3), r"\[LSTM\] input_size must be an integer of at least 1, got 0"),
    (lambda m, x: nn.LSTM(3, 3, dropout=2), r"\[LSTM\] expected a probability dropout in \[0, 1\], got 2"),
    (lambda m, x: nn.RNN(3, 3, nonlinearity="sin"), r"\[RNN\] expected nonlinearity 'tanh' or 'relu', got 'sin'"),
    (lambda m, x: nn.RNNCell(3, 3, nonlinearity="sin"), r"\[RNNCell\] expected nonlinearity 'tanh' or 'relu'"),
    (lambda m, x: m(x[:, :, :2]), r"\[LSTM\] expected last dimension 4, got 2 \(input \(5, 3, 2\)\)"),
    (lambda m, x: m(x[0, 0]), r"\[LSTM\] expected an input of 2 or 3 dimensions, got shape \(4,\)"),
    (lambda m, x: m(x, dl.zeros((1, 3, 6))), r"\[LSTM\] expected 2 initial states, got 1"),
    (
        lambda m, x: m(x, (dl.zeros((1, 3, 6)), dl.zeros((2, 3, 6)))),
        r"expected c0 of shape \(1, 3, 6\), got \(2, 3, 6\)",
    ),
    (
        lambda m, x: nn.GRUCell(4, 6)(x),
        r"\[GRUCell\] expected an input of shape \(B, 4\) or without B, got \(5, 3, 4\)",
    ),
    (lambda m, x: nn.GRUCell(4, 6)(x[0], dl.zeros((6,))), r"\[GRUCell\] expected h of shape \(3, 6\), got \(6,\)"),
    (lambda m, x: pack([5, 3]), r"\[pack_padded_sequence\] expected 3 lengths, one for each sequence of \(5, 3, 4\)"),
    (lambda m, x: pack([5, 3, 0]), r"\[pack_padded_sequence\] expected lengths from 1 to 5, got \[5, 3, 0\]"),
    (lambda m, x: pack([6, 3, 1]), r"\[pack_padded_sequence\] expected lengths from 1 to 5, got \[6, 3, 1\]"),
    (lambda m, x: pack([1, 3, 5]), r"in decreasing order, got \[1, 3, 5\]; sort the sequences or pass enforce_sorted"),
    (lambda m, x: pad_packed_sequence(pack([4, 3, 1]), total_length=3), "total_length of at least 4.*, got 3"),
]


@pytest.mark.parametrize("call, text", ERRORS)
def test_errors(call, text):
    with pytest.raises(ValueError, match=text):
        call(nn.LSTM(SIZE, H), dl.zeros((T, B, SIZE)))


def test_a_batch_too_large_to_be_packed():
    """The state of 2,000 sequences and 4 x 460 gates does not fit into a thread's scratch memory, half of it does."""
    dl.manual_seed(0)
    layer = nn.LSTM(3, 460)
    x, h, c = dl.randn((2, 2000, 3)), dl.randn((1, 2000, 460)), dl.randn((1, 2000, 460))
    dy = dl.randn((2, 2000, 460))

    def run(part):
        state = h[:, part].detach().clone().requires_grad_()
        y, _ = layer(x[:, part], (state, c[:, part]))
        y.backward(dy[:, part])
        return y.numpy(), state.grad.numpy()

    whole = run(slice(None))
    halves = zip(run(slice(0, 1000)), run(slice(1000, 2000)), strict=True)
    for got, parts in zip(whole, halves, strict=True):
        np.testing.assert_array_equal(got, np.concatenate(parts, axis=1))
