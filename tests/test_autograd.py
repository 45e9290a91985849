"""The engine: recording, accumulation, hooks, freed and changed values, higher derivatives, depth, threads."""

import gc
import threading
import weakref

import numpy as np
import pytest

import dlcore as dl
from dlcore import _C
from dlcore.autograd import Function, gradcheck, gradgradcheck
from dlcore.gradcheck import GradcheckError


def leaf(values, dtype=None):
    return dl.tensor(values, dtype=dtype, requires_grad=True)


class _Cube(Function):
    """x^3, without a differentiable backward."""

    @staticmethod
    def forward(ctx, x):
        ctx.save(x)
        return x.detach() * x.detach() * x.detach()

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved
        return dy * x * x * 3.0


class _WrongCube(_Cube):
    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved
        return dy * x * x * 2.9


# Recording


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


# Hooks


def test_hooks_on_leaves_results_and_their_removal():
    x = leaf([1.0, 2.0])
    y = x * 3.0
    seen = []
    on_x = x.register_hook(lambda dy: seen.append(("x", dy.tolist())))
    on_y = y.register_hook(lambda dy: seen.append(("y", dy.tolist())))
    (y * y).sum().backward(retain_graph=True)
    assert seen == [("y", [6.0, 12.0]), ("x", [18.0, 36.0])]
    on_x.remove()
    on_x.remove()  # a second removal does nothing
    with on_y:
        pass
    (y * y).sum().backward()
    assert len(seen) == 2


def test_a_hook_may_replace_the_gradient():
    x = leaf([1.0])
    y = x * 3.0
    y.register_hook(lambda dy: dy * 10.0)
    x.register_hook(lambda dy: dy + 1.0)
    y.backward()
    assert x.grad.tolist() == [31.0]


def test_a_leaf_hook_sees_the_sum_once():
    x = leaf([1.0])
    calls = []
    x.register_hook(lambda dy: calls.append(dy.item()))
    (x * 2.0 + x * 3.0).backward()
    assert calls == [5.0]


def test_a_hook_must_give_a_gradient_of_the_tensors_shape_and_dtype():
    x = leaf(np.ones((4, 8), "float32"))
    refused = r"\[backward\] a hook must give a gradient of shape \(4, 8\) and dtype float32, .* got shape "
    for y in (x, dl.softmax(x, -1), dl.layer_norm(x, (8,))):  # which would read beyond the end of the smaller one
        for given in (dl.ones((2,)), dl.ones((4, 8), dl.float64)):
            with y.register_hook(lambda dy, given=given: given), pytest.raises(ValueError, match=refused):
                (y * 2.0).sum().backward()
    assert x.grad is None


def test_hooks_need_a_gradient():
    with pytest.raises(RuntimeError, match=r"\[register_hook\] this tensor does not require a gradient"):
        dl.tensor([1.0]).register_hook(print)


def test_retain_grad():
    x = leaf([2.0])
    y = x * x
    y.retain_grad()
    (y * 3.0).backward()
    assert y.grad.tolist() == [3.0] and x.grad.tolist() == [12.0]
    x.retain_grad()  # a leaf keeps it anyway
    z = x * x
    (z * 3.0).backward()
    assert z.grad is None


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
    (first,) = dl.grad(_Cube.apply(x), x, create_graph=True)
    assert first.item() == 12.0
    with pytest.raises(NotImplementedError, match=r"\[cube\] second derivatives of this operation are not available"):
        (first * first).sum().backward()


# gradcheck


def test_gradcheck_accepts_right_and_refuses_wrong_gradients():
    x = leaf([[0.5, -1.0], [2.0, 3.0]], dl.float64)
    assert gradcheck(_Cube.apply, x)
    assert gradcheck(lambda a, b: a * b + a, [x, leaf([1.0, 2.0], dl.float64)])
    with pytest.raises(GradcheckError, match=r"output 0 with respect to input 0 is wrong in 4 of 16 elements"):
        gradcheck(_WrongCube.apply, x)
    assert not gradcheck(_WrongCube.apply, x, raise_exception=False)
    assert x.tolist() == [[0.5, -1.0], [2.0, 3.0]], "the input is put back"


def test_gradcheck_finds_a_lost_dependence():
    x = leaf([1.0, 2.0], dl.float64)
    with pytest.raises(GradcheckError, match="is wrong"):
        gradcheck(lambda x: x * x.detach(), x)


def test_gradcheck_finds_gradients_that_change():
    class _Random(_Cube):
        calls = 0

        @staticmethod
        def backward(ctx, dy):
            _Random.calls += 1
            return dy * float(_Random.calls)

    with pytest.raises(GradcheckError, match="in two runs"):
        gradcheck(_Random.apply, leaf([1.0], dl.float64))


def test_gradcheck_through_a_closure():
    w = leaf([3.0], dl.float64)
    assert gradcheck(lambda w_: w * w, w)


def test_gradcheck_arguments():
    with pytest.raises(ValueError, match="expected at least one input that requires a gradient"):
        gradcheck(lambda x: x, dl.tensor([1.0]))
    with pytest.raises(ValueError, match="differences need float64, got input 0 of dlcore.float32"):
        gradcheck(lambda x: x * x, leaf([1.0]))
    wide = dl.expand(dl.tensor([1.0], dtype=dl.float64), (3,)).detach().requires_grad_()
    with pytest.raises(ValueError, match="is read-only or expanded"):
        gradcheck(lambda x: x * x, wide)


def test_gradgradcheck():
    x = leaf([[0.5, -1.0], [2.0, 3.0]], dl.float64)
    assert gradgradcheck(lambda a: a * a * a, x)
    assert gradgradcheck(lambda a: a @ a, x, dl.ones((2, 2), dtype=dl.float64))
    with pytest.raises(NotImplementedError, match=r"\[cube\] second derivatives"):
        gradgradcheck(_Cube.apply, x)


# Depth and memory


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


# Function


def test_a_function_of_ones_own_with_several_outputs():
    class _SumAndDifference(Function):
        @staticmethod
        def forward(ctx, a, b):
            return a.detach() + b.detach(), a.detach() - b.detach()

        @staticmethod
        def backward(ctx, ds, dd):
            return ds + dd, ds - dd

    a, b = leaf([1.0]), leaf([2.0])
    s, d = _SumAndDifference.apply(a, b)
    (s * 3.0 + d * 5.0).backward()
    assert (a.grad.item(), b.grad.item()) == (8.0, -2.0)
    s, d = _SumAndDifference.apply(a, b)
    assert dl.grad(s, b)[0].item() == 1.0, "an output that is not used counts as zero"


def test_a_function_must_return_a_gradient_for_each_argument():
    class _Short(Function):
        @staticmethod
        def forward(ctx, a, b):
            return a.detach() + b.detach()

        @staticmethod
        def backward(ctx, dy):
            return dy

    with pytest.raises(ValueError):
        _Short.apply(leaf([1.0]), leaf([2.0])).backward()


def test_gradients_may_have_the_broadcast_shape_and_the_promoted_dtype():
    class _Plus(Function):
        @staticmethod
        def forward(ctx, a, b):
            return a.detach() + b.detach()

        @staticmethod
        def backward(ctx, dy):
            return dy, dy

    a = leaf(np.ones((3, 2), "float32"))
    b = dl.ones((2,), dl.bfloat16).requires_grad_()
    c = leaf([[1.0], [2.0], [3.0]])
    (_Plus.apply(_Plus.apply(a, b), c) * dl.tensor([1.0, 10.0])).sum().backward()
    assert a.grad.tolist() == [[1.0, 10.0]] * 3
    assert b.grad.tolist() == [3.0, 30.0] and b.grad.dtype is dl.bfloat16
    assert c.grad.tolist() == [[11.0]] * 3


def test_gradients_of_broadcast_arguments_differentiate_again():
    assert gradgradcheck(lambda a, b: a * b * b, [leaf([[0.5, -1.0]], dl.float64), leaf([[2.0], [3.0]], dl.float64)])


def test_a_gradient_of_another_shape_is_refused():
    class _Wrong(_Cube):
        @staticmethod
        def backward(ctx, dy):
            return dl.ones((3,))

    with pytest.raises(ValueError, match=r"\[backward\] wrong gave a gradient of shape \(3,\) for argument 0 of shape"):
        _Wrong.apply(leaf([1.0, 2.0])).sum().backward()


def test_arguments_left_at_their_defaults_need_no_gradient():
    class _Scaled(Function):
        @staticmethod
        def forward(ctx, x, factor=3.0):
            ctx.save(x, factor, None, name_of_it="scaled")
            return x.detach() * factor

        @staticmethod
        def backward(ctx, dy):
            x, factor, nothing = ctx.saved
            assert nothing is None and ctx.name_of_it == "scaled" and x.tolist() == [2.0]
            return dy * factor, None

    x = leaf([2.0])
    _Scaled.apply(x).backward()
    _Scaled.apply(x, 4.0).backward()
    assert x.grad.tolist() == [7.0]


def test_forward_and_backward_know_which_gradients_are_needed():
    seen = []

    class _Needs(Function):
        @staticmethod
        def forward(ctx, a, b, c):
            seen.append(ctx.needs_input_grad)
            return a.detach() + b.detach()

        @staticmethod
        def backward(ctx, dy):
            seen.append(ctx.needs_input_grad)
            return None, dy, None

    a, b = dl.tensor([1.0]), leaf([1.0])
    _Needs.apply(a, b, 5).backward()
    with dl.no_grad():
        _Needs.apply(a, b, 5)
    assert seen == [(False, True, False), (False, True, False), (False, False, False)]


def test_what_records_nothing_keeps_nothing():
    before = dl.memory_stats()["live"]
    kept = []

    class _Keeps(Function):
        @staticmethod
        def forward(ctx, x):
            kept.append(ctx)
            ctx.save(x.detach() * 2.0)
            return x.detach()

    x = dl.zeros((1000,))
    y = _Keeps.apply(x)
    del x, y
    assert len(kept) == 1 and dl.memory_stats()["live"] == before


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


def test_grad_of_no_inputs_is_refused_and_accumulates_nothing():
    x = leaf([1.0])
    with pytest.raises(ValueError, match=r"\[grad\] expected at least one input"):
        dl.grad(x * 2.0, [])
    assert x.grad is None


def test_the_first_gradient_takes_the_dtype_of_the_output():
    x = leaf([1.0, 2.0])
    x.backward(dl.tensor([3, 4]))
    assert x.grad.tolist() == [3.0, 4.0] and x.grad.dtype is dl.float32


def test_a_function_must_make_instances_of_itself():
    class _Number(Function):
        def __new__(cls):
            return 3

        @staticmethod
        def forward(ctx, x):
            return x

    with pytest.raises(TypeError, match=r"\[apply\] a Function must make instances of itself, got int"):
        _Number.apply(dl.ones((1,)))


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
