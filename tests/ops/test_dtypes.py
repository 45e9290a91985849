"""Integer, boolean and undeclared floating inputs: the right value, or an error that names the operation; no crash."""

import numpy as np
import pytest

from dlcore import _C
from tests.opcases import FLOATS
from tests.ops.walk import CASES, Call, assert_close, assert_equal, exact64, outputs_of, some

DTYPES = ("float32", "bfloat16", "float64", "int64", "int32", "uint8", "bool")
REFUSALS = (TypeError, ValueError, NotImplementedError, IndexError, ZeroDivisionError)


def converted(array, dtype, low):
    """The array's shape filled with small integers, which every dtype holds exactly."""
    rng = np.random.default_rng(array.size)
    return rng.integers(low, 3, array.shape).astype("float32" if dtype == "bfloat16" else dtype)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("dtype", DTYPES)
def test_any_dtype(case, dtype):
    for sample in some(case.samples, 3):
        # Zeros first: a division by one must not bring the process down. What it gives is checked without zeros.
        for low in (0, 1):
            call = Call(case, sample, dtype)
            if not any(call.floating):
                continue
            call.arrays = [
                converted(a, dtype, low) if f else a for a, f in zip(call.arrays, call.floating, strict=True)
            ]
            try:
                result = call.run(call.tensors())
            except REFUSALS as error:
                about_values = isinstance(error, ValueError)  # such as a probability of 2
                assert about_values or dtype not in case.dtypes or low == 0, f"{call}: refuses its own dtype: {error}"
                assert str(error).startswith("["), f"{call}: the error does not name the operation: {error}"
                continue
            if low == 1:
                check_small_integers(call, result)


def check_small_integers(call, result):
    """Against the reference on the same numbers, as float64 where that is what comes out, else as int64."""
    floating = any(isinstance(y, _C.Tensor) and y.dtype.is_floating_point for y in outputs_of(result))
    wide = "float64" if call.dtype in FLOATS or floating else "int64"
    call.arrays = [a.astype(wide) if f else a for a, f in zip(call.arrays, call.floating, strict=True)]
    expected = call.reference()
    for y, e, m in zip(outputs_of(result), expected, call.magnitude(expected), strict=True):
        if not isinstance(y, _C.Tensor):
            continue
        assert y.shape == e.shape, f"{call}: shape {y.shape}, the reference has {e.shape}"
        values = exact64(y)
        if y.dtype.is_floating_point:
            assert_close(values, e, m, call.case.eps.forward, y.dtype.name, repr(call))
        else:
            assert_equal(values, e.astype(values.dtype), repr(call))
