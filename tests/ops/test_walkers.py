"""The walkers find the faults they are for: each operation below is broken in one way and must be reported."""

import numpy as np
import pytest

import dlcore as dl
from dlcore import _C
from dlcore.autograd import Function
from tests.opcases import Fails, OpCase, Sample
from tests.ops import test_determinism, test_dtypes, test_errors, test_gradients, test_layouts, test_values


def through_numpy(function, x):
    """A dlcore tensor of NumPy's float64 result in x's dtype."""
    wide = _C.cast(x.detach(), "float64").numpy()
    return dl.tensor(np.asarray(function(wide)), dtype=x.dtype)


class _Cube(Function):
    """x^3 with a right gradient; not twice differentiable by the engine's rules."""

    @staticmethod
    def forward(ctx, x):
        ctx.save(x)
        return through_numpy(lambda v: v**3, x)

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved
        return dl.tensor(3 * as_numpy(x) ** 2 * as_numpy(dy), dtype=x.dtype)


class _WrongGradient(_Cube):
    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved
        return dl.tensor(3.001 * as_numpy(x) ** 2 * as_numpy(dy), dtype=x.dtype)


class _NoHistory(_Cube):
    """Claims to be twice differentiable, but loses the history on the way: a silently wrong second derivative."""

    twice_differentiable = True


def as_numpy(x):
    return _C.cast(x.detach(), "float64").numpy()


def write_input(x):
    _C.copy_into(dl.tensor(1.0), x)
    return _Cube.apply(x)


def only_contiguous(x):
    return _Cube.apply(x if x.is_contiguous() else _C.reshape(_C.permute(x, tuple(range(x.ndim))[::-1]), x.shape))


def by_threads(x):
    y = _Cube.apply(x)
    return y if dl.get_num_threads() == 1 else through_numpy(lambda v: v**3 * (1 + 2**-22), x)


def case(op, **options):
    return OpCase("cube", op=op, reference=lambda x: x**3, samples=[Sample((3, 5)), Sample((4, 3))], **options)


WALKS = {
    "values": lambda c: test_values.test_values(c, "float32"),
    "differences": test_gradients.test_against_differences,
    "float64": lambda c: test_gradients.test_against_float64(c, "float32"),
    "second": test_gradients.test_second_derivatives,
    "declares": test_gradients.test_case_declares_its_gradient,
    "layouts": lambda c: test_layouts.test_layouts(c, test_layouts.transposed),
    "determinism": test_determinism.test_determinism,
    "dtypes": lambda c: test_dtypes.test_any_dtype(c, "int64"),
    "errors": lambda c: test_errors.test_errors(c, c.errors[0]),
}


@pytest.mark.parametrize("walk", [w for w in WALKS if w not in ("dtypes", "errors")])
def test_a_right_operation_passes(walk):
    WALKS[walk](case(_Cube.apply))


BROKEN = {
    "values": case(lambda x: through_numpy(lambda v: v**3 * (1 + 2**-20), x)),
    "values:shape": case(lambda x: _C.reshape(_Cube.apply(x), (-1,))),
    "values:dtype": case(lambda x: _C.cast(_Cube.apply(x), "float64")),
    "values:input": case(write_input),
    "differences": case(_WrongGradient.apply),
    "differences:none": case(lambda x: _Cube.apply(x.detach())),
    "float64": case(lambda x: _Cube.apply(x) if x.dtype is dl.float64 else _WrongGradient.apply(x)),
    "second": case(_NoHistory.apply),
    "declares": case(_Cube.apply, gradient=False),
    "layouts": case(only_contiguous),
    "determinism": case(by_threads),
    "dtypes": case(lambda x: _C.cast(through_numpy(lambda v: v + 1, x), "int64")),
    "errors": case(_Cube.apply, errors=[Fails((2, 3), text="[cube] expected")]),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_operation_is_found(fault):
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        WALKS[fault.split(":")[0]](BROKEN[fault])
