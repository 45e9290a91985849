"""Whose memory a gradient is, what backward frees, graphs that go."""

import gc
import weakref

import numpy as np
import pytest

import dlcore as dl
from dlcore import _C
from tests.autograd.common import leaf


def test_gradients_are_their_own_memory():
    """Optimisers write into gradients: two leaves must never share one, nor share with what the user passed."""
    a, b = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    seed = dl.tensor([1.0, 1.0])
    (a + b).backward(seed)
    _C.copy_into(dl.tensor(0.0), a.grad)
    assert b.grad.tolist() == [1.0, 1.0]
    assert seed.tolist() == [1.0, 1.0]
    x = leaf([1.0, 2.0])
    x.sum().backward()
    assert x.grad.is_contiguous()
    _C.copy_into(dl.tensor([5.0, 6.0]), x.grad)
    assert x.grad.tolist() == [5.0, 6.0]


def test_a_chain_of_fifty_thousand_operations():
    x = leaf([1.0])
    y = x
    for _ in range(50_000):
        y = y + 1.0
    y.backward()
    assert x.grad.tolist() == [1.0] and y.item() == 50_001.0


def test_a_deep_graph_that_is_dropped_is_freed_at_once():
    gc.collect()
    gc.disable()
    try:
        before = dl.memory_stats()["live"]
        x = leaf(np.ones(16, "float32"))
        y = x
        for _ in range(50_000):
            y = y * y
        assert dl.memory_stats()["live"] > before + 50_000 * 64 - 1
        del y
        after = dl.memory_stats()["live"]
        del x
    finally:
        gc.enable()
    assert after <= before + 64
    assert dl.memory_stats()["live"] == before


def test_backward_frees_what_it_has_used():
    gc.collect()
    gc.disable()
    try:
        x = leaf(np.ones(1000, "float32"))
        before = dl.memory_stats()["live"]
        loss = ((x * x) * x).sum()
        held = dl.memory_stats()["live"]
        loss.backward()
        x.grad = None
        assert held > before + 4000
        assert dl.memory_stats()["live"] <= before + 64, "loss is all that is left"
    finally:
        gc.enable()


def test_no_cycle_keeps_a_graph_alive():
    """An operation that saves its own output must not keep itself alive."""
    gc.collect()
    gc.disable()
    try:
        x = leaf(np.ones(8, "float32"))
        y = x.exp()
        node = weakref.ref(y._node)
        del y
        assert node() is None
    finally:
        gc.enable()


def test_hooks_and_retained_gradients_do_not_leak():
    gc.collect()
    before = dl.memory_stats()["live"]
    x = leaf(np.ones(1000, "float32"))
    y = x * 2.0
    y.retain_grad()
    y.sum().backward()
    assert y.grad is not None
    del x, y
    gc.collect()
    assert dl.memory_stats()["live"] == before


def test_a_gradient_that_somebody_keeps_is_not_the_leafs_own():
    kept = []
    x = leaf([1.0, 2.0])
    x.register_hook(kept.append)
    (x * 2.0).sum().backward()
    x.grad.fill_(0.0)
    assert kept[0].tolist() == [2.0, 2.0]


def test_a_node_in_a_cycle_is_collected():
    x = leaf([1.0])
    y = x * 2.0
    y.register_hook(lambda dy, y=y: None)
    node = weakref.ref(y._node)
    del y
    gc.collect()
    assert node() is None


@pytest.mark.parametrize("few_first", [True, False])
def test_a_gradient_keeps_no_more_memory_than_it_has(few_first):
    few, many = dl.ones((4,), requires_grad=True), dl.ones((1 << 20,), requires_grad=True)
    before = dl.memory_stats()["live"]
    joined = dl.cat([few, many] if few_first else [many, few])
    (joined * joined).sum().backward()
    del joined
    many.grad = None
    assert dl.memory_stats()["live"] - before < 1 << 16


def tied(vocabulary, width, dtype=dl.float32):
    """A table that is looked up and multiplied with, its gradients by either way, and the tokens."""
    table = dl.randn(vocabulary, width).to(dtype).requires_grad_()
    tokens = dl.tensor([3, 0, 3, vocabulary - 1])
    rows = dl.embedding(tokens, table)
    by_lookup = dl.autograd.grad((rows * rows).sum(), table)[0]
    x = rows.detach()
    by_product = dl.autograd.grad((dl.linear(x, table) ** 2).sum(), table)[0]
    return table, tokens, (by_lookup, by_product)


def tied_loss(table, tokens):
    rows = dl.embedding(tokens, table)
    return (rows * rows).sum() + (dl.linear(rows.detach(), table) ** 2).sum()


@pytest.mark.parametrize("shape", [(5, 3), (700, 512)])  # the second above a mebibyte
@pytest.mark.parametrize("dtype", [dl.float32, dl.float64, dl.bfloat16])
def test_a_look_up_adds_to_the_gradient_that_its_table_has(shape, dtype):
    table, tokens, parts = tied(*shape, dtype)
    expected = (parts[0] + parts[1]).double().numpy()
    bound = 4 * {4: 2.0**-23, 8: 2.0**-52, 2: 2.0**-8}[dtype.itemsize]
    size = np.abs(parts[0].double().numpy()) + np.abs(parts[1].double().numpy())
    tied_loss(table, tokens).backward()
    assert (np.abs(table.grad.double().numpy() - expected) <= bound * size).all()
    (given,) = dl.autograd.grad(tied_loss(table, tokens), table)
    assert (given == table.grad).all()
    first = table.grad
    before = first.numpy().copy() if dtype is not dl.bfloat16 else first.float().numpy()
    tied_loss(table, tokens).backward()  # accumulates; the tensor that somebody may hold stays
    after = first.numpy() if dtype is not dl.bfloat16 else first.float().numpy()
    assert (after == before).all() and (table.grad == first + given).all()


def test_a_gradient_that_others_hold_is_not_added_to():
    x = dl.randn(600, 512).requires_grad_()
    seen = []
    y = x * 1
    y.register_hook(lambda dy: seen.append((dy, dy.numpy().copy())))
    z = dl.ones((600, 512))
    (y * 2 + x * 3 + x * 4 + (y * 5)).sum().backward()
    assert (x.grad == 14).all()
    assert all((dy.numpy() == then).all() for dy, then in seen) and len(seen) == 1
    # One tensor given to two arguments.
    a, b = (dl.randn(600, 512).requires_grad_() for _ in range(2))
    (a + b + a + b * 2 + z).backward(z)
    assert (a.grad == 2).all() and (b.grad == 3).all() and (z == 1).all()


def test_a_tied_table_takes_no_second_gradient():
    table, tokens, _ = tied(700, 512)
    loss = tied_loss(table, tokens)
    live = dl.memory_stats()["live"]
    dl.reset_peak_memory()
    loss.backward()
    assert dl.memory_stats()["peak"] - live < 1.5 * table.nbytes


def test_the_gradient_of_a_transposed_weight_is_not_copied():
    w = dl.randn(512, 700).requires_grad_()
    y = dl.linear(dl.randn(4, 512), w.T)
    live = dl.memory_stats()["live"]
    dl.reset_peak_memory()
    y.sum().backward()
    assert w.grad.is_contiguous()
    assert dl.memory_stats()["peak"] - live < 1.5 * w.nbytes
