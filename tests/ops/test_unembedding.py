"""linear_cross_entropy in several blocks: the same loss as in one, and never all logits."""

import numpy as np
import pytest

import dlcore as dl
from dlcore import optim
from dlcore.models import GPT2, GPT2Config
from dlcore.nn import functional as F
from dlcore.ops import unembedding as module

N, K, V = 37, 12, 29


def arguments(dtype=dl.float32):
    rng = np.random.default_rng(3)
    target = rng.integers(0, V, N)
    target[::5] = -100
    drawn = [rng.standard_normal(shape) for shape in ((N, K), (V, K), (V,))]
    return [dl.tensor(a, dtype=dtype, requires_grad=True) for a in drawn], dl.tensor(target)


def in_one(x, w, b, target, **kwargs):
    return F.cross_entropy(F.linear(x, w, b), target, **kwargs)


def in_blocks(x, w, b, target, **kwargs):
    return F.linear_cross_entropy(x, w, target, linear_bias=b, **kwargs)


@pytest.fixture
def five_rows_at_a_time(monkeypatch):
    monkeypatch.setattr(module, "_ELEMENTS", 5 * V)
    monkeypatch.setattr(module, "_ROWS", 1)


@pytest.mark.parametrize("transposed", [False, True], ids=["weight", "weight_transposed"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.usefixtures("five_rows_at_a_time")
def test_blocks_give_the_loss_of_all_rows_at_once(reduction, transposed):
    results = []
    for loss_of in (in_one, in_blocks):
        (x, w, b), target = arguments()
        weight = dl.tensor(w.detach().T.contiguous(), requires_grad=True) if transposed else w
        loss = loss_of(x, weight.T if transposed else w, b, target, reduction=reduction, label_smoothing=0.1)
        loss.backward(dl.arange(1, N + 1, dtype=dl.float32) if reduction == "none" else dl.tensor(3.0))
        results.append([t.numpy() for t in (loss.detach(), x.grad, weight.grad, b.grad)])
        assert weight.grad.is_contiguous()
    (loss, *grads), (same, *others) = results
    assert np.array_equal(loss, same)
    for g, other in zip(grads, others, strict=True):  # sums over the rows in another order
        np.testing.assert_allclose(other, g, rtol=0, atol=N * 2.0**-24 * np.abs(g).max())


@pytest.mark.usefixtures("five_rows_at_a_time")
def test_bfloat16_blocks_are_added_up_in_float32():
    (x, w, b), target = arguments(dl.bfloat16)
    exact = [t.detach().to(dl.float64).requires_grad_() for t in (x, w, b)]
    in_one(*exact, target).backward()
    in_blocks(x, w, b, target).backward()
    for g, truth in zip((x.grad, w.grad, b.grad), (t.grad for t in exact), strict=True):
        assert g.dtype is dl.bfloat16
        # logits and their gradients are rounded to 8 bits, the sum once more
        np.testing.assert_allclose(
            g.to(dl.float64).numpy(), truth.numpy(), rtol=0, atol=8 * 2.0**-9 * np.abs(truth.numpy()).max()
        )


@pytest.mark.usefixtures("five_rows_at_a_time")
def test_under_autocast_it_is_what_the_two_operations_are():
    results = []
    for loss_of in (in_one, in_blocks):
        (x, w, b), target = arguments()
        with dl.autocast("cpu"):
            loss = loss_of(x, w, b, target)
        loss.backward()
        results.append((loss.item(), loss.dtype, w.grad.dtype, x.grad.numpy()))
    one, blocks = results
    assert one[:3] == blocks[:3] == (one[0], dl.float32, dl.float32)
    assert np.array_equal(one[3], blocks[3])


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_a_second_backward_gives_the_same_gradients(reduction):
    (x, w, b), target = arguments()
    loss = in_blocks(x, w, b, target, reduction=reduction).sum() * 2
    loss.backward(retain_graph=True)
    first = [t.grad.numpy().copy() for t in (x, w, b)]
    for t in (x, w, b):
        t.grad = None
    loss.backward()
    for t, g in zip((x, w, b), first, strict=True):
        assert np.array_equal(t.grad.numpy(), g)


def test_it_needs_less_memory_than_the_logits():
    rows, classes = 8192, 16384
    x = dl.randn((rows, 8), requires_grad=True)
    w = dl.randn((classes, 8), requires_grad=True)
    target = dl.zeros((rows,), dl.int64)
    dl.reset_peak_memory()
    before = dl.memory_stats()["live"]
    F.linear_cross_entropy(x, w, target).backward()
    assert dl.memory_stats()["peak"] - before < rows * classes * 4 / 3


def test_only_what_requires_a_gradient_gets_one():
    (x, w, b), target = arguments()
    frozen = w.detach()
    in_blocks(x, frozen, None, target).backward()
    assert x.grad is not None and frozen.grad is None
    assert not in_blocks(x.detach(), frozen, None, target).requires_grad


def test_gpt2_loss_is_that_of_its_logits():
    dl.manual_seed(0)
    model = GPT2(GPT2Config(vocab_size=61, n_positions=16, n_embd=24, n_layer=2, n_head=3, dropout=0.0))
    tokens, targets = dl.randint(0, 61, (3, 16)), dl.randint(0, 61, (3, 16))
    assert model.loss(tokens, targets).item() == model(tokens, targets)[1].item()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = model.loss(tokens, targets)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[2] < losses[1] < losses[0]
