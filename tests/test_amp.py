"""autocast: what it casts and what not, where it begins and ends, and that training under it works. Dtypes by operation
are compared with PyTorch's in tests/parity/test_amp.py."""

import threading

import numpy as np
import pytest

import dlcore as dl
from dlcore import nn
from dlcore.models import GPT2, GPT2Config
from dlcore.optim import AdamW


def matrix(rows=4, cols=4, **kwargs):
    return dl.randn((rows, cols), generator=dl.Generator(rows + cols), **kwargs)


def product_dtype():
    return (matrix() @ matrix()).dtype


# Where it holds


def test_begins_and_ends():
    assert product_dtype() is dl.float32 and not dl.is_autocast_enabled("cpu")
    with dl.autocast("cpu", dtype=dl.bfloat16):
        assert product_dtype() is dl.bfloat16 and dl.is_autocast_enabled("cpu")
        with dl.autocast("cpu", enabled=False):
            assert product_dtype() is dl.float32
            with dl.autocast("cpu"):
                assert product_dtype() is dl.bfloat16
        assert product_dtype() is dl.bfloat16
    assert product_dtype() is dl.float32


def test_ends_with_an_exception_and_may_be_used_again():
    mode = dl.autocast("cpu")
    with pytest.raises(RuntimeError, match="inside"), mode, mode:
        raise RuntimeError("inside")
    assert product_dtype() is dl.float32
    with mode:
        assert product_dtype() is dl.bfloat16


def test_is_a_decorator():
    @dl.autocast("cpu")
    def twice(x):
        """Doubles."""
        return x @ x, product_dtype()

    assert twice(matrix())[1] is dl.bfloat16 and twice.__doc__ == "Doubles."
    assert product_dtype() is dl.float32


def test_is_of_one_thread():
    seen = []
    with dl.autocast("cpu"):
        thread = threading.Thread(target=lambda: seen.append(product_dtype()))
        thread.start()
        thread.join()
    assert seen == [dl.float32]


def test_threads_may_share_one():
    mode = dl.autocast("cpu")
    inside, leave = threading.Event(), threading.Event()
    seen = []

    @mode
    def wait():
        inside.set()
        assert leave.wait(10)

    def run():
        wait()
        seen.append(product_dtype())

    thread = threading.Thread(target=run)
    thread.start()
    assert inside.wait(10)
    with dl.autocast("cpu"):
        with mode:  # entered after the thread did, left after the thread left
            leave.set()
            thread.join()
        assert product_dtype() is dl.bfloat16
    assert seen == [dl.float32] and product_dtype() is dl.float32


def test_arguments():
    with pytest.raises(ValueError, match=r"\[autocast\] expected the device 'cpu', got 'cuda'"):
        dl.autocast("cuda")
    with pytest.raises(TypeError, match=r"\[autocast\] products can be computed in bfloat16, got dlcore.float64"):
        dl.autocast("cpu", dtype=dl.float64)
    assert not dl.is_autocast_enabled("cuda")


# Values and gradients


def test_products_are_those_of_bfloat16_operands():
    x, w, b = matrix(5, 8), matrix(6, 8), dl.ones((6,))
    expected = dl.linear(x.bfloat16(), w.bfloat16(), b.bfloat16())
    turned = dl.linear(x.bfloat16(), w.T.clone().bfloat16().T, b.bfloat16())
    with dl.autocast("cpu"):
        np.testing.assert_array_equal(dl.linear(x, w, b).numpy(), expected.numpy())
        np.testing.assert_array_equal(dl.linear(x, w.T.clone().T, b).numpy(), turned.numpy())


def test_gradients_have_the_parameters_dtype_and_backward_its_own_mode():
    grads = []
    for inside in (False, True):
        w = matrix(8, 8, requires_grad=True)
        x = matrix(4, 8, requires_grad=True)
        with dl.autocast("cpu"):
            loss = dl.mse_loss(dl.tanh(x @ w) @ w, x)
            with dl.autocast("cpu", enabled=False):
                loss = loss + (x @ w).sum()
            if inside:
                loss.backward()
        if not inside:
            loss.backward()
        assert loss.dtype is w.grad.dtype is x.grad.dtype is dl.float32
        grads.append((w.grad.numpy(), x.grad.numpy()))
    np.testing.assert_array_equal(grads[0][0], grads[1][0])
    np.testing.assert_array_equal(grads[0][1], grads[1][1])


def test_a_weight_is_cast_once_until_it_changes():
    w = nn.Parameter(matrix())
    x = matrix()
    kept = []

    def product():
        y = x @ w
        kept.append(y._node)  # alive, so that no block of memory is used again between the counts
        return y

    with dl.autocast("cpu"):
        before = dl.memory_stats()["allocations"]
        first = product()
        middle = dl.memory_stats()["allocations"]
        second = product()
        assert dl.memory_stats()["allocations"] - middle == middle - before - 1
        np.testing.assert_array_equal(first.numpy(), second.numpy())
        (first + second).sum().backward()
        with dl.no_grad():
            w.add_(1.0)
            assert not (x @ w).requires_grad
        assert not np.array_equal(product().numpy(), first.numpy())
        third = product()
        assert third.requires_grad
    w.grad = None
    third.sum().backward()
    assert w.grad is not None


def test_a_weight_that_is_given_other_memory_is_cast_anew():
    layer = nn.Linear(4, 4, bias=False)
    x = dl.ones((1, 4))
    with dl.autocast("cpu"):
        for i in range(4):
            layer(x)
            layer.load_state_dict({"weight": dl.zeros((4, 4))}, assign=True)
            layer.load_state_dict({"weight": dl.full((4, 4), float(i))}, assign=True)  # where the first one was
            assert layer(x).tolist() == [[4.0 * i] * 4]
        slices = dl.arange(8, dtype=dl.float32).reshape(2, 4, 1).expand(2, 4, 4)
        for i in (0, 1):
            layer.load_state_dict({"weight": slices[i]}, assign=True)
            assert layer(x).tolist() == [[4.0 * (4 * i + k) for k in range(4)]]


def test_nothing_is_kept_after_the_end():
    w = nn.Parameter(matrix(64, 64))
    before = dl.memory_stats()["live"]
    with dl.autocast("cpu"), dl.autocast("cpu"):
        (matrix(64, 64) @ w).sum().backward()
    w.grad = None
    assert dl.memory_stats()["live"] == before
    with dl.autocast("cpu", cache_enabled=False):
        matrix(64, 64) @ w
        assert dl.memory_stats()["live"] == before


def test_float64_and_integers_are_left_alone():
    x = matrix().double()
    with dl.autocast("cpu"):
        assert (x @ x).dtype is dl.float64
        assert (dl.arange(4) @ dl.arange(4)).dtype is dl.int64


# Training

STEPS = 60
TEXT = np.frombuffer((b"the quick brown fox jumps over the lazy dog; " * 40), np.uint8).astype(np.int64)


def losses(seed, mixed, threads=2):
    """Losses of a small GPT, its weights and batches drawn from a seed."""
    before = dl.get_num_threads()
    dl.set_num_threads(threads)
    try:
        dl.manual_seed(seed)
        model = GPT2(GPT2Config(vocab_size=128, n_positions=32, n_embd=32, n_layer=2, n_head=2, dropout=0.0))
        optimizer = AdamW(model.parameters(), lr=3e-3)
        draw = np.random.default_rng(seed)
        out = []
        for _ in range(STEPS):
            windows = TEXT[draw.integers(0, len(TEXT) - 33, 8)[:, None] + np.arange(33)]
            with dl.autocast("cpu", enabled=mixed):
                loss = model(dl.tensor(windows[:, :-1]), targets=dl.tensor(windows[:, 1:]))[1]
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            out.append(loss.item())
        assert all(p.dtype is dl.float32 for p in model.parameters())
        return np.array(out)
    finally:
        dl.set_num_threads(before)


def test_a_small_gpt_learns_within_noise_of_float32():
    """Another seed changes the mean loss more than bfloat16 does, at every stage of the curve."""
    seeds = range(4)
    plain = np.array([losses(seed, False) for seed in seeds]).reshape(len(seeds), 6, -1).mean(-1)
    mixed = np.array([losses(seed, True) for seed in seeds]).reshape(len(seeds), 6, -1).mean(-1)
    assert (plain[:, -1] < plain[:, 0] / 2).all(), "it learns"
    assert (mixed != plain).any(), "it is another computation"
    assert (np.abs(mixed.mean(0) - plain.mean(0)) < plain.std(0, ddof=1)).all()


def test_the_same_bits_for_any_number_of_threads():
    first = losses(0, True, threads=1)
    for threads in (2, 5):
        np.testing.assert_array_equal(losses(0, True, threads=threads), first)
