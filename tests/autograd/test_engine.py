"""The engine: recording, accumulation, errors, grad(), higher derivatives, threads."""

import threading

import numpy as np
import pytest

import dlcore as dl
from dlcore import _C
from dlcore.autograd import Function, gradcheck
from tests.autograd.common import Cube, leaf


def test_gradients_of_a_diamond():
    x = leaf([2.0, 3.0])
    a = x * x
    y = (a * x + a).sum()
    y.backward()
    np.testing.assert_array_equal(x.grad.numpy(), [3 * 4 + 2 * 2, 3 * 9 + 2 * 3])


def test_gradients_accumulate_over_backwards():
    x = leaf([1.0, 2.0])
    for expected in ([2.0, 4.0], [4.0, 8.0]):
        (x * x).sum().backward()
        assert x.grad.tolist() == expected
    x.grad = None
    (x * 3.0).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


def test_a_leaf_used_many_times_in_one_operation():
    x = leaf([3.0])
    (x * x).backward()
    assert x.grad.tolist() == [6.0]
    y = leaf([3.0])
    (y + y + y).backward()
    assert y.grad.tolist() == [3.0]


def test_backward_of_a_leaf_itself():
    x = leaf(2.0)
    x.backward()
    assert x.grad.item() == 1.0


def test_broadcast_operands_get_their_own_shape_back():
    x, b = leaf(np.ones((3, 4), "float32")), leaf(np.ones(4, "float32"))
    (x * b).sum().backward()
    assert x.grad.shape == (3, 4)
    assert b.grad.tolist() == [3.0] * 4


def test_requires_grad_spreads_and_detach_stops_it():
    x = leaf([1.0])
    y = x * 2.0
    assert y.requires_grad and not y.is_leaf and x.is_leaf
    z = y.detach()
    assert not z.requires_grad and z.is_leaf
    assert z.data_ptr() == y.data_ptr()
    assert not (z * 2.0).requires_grad


def test_integers_carry_no_gradient():
    with pytest.raises(TypeError, match=r"\[requires_grad_\] only floating dtypes .* got dlcore.int64"):
        dl.tensor([1, 2]).requires_grad_()
    with pytest.raises(TypeError, match="only floating dtypes can require a gradient"):
        dl.tensor([1, 2], requires_grad=True)
    assert not leaf([1.5]).long().requires_grad


def test_requires_grad_of_a_result_cannot_be_dropped():
    y = leaf([1.0]) * 2.0
    with pytest.raises(RuntimeError, match=r"use detach\(\)"):
        y.requires_grad_(False)


# no_grad and enable_grad


def test_no_grad_as_context_and_decorator():
    x = leaf([1.0])
    with dl.no_grad():
        assert not dl.is_grad_enabled()
        assert not (x * 2.0).requires_grad
        with dl.enable_grad():
            assert (x * 2.0).requires_grad
        assert not dl.is_grad_enabled()
    assert dl.is_grad_enabled()

    @dl.no_grad()
    def evaluate(v):
        """Doubles."""
        return v * 2.0

    assert not evaluate(x).requires_grad
    assert evaluate.__name__ == "evaluate" and evaluate.__doc__ == "Doubles."
    assert (x * 2.0).requires_grad
    for mode in (True, False):
        with dl.set_grad_enabled(mode):
            assert (x * 2.0).requires_grad is mode


def test_recording_comes_back_after_an_exception():
    with pytest.raises(ZeroDivisionError), dl.no_grad():
        raise ZeroDivisionError
    assert dl.is_grad_enabled()


def test_recording_is_a_matter_of_each_thread():
    seen = []
    with dl.no_grad():
        t = threading.Thread(target=lambda: seen.append(dl.is_grad_enabled()))
        t.start()
        t.join()
    assert seen == [True]


# Errors


def test_backward_needs_a_single_number_or_a_gradient():
    x = leaf([1.0, 2.0])
    with pytest.raises(RuntimeError, match=r"a gradient is needed for an output .* got shape \(2,\)"):
        (x * 2.0).backward()
    with pytest.raises(ValueError, match=r"\[backward\] expected a gradient of shape \(2,\), got \(3,\)"):
        (x * 2.0).backward(dl.ones((3,)))
    (x * 2.0).backward(dl.tensor([1.0, 10.0]))
    assert x.grad.tolist() == [2.0, 20.0]


def test_backward_of_what_needs_no_gradient():
    with pytest.raises(RuntimeError, match="does not depend on a tensor that requires a gradient"):
        (dl.tensor([1.0]) * 2.0).backward()


def test_a_second_backward_finds_freed_values():
    x = leaf([2.0])
    y = x * x
    y.backward()
    with pytest.raises(RuntimeError, match=r"the values saved by mul were freed .* pass retain_graph=True"):
        y.backward()
    z = x * x
    z.backward(retain_graph=True)
    z.backward()
    assert x.grad.tolist() == [12.0]


def test_a_saved_value_that_was_changed_in_place():
    x = leaf([2.0, 3.0])
    a = x * 1.0
    y = (a * a).sum()
    _C.copy_into(dl.tensor(7.0), a.detach())
    with pytest.raises(
        RuntimeError,
        match=r"mul saved a tensor of shape \(2,\) .* \(version 1, expected 0\)",
    ):
        y.backward()


def test_a_change_in_place_of_what_is_not_needed_is_fine():
    x = leaf([2.0, 3.0])
    a = x * 5.0
    y = (a + 1.0).sum()
    _C.copy_into(dl.tensor(7.0), a.detach())
    y.backward()
    assert x.grad.tolist() == [5.0, 5.0]


def test_an_error_inside_backward_leaves_the_engine_usable():
    class _Fails(Function):
        @staticmethod
        def forward(ctx, x):
            return x.detach() * 1.0

        @staticmethod
        def backward(ctx, dy):
            raise ValueError("inside")

    x = leaf([1.0])
    with pytest.raises(ValueError, match="inside"):
        _Fails.apply(x * 2.0).backward()
    assert dl.is_grad_enabled()
    (x * 2.0).backward()
    assert x.grad.tolist() == [2.0]


# grad()


def test_grad_returns_instead_of_accumulating():
    x, w = leaf([2.0]), leaf([5.0])
    y = x * w
    gx, gw = dl.grad(y, [x, w], retain_graph=True)
    assert (gx.item(), gw.item()) == (5.0, 2.0)
    assert x.grad is None and w.grad is None
    assert dl.grad(y, x)[0].item() == 5.0


def test_grad_of_an_intermediate_value():
    x = leaf([2.0])
    a = x * x
    (ga,) = dl.grad(a * a, a)
    assert ga.item() == 8.0


def test_grad_of_several_outputs_with_weights():
    x = leaf([2.0, 3.0])
    (g,) = dl.grad([x * x, x * 2.0], x, [dl.tensor([1.0, 1.0]), dl.tensor([10.0, 100.0])])
    assert g.tolist() == [24.0, 206.0]
    with pytest.raises(ValueError, match=r"\[grad\] expected 2 grad_outputs, one for each output, got 1"):
        dl.grad([x * x, x * 2.0], x, [dl.tensor([1.0, 1.0])])


def test_unused_inputs():
    x, w = leaf([2.0]), leaf([5.0])
    with pytest.raises(RuntimeError, match=r"\[grad\] the outputs do not depend on input 1; pass allow_unused=True"):
        dl.grad(x * x, [x, w])
    assert dl.grad(x * x, [x, w], allow_unused=True)[1] is None
    with pytest.raises(RuntimeError, match=r"\[grad\] input 0 of shape \(1,\) does not require a gradient"):
        dl.grad(x * x, dl.tensor([1.0]))


def test_the_same_input_twice():
    x = leaf([2.0])
    a, b = dl.grad(x * x, [x, x])
    assert a.item() == b.item() == 4.0


# Higher derivatives


def test_create_graph():
    x = leaf([2.0], dl.float64)
    y = x * x * x
    (first,) = dl.grad(y, x, create_graph=True)
    (second,) = dl.grad(first, x, create_graph=True)
    (third,) = dl.grad(second, x)
    assert (first.item(), second.item(), third.item()) == (12.0, 12.0, 6.0)


def test_backward_with_create_graph_leaves_a_differentiable_grad():
    x = leaf([2.0])
    (x * x * x).backward(create_graph=True)
    first = x.grad
    x.grad = None
    first.backward()
    assert x.grad.tolist() == [12.0]


def test_a_gradient_penalty():
    """The first gradient's norm as part of a loss: second derivatives through matmul and sum."""
    w = leaf([[1.0, 2.0], [3.0, 4.0]], dl.float64)
    x = leaf([[1.0, -1.0]], dl.float64)

    def penalty(x, w):
        (g,) = dl.grad((x @ w * (x @ w)).sum(), x, create_graph=True)
        return (g * g).sum()

    assert gradcheck(penalty, [x, w])


def test_second_derivatives_that_do_not_exist_are_refused_by_name():
    x = leaf([2.0])
    (first,) = dl.grad(Cube.apply(x), x, create_graph=True)
    assert first.item() == 12.0
    with pytest.raises(NotImplementedError, match=r"\[cube\] second derivatives of this operation are not available"):
        (first * first).sum().backward()


# Threads


def test_several_threads_each_with_its_own_graph():
    results = []

    def train(k):
        x = leaf(np.full(1000, k, "float32"))
        for _ in range(20):
            (x * x).sum().backward()
        results.append((k, float(x.grad.numpy()[0])))

    threads = [threading.Thread(target=train, args=(k,)) for k in range(1, 7)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(results) == [(k, 40.0 * k) for k in range(1, 7)]


def test_a_graph_made_on_one_thread_and_run_on_another():
    x = leaf([3.0])
    y = x * x
    t = threading.Thread(target=y.backward)
    t.start()
    t.join()
    assert x.grad.tolist() == [6.0]


def test_grad_of_no_inputs_is_refused_and_accumulates_nothing():
    x = leaf([1.0])
    with pytest.raises(ValueError, match=r"\[grad\] expected at least one input"):
        dl.grad(x * 2.0, [])
    assert x.grad is None


def test_the_first_gradient_takes_the_dtype_of_the_output():
    x = leaf([1.0, 2.0])
    x.backward(dl.tensor([3, 4]))
    assert x.grad.tolist() == [3.0, 4.0] and x.grad.dtype is dl.float32
