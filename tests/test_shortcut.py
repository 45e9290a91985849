"""Functions with a native way around autograd: who takes it, and that they look like the Python functions they are."""

import gc
import inspect
import pickle
import weakref

import numpy as np
import pytest

import dlcore as dl
from dlcore.autograd import Function, shortcut


def spied():
    calls = []

    def native(x, y):
        calls.append("native")
        if isinstance(y, int):
            raise TypeError("numbers are too much for me")
        return "native"

    @shortcut(native)
    def function(x, y, z=0):
        """Adds."""
        calls.append("recorded")
        return "recorded"

    return function, calls


def test_calls_without_gradients_are_native():
    function, calls = spied()
    x = dl.ones((2,))
    assert function(x, x) == function(x, 2.5) == "native"
    assert calls == ["native", "native"]


def test_other_calls_are_recorded():
    function, calls = spied()
    x, w = dl.ones((2,)), dl.ones((2,), requires_grad=True)
    for call in (
        lambda: function(x, w),
        lambda: function(w, x),
        lambda: function(x, y=x),
        lambda: function(x, x, 1),
        lambda: function(x, np.float32(1)),
        lambda: function(x, "text"),
    ):
        assert call() == "recorded"
    assert set(calls) == {"recorded"}


def test_what_the_native_body_refuses_goes_to_the_function():
    function, calls = spied()
    assert function(dl.ones((2,)), 3) == "recorded"
    assert calls == ["native", "recorded"]


def test_views_of_what_became_differentiable_are_recorded():
    function, _ = spied()
    x, w = dl.ones((2, 2)), dl.ones((2, 2), requires_grad=True)
    view = x[0]
    assert function(view, view) == "native"
    x.mul_(w)
    assert function(view, view) == "recorded"


def test_looks_like_the_function():
    assert dl.add.__name__ == "add" and dl.add.__module__ == "dlcore.ops.elementwise"
    assert "logical or" in dl.add.__doc__ and inspect.isroutine(dl.add)
    assert list(inspect.signature(dl.add).parameters) == ["a", "b"]
    assert list(inspect.signature(dl.Tensor.add).parameters) == ["a", "b"]
    assert pickle.loads(pickle.dumps(dl.add)) is dl.add
    assert "function add" in repr(dl.add)


def test_is_a_method():
    x = dl.ones((2,))
    assert x.add(x).tolist() == [2.0, 2.0]
    assert (x + 1).tolist() == (1 + x).tolist() == [2.0, 2.0]
    assert type(x + x) is dl.Tensor


def test_errors_come_from_the_function():
    with pytest.raises(TypeError, match=r"\[add\] expected at least one tensor"):
        dl.add(1, 2)
    with pytest.raises(TypeError, match="required positional argument"):
        dl.add(dl.ones((2,)))
    with pytest.raises(ValueError, match=r"\[add\] shapes"):
        dl.ones((2,)) + dl.ones((3,))
    with pytest.raises(TypeError, match="unsupported operand"):
        dl.ones((2,)) + "text"


def test_is_collected():
    function = shortcut(lambda x: x)(lambda x: x)
    function.__wrapped__.cycle = function
    gone = weakref.ref(function.__wrapped__)
    del function
    gc.collect()
    assert gone() is None


def test_calls_with_gradients_are_recorded_by_the_node():
    class _Double(Function):
        @staticmethod
        def forward(ctx, x, factor):
            if isinstance(factor, float):
                raise TypeError("fractions are too much for me")
            return x.detach() * factor

        @staticmethod
        def backward(ctx, dy):
            return dy * 10.0, None

    @shortcut(lambda x, factor: "native", _Double)
    def function(x, factor):
        return "function"

    x, w = dl.ones((2,)), dl.ones((2,), requires_grad=True)
    y = function(w, 2)
    y.sum().backward()
    assert y.tolist() == [2.0, 2.0] and w.grad.tolist() == [10.0, 10.0]
    assert function(w, 2.5) == function(w, [2]) == function(w, factor=2) == "function"
    assert function(x, 2) == "native"
    with dl.no_grad():
        assert function(w, 2) == "native"


def test_native_views_know_their_base():
    x, w = dl.ones((2, 2)), dl.ones((2, 2), requires_grad=True)
    view = x.reshape((4,))
    x.mul_(w * 3.0)
    assert view.requires_grad
    view.sum().backward()
    assert w.grad.tolist() == [[3.0, 3.0], [3.0, 3.0]]
    with dl.no_grad():
        assert x.reshape((4,))._base is None


def test_sizes_are_gathered():
    calls = []

    def native(x, sizes):
        calls.append(sizes)
        return "native"

    @shortcut(native)
    def function(x, *sizes):
        return "function"

    x = dl.ones((2, 2))
    assert function(x, 4) == function(x, (4,)) == function(x, 2, 1, -2) == "native"
    assert calls == [4, (4,), (2, 1, -2)]
    assert function(x) == function(x, [4]) == function(x, 2, 2.0) == function(x, 2, np.int64(2)) == "function"
