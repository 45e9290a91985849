"""Functions of one's own: autograd.Function."""

import numpy as np
import pytest

import dlcore as dl
from dlcore.autograd import Function, gradgradcheck
from tests.autograd.common import Cube, leaf


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
    class _Wrong(Cube):
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


def test_a_function_must_make_instances_of_itself():
    class _Number(Function):
        def __new__(cls):
            return 3

        @staticmethod
        def forward(ctx, x):
            return x

    with pytest.raises(TypeError, match=r"\[apply\] a Function must make instances of itself, got int"):
        _Number.apply(dl.ones((1,)))
