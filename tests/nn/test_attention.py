"""MultiheadAttention against its formula in float64, its masks and its errors."""

import math

import numpy as np
import pytest

import dlcore as dl
from dlcore import nn
from tests.opcases import EPS

B, L, S, E, H = 2, 5, 7, 12, 3


def rand(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def reference(layer, q, k, v, mask):
    """Output and weights (B, H, L, S) for batch-first float64 inputs and an additive mask."""
    if layer.in_proj_weight is not None:
        wq, wk, wv = np.split(layer.in_proj_weight.numpy(), 3)
    else:
        wq, wk, wv = (w.numpy() for w in (layer.q_proj_weight, layer.k_proj_weight, layer.v_proj_weight))
    bq, bk, bv = np.split(layer.in_proj_bias.numpy(), 3) if layer.in_proj_bias is not None else (0, 0, 0)
    projected = (q @ wq.T + bq, k @ wk.T + bk, v @ wv.T + bv)
    split = [x.reshape(x.shape[0], x.shape[1], H, -1).swapaxes(1, 2) for x in projected]
    scores = split[0] @ split[1].swapaxes(2, 3) / math.sqrt(E // H) + mask
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    y = (weights @ split[2]).swapaxes(1, 2).reshape(q.shape[0], q.shape[1], E)
    b = layer.out_proj.bias.numpy() if layer.out_proj.bias is not None else 0
    return y @ layer.out_proj.weight.numpy().T + b, weights


def float64_layer(**options):
    dl.manual_seed(0)
    layer = nn.MultiheadAttention(E, H, **options).double()
    for p in layer.parameters():
        nn.init.normal_(p, 0.0, 0.5)
    return layer


def close(ours, expected):
    # Everything runs in float64; sums of at most 3 E numbers of order 10 in a row of three products.
    return np.abs(ours.numpy() - expected).max() <= 3 * 3 * E * 100 * EPS["float64"]


causal = np.triu(np.full((L, L), -np.inf), 1)
MASKS = {
    "none": (None, 0.0),
    "bool": (rand(L, S, seed=1) > 0.8, None),
    "float": (rand(L, S, seed=2), None),
    "heads": (rand(B * H, L, S, seed=3) > 0.8, None),
}


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("padding", [False, True])
@pytest.mark.parametrize("options", [{}, {"bias": False}, {"kdim": 4, "vdim": 6}], ids=str)
def test_values(need_weights, mask, padding, options):
    layer = float64_layer(batch_first=True, **options)
    q, k, v = rand(B, L, E), rand(B, S, layer.kdim, seed=4), rand(B, S, layer.vdim, seed=5)
    given = MASKS[mask][0]
    added = np.zeros((1, 1, 1, 1))
    if given is not None:
        added = np.where(given, -np.inf, 0.0) if given.dtype == bool else given
        added = added.reshape(B, H, L, S) if added.ndim == 3 else added
    ignored = np.zeros((B, S), bool)
    ignored[1, 4:] = padding
    expected, weights = reference(layer, q, k, v, added + np.where(ignored, -np.inf, 0.0)[:, None, None])
    y, w = layer(
        *(dl.tensor(x) for x in (q, k, v)),
        key_padding_mask=dl.tensor(ignored) if padding else None,
        need_weights=need_weights,
        attn_mask=None if given is None else dl.tensor(given),
        average_attn_weights=False,
    )
    assert close(y, expected)
    assert w is None if not need_weights else close(w, weights)


@pytest.mark.parametrize("need_weights", [True, False])
def test_layouts_and_causality(need_weights):
    layer = float64_layer()
    x = rand(L, B, E)
    expected, weights = reference(layer, *[x.swapaxes(0, 1)] * 3, causal)
    t = dl.tensor(x)
    for args in ((t, t, t), (t, dl.tensor(x), dl.tensor(x))):  # one projection, and three
        y, w = layer(*args, need_weights=need_weights, is_causal=True)
        assert y.shape == (L, B, E) and close(y, expected.swapaxes(0, 1))
        assert w is None if not need_weights else close(w, weights.mean(1))
    single = dl.tensor(x[:, 1])
    y, w = layer(single, single, single, need_weights=need_weights, is_causal=True)
    assert y.shape == (L, E) and close(y, expected[1])
    assert w is None if not need_weights else close(w, weights[1].mean(0))


def test_gradients_do_not_depend_on_the_path():
    layer, x = float64_layer(batch_first=True), dl.tensor(rand(B, L, E))
    grads = []
    for need_weights in (True, False):
        layer.zero_grad()
        y, _ = layer(x, x, x, need_weights=need_weights)
        (y * y).sum().backward()
        grads.append([p.grad.numpy() for p in layer.parameters()])
    for a, b in zip(*grads, strict=True):
        assert np.abs(a - b).max() <= 1e4 * EPS["float64"] * np.abs(a).max()


def test_dropout_only_in_training():
    layer = float64_layer(dropout=0.5)
    x = dl.tensor(rand(L, B, E))
    calm = layer.eval()(x, x, x)[0].numpy()
    assert np.array_equal(calm, layer(x, x, x)[0].numpy())
    for need_weights in (True, False):
        assert not np.allclose(calm, layer.train()(x, x, x, need_weights=need_weights)[0].numpy())


def test_multiply_adds():
    layer = nn.MultiheadAttention(E, H, batch_first=True)
    x = dl.zeros((B, L, E))
    summary = layer.summary(x, x, x)
    assert summary.multiply_adds == B * (4 * L * E * E + 2 * L * L * E)


ERRORS = [
    (lambda m, x: nn.MultiheadAttention(10, 3), "embed_dim must be a multiple of num_heads, got 10 and 3 heads"),
    (lambda m, x: nn.MultiheadAttention(0, 3), "embed_dim must be an integer of at least 1, got 0"),
    (lambda m, x: nn.MultiheadAttention(6, 3, dropout=2), r"expected a probability dropout in \[0, 1\], got 2"),
    (lambda m, x: m(x, x, x[0]), r"must all be 2- or all 3-dimensional, got \(2, 5, 12\), \(2, 5, 12\) and \(5, 12\)"),
    (lambda m, x: m(x[:, :, :4], x, x), r"expected last dimension 12, got 4 \(input \(2, 5, 4\)\)"),
    (lambda m, x: m(x, x, x[:, :3]), "batch sizes and the lengths of key and value must agree"),
    (lambda m, x: m(x, x[:1], x[:1]), "batch sizes and the lengths of key and value must agree"),
    (
        lambda m, x: m(x, x, x, attn_mask=dl.zeros((4, 5))),
        r"expected an attn_mask of shape \(5, 5\) or \(6, 5, 5\), got \(4, 5\)",
    ),
    (
        lambda m, x: m(x, x, x, key_padding_mask=dl.zeros((2, 4))),
        r"expected a key_padding_mask of shape \(2, 5\), got \(2, 4\)",
    ),
]


@pytest.mark.parametrize("call, text", ERRORS)
def test_errors(call, text):
    layer, x = nn.MultiheadAttention(E, H, batch_first=True), dl.zeros((B, L, E))
    with pytest.raises(ValueError, match=rf"^\[MultiheadAttention\] .*{text}"):
        call(layer, x)
