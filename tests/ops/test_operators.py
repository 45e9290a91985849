"""Operators: which operands they take and what dtype and memory order comes out; in-place arithmetic on any layout."""

import operator

import numpy as np
import pytest

import dlcore as dl
from dlcore import _C

LATTICE = [dl.bool_, dl.uint8, dl.int32, dl.int64, dl.bfloat16, dl.float32, dl.float64]
NUMERIC = LATTICE[1:]
ARITHMETIC = [operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod, operator.pow]
COMPARISONS = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]


def ones(*shape, dtype=dl.float32):
    return dl.ones(shape, dtype)


@pytest.mark.parametrize("a", LATTICE, ids=repr)
@pytest.mark.parametrize("b", LATTICE, ids=repr)
def test_dtypes_meet_at_the_higher(a, b):
    higher = max(a, b, key=LATTICE.index)
    x, y = ones(3, dtype=a), ones(3, dtype=b)
    assert (x + y).dtype is higher and (x * y).dtype is higher
    assert (x / y).dtype is (higher if higher.is_floating_point else dl.float32)
    assert all(compare(x, y).dtype is dl.bool_ for compare in COMPARISONS)
    assert dl.where(ones(3, dtype=dl.bool_), x, y).dtype is higher


@pytest.mark.parametrize("dtype", LATTICE, ids=repr)
def test_python_numbers_are_weak(dtype):
    x = ones(3, dtype=dtype)
    assert (x + True).dtype is dtype
    assert (x + 1).dtype is (dl.int64 if dtype is dl.bool_ else dtype)
    assert (x + 1.5).dtype is (dtype if dtype.is_floating_point else dl.float32)
    for function in (lambda n: n + x, lambda n: x * n, lambda n: n * x):
        assert function(2).dtype is (x + 1).dtype
        assert function(2.5).dtype is (x + 1.5).dtype


@pytest.mark.parametrize("op", ARITHMETIC + COMPARISONS)
def test_operators_match_numpy_from_either_side(op):
    array = np.array([1.5, 2.0, 3.25], np.float32)
    x = dl.tensor(array)
    for other in (2.0, 2, np.float64(2), np.float32(2), np.int64(2), array + 1):
        plain = np.asarray(other, np.float32)
        for result, expected in ((op(x, other), op(array, plain)), (op(other, x), op(plain, array))):
            assert isinstance(result, dl.Tensor)
            assert result.dtype is (dl.bool_ if op in COMPARISONS else dl.float32)
            np.testing.assert_array_max_ulp(np.asarray(result, np.float32), np.asarray(expected, np.float32), 1)


def test_unknown_operands_are_left_to_python():
    x = ones(2)

    class Other:
        __hash__ = None

        def __radd__(self, tensor):
            return "radd"

        def __eq__(self, tensor):
            return "eq"

    assert x + Other() == "radd" and (x == Other()) == "eq"
    assert (x == None) is False and (x != "text") is True  # noqa: E711
    repeats = operator.mul  # which a string answers, asking for an integer
    for op in {*ARITHMETIC, operator.lt, operator.and_} - {repeats}:
        with pytest.raises(TypeError, match="unsupported operand|not supported between"):
            op(x, "text")


def test_tensors_are_hashable_by_identity():
    x, y = ones(2), ones(2)
    assert len({x, y, x}) == 2


def test_results_keep_the_memory_order_of_transposed_operands():
    x = dl.tensor(np.arange(24.0).reshape(2, 3, 4))
    for t in (x, x.T, x.permute(1, 0, 2)):
        for y in (t + 1, t * t, -t, dl.exp(t), t > 1, dl.where(t > 1, t, 0.0)):
            assert y.strides == t.strides
    assert (x.T + x.permute(2, 1, 0).contiguous()).is_contiguous()
    assert (x[:, :, ::2] + 1).is_contiguous()


NATIVE = [_C.add_, _C.sub_, _C.mul_]
REFERENCE = [np.add, np.subtract, np.multiply]
VIEWS = {
    "contiguous": lambda x: x,
    "transposed": lambda x: _C.transpose(x, 0, 1),
    "stepped": lambda x: _C.slice(x, 1, 0, 6, 2),
    "reversed": lambda x: _C.slice(x, 0, 5, -1, -1),
    "row": lambda x: _C.select(x, 0, 2),
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(("native", "reference"), list(zip(NATIVE, REFERENCE, strict=True)))
def test_in_place_on_any_layout(native, reference, view):
    x = dl.tensor(np.arange(36.0).reshape(6, 6), dtype=dl.float32)
    target = VIEWS[view](x)
    expected = reference(target.numpy(), np.float32(3))
    version = x._version
    assert native(target, 3) is target
    assert x._version > version
    np.testing.assert_array_equal(target.numpy(), expected)


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_in_place_with_overlapping_operands(dtype):
    for target, source in (((1, 6), (0, 5)), ((0, 5), (1, 6)), ((0, 6), (0, 1)), ((0, 6), (0, 6))):
        array = np.arange(6, dtype=dtype)
        x = dl.tensor(array)
        _C.add_(_C.slice(x, 0, *target, 1), _C.slice(x, 0, *source, 1))
        array[slice(*target)] += array[slice(*source)].copy()
        np.testing.assert_array_equal(x.numpy(), array)


def test_in_place_refusals():
    x = ones(2, 3)
    with pytest.raises(ValueError, match=r"\[add_\].*\(4, 2, 3\).*\(2, 3\)"):
        _C.add_(x, ones(4, 1, 3))
    with pytest.raises(TypeError, match=r"\[mul_\] a result of dtype float32 cannot be written into .* int64"):
        _C.mul_(ones(3, dtype=dl.int64), 0.5)
    with pytest.raises(TypeError, match=r"\[add_\] a result of dtype int64 cannot be written into .* bool"):
        _C.add_(ones(3, dtype=dl.bool_), 1)
    with pytest.raises(ValueError, match=r"\[add_\].*expanded"):
        _C.add_(ones(1).expand(3), 1)
    array = np.ones(3, np.float32)
    array.flags.writeable = False
    with pytest.raises(ValueError, match=r"\[add_\].*read-only"):
        _C.add_(dl.from_numpy(array), 1)
    np.testing.assert_array_equal(x.numpy(), np.ones((2, 3)))
    np.testing.assert_array_equal(array, np.ones(3))
