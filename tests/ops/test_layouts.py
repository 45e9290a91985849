"""Strided, broadcast, misaligned and read-only inputs give what their contiguous copies give, gradients included."""

import numpy as np
import pytest

import dlcore as dl
from dlcore import _C
from tests.ops.walk import (
    Call,
    as_tensor,
    bits,
    check_values,
    cotangents,
    differentiable_outputs,
    each_case,
    outputs_of,
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


def run(call, tensors, seed_layout):
    """Results, and their and the gradients' bits."""
    leaves = []
    for t, g in zip(tensors, call.grads, strict=True):
        if g:
            t.requires_grad = True
            leaves.append(t)
    result = call.run(tensors)
    prints = [bits(y) for y in outputs_of(result)]
    outputs = differentiable_outputs(result)
    if outputs:
        seeds = [seed_layout(v) for v in cotangents(outputs, outputs[0].dtype.name)]
        prints += [bits(g) for g in dl.grad(outputs, leaves, seeds, allow_unused=True)]
    return result, prints


@each_case
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda f: f.__name__.strip("_"))
def test_layouts(case, layout):
    dtypes = [d for d in ("float32", "bfloat16") if d in case.dtypes] or list(case.dtypes)
    for call in [Call(case, s, d) for d in dtypes for s in some(case.samples, 10)]:
        laid_out = [layout(t) for t in call.tensors()]
        copies = [_C.clone(t) for t in laid_out]
        call.arrays = [_values(c, a) for c, a in zip(copies, call.arrays, strict=True)]
        _, expected = run(call, copies, lambda v: _C.clone(layout(v)))
        result, got = run(call, laid_out, layout)
        if case.same_in_any_layout:
            assert got == expected, f"{call}: other bits for {layout.__name__} inputs than for contiguous ones"
        check_values(call, result)
        for t, c in zip(laid_out, copies, strict=True):
            assert bits(t) == bits(c), f"{call}: a {layout.__name__} input was changed"


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
