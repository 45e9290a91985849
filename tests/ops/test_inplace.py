"""In-place methods: values by NumPy, overlap, memory that must not be written, and what autograd sees of them."""

import numpy as np
import pytest

import dlcore as dl


@pytest.mark.parametrize(
    ("method", "reference"),
    [
        ("add_", np.add),
        ("sub_", np.subtract),
        ("mul_", np.multiply),
        ("div_", np.divide),
    ],
)
@pytest.mark.parametrize("other", [2.5, np.arange(1, 4, dtype=np.float32), np.full((2, 3), 3, np.float32)])
def test_arithmetic(method, reference, other):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    x = dl.tensor(array)
    before = x._version
    operand = other if isinstance(other, float) else dl.tensor(other)
    assert getattr(x, method)(operand) is x
    np.testing.assert_allclose(x.numpy(), reference(array, np.float32(other)), rtol=2**-23)
    assert x._version > before


def test_copy_fill_zero():
    x = dl.zeros((2, 3))
    assert x.copy_(dl.arange(3)).tolist() == [[0, 1, 2], [0, 1, 2]]
    assert x.fill_(7).tolist() == [[7] * 3] * 2
    assert x.zero_().tolist() == [[0] * 3] * 2


def test_overlap_reads_the_old_values():
    x, expected = dl.arange(6.0), np.arange(6, dtype=np.float32)
    x[1:] += x[:-1]
    expected[1:] = expected[1:] + expected[:-1]
    assert x.tolist() == expected.tolist()


def test_read_only_memory_is_refused():
    array = np.zeros(3, np.float32)
    array.flags.writeable = False
    x = dl.from_numpy(array)
    with pytest.raises(ValueError, match="read-only"):
        x.add_(1)
    assert array.tolist() == [0, 0, 0]


def test_expanded_target_is_refused():
    with pytest.raises(ValueError, match="expanded view"):
        dl.zeros((3, 1)).expand(3, 4).copy_(dl.ones((3, 4)))


def test_a_leaf_is_refused_and_no_grad_allows_it():
    x = dl.ones((3,), requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf"):
        x.add_(1)
    with dl.no_grad():
        x.add_(1)
    assert x.tolist() == [2, 2, 2]


def test_gradients_pass_through_changes():
    x = dl.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x * 2
    y.mul_(dl.tensor([1.0, 10.0, 100.0]))
    y[0] = 5.0
    y.sum().backward()
    assert x.grad.tolist() == [0, 20, 200]


def test_a_needed_value_that_was_changed_is_noticed():
    x = dl.tensor([1.0, 2.0], requires_grad=True)
    w = dl.tensor([3.0, 4.0])
    y = (x * w).sum()
    w.add_(1)
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()
