"""Strided, broadcast, misaligned and read-only inputs give what their contiguous copies give, gradients included."""

import numpy as np
import pytest

import dlcore as dl
from dlcore import _C
from tests.ops.walk import (
    Call,
    as_tensor,
    assert_close,
    bits,
    check_values,
    cotangents,
    differentiable_outputs,
    each_case,
    exact64,
    gradients,
    outputs_of,
    scale_of,
    some,
)


def transposed(x):
    axes = tuple(range(x.ndim))[::-1]
    return _C.permute(_C.contiguous(_C.permute(x, axes)), axes)


def stepped(x):
    """Every other element of twice as many, along the last axis."""
    if x.ndim == 0:
        return x
    axis, size = x.ndim - 1, 2 * x.shape[-1]
    between = _C.full(dl.tensor(77, dtype=x.dtype), (*x.shape[:-1], size))
    view = _C.slice(between, axis, 0, size, 2)
    _C.copy_into(x, view)
    return view


def reversed_(x):
    """A negative stride along every axis."""

    def flip(x):
        for axis, size in enumerate(x.shape):
            x = _C.slice(x, axis, size - 1, -1, -1) if size else x
        return x

    return flip(_C.clone(flip(x)))


def expanded(x):
    """The first index of the longest axis, repeated by a stride of zero: other values, compared with their own copy."""
    if x.numel() == 0 or x.ndim == 0:
        return x
    axis = int(np.argmax(x.shape))
    return _C.expand(_C.slice(x, axis, 0, 1, 1), x.shape)


def misaligned(x):
    """One element after a 64-byte boundary, so that no vector load is aligned."""
    n = x.numel()
    room = _C.empty((n + 1,), x.dtype)
    view = _C.view(_C.slice(room, 0, 1, n + 1, 1), x.shape)
    _C.copy_into(x, view)
    return view


def read_only(x):
    if x.dtype is dl.bfloat16 or x.numel() == 0:
        return x
    array = x.numpy().copy()
    array.flags.writeable = False
    return dl.from_numpy(array)


LAYOUTS = (transposed, stepped, reversed_, expanded, misaligned, read_only)


@each_case
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda f: f.__name__.strip("_"))
def test_layouts(case, layout):
    dtypes = [d for d in ("float32", "bfloat16") if d in case.dtypes] or list(case.dtypes)
    for call in [Call(case, s, d) for d in dtypes for s in some(case.samples, 10)]:
        laid_out = [layout(t) for t in call.tensors()]
        copies = [_C.clone(t) for t in laid_out]
        call.arrays = [_values(c, a) for c, a in zip(copies, call.arrays, strict=True)]
        expected, gradients_expected = run(call, copies, lambda v: _C.clone(layout(v)))
        result, gradients_got = run(call, laid_out, layout)
        if case.same_in_any_layout:
            same = [bits(y) for y in outputs_of(result)] == [bits(y) for y in outputs_of(expected)]
            assert same, f"{call}: other bits for {layout.__name__} inputs than for contiguous ones"
        check_values(call, result)
        check_gradients(call, gradients_got, gradients_expected, layout)
        for t, c in zip(laid_out, copies, strict=True):
            assert bits(t) == bits(c), f"{call}: a {layout.__name__} input was changed"


def run(call, tensors, seed_layout):
    """Results and gradients."""
    leaves = [t.requires_grad_() for t, g in zip(tensors, call.grads, strict=True) if g]
    result = call.run(tensors)
    outputs = differentiable_outputs(result)
    if not outputs:
        return result, []
    seeds = [seed_layout(v) for v in cotangents(outputs, outputs[0].dtype.name)]
    return result, dl.grad(outputs, leaves, seeds, allow_unused=True)


def check_gradients(call, got, expected, layout):
    """The same bits, or, where a sum runs in another order, within the tolerance of the float64 gradients."""
    if [bits(g) for g in got] == [bits(g) for g in expected]:
        return
    exact = gradients(call, "float64", seeds_dtype=call.dtype, seed_layout=lambda v: _C.clone(layout(v)))
    for i, (g, e) in enumerate(zip(got, exact, strict=True)):
        if e is not None:
            where = f"{call}, gradient {i} of {layout.__name__} inputs"
            assert_close(exact64(g), e, scale_of(e), call.case.eps.backward, call.dtype, where)


def _values(tensor, like):
    values = _C.cast(tensor, "float64") if like.dtype.kind == "f" else tensor
    return values.numpy().copy()


def test_layouts_are_what_they_say():
    x = as_tensor(np.arange(24.0).reshape(4, 6), "float32")
    assert not transposed(x).is_contiguous() and not stepped(x).is_contiguous()
    assert reversed_(x).strides == (-6, -1)
    assert expanded(x).strides == (6, 0)
    assert misaligned(x).data_ptr() % 64 == 4
    assert not read_only(x)._writable
    for layout in (transposed, stepped, reversed_, misaligned, read_only):
        assert bits(layout(x)) == bits(x)
