"""Hooks of gradients, and retained gradients."""

import numpy as np
import pytest

import dlcore as dl
from tests.autograd.common import leaf


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
