"""Every operation against PyTorch, from the same opcases: shapes and dtypes in the same dtype, values and gradients
against PyTorch's in float64 on the same numbers, within the case's own tolerance."""

import math
import re
import warnings

import numpy as np
import pytest
import torch

import dlcore as dl
from dlcore import _C
from tests.ops.walk import (
    CASES,
    Call,
    assert_close,
    assert_equal,
    cotangents,
    differentiable_outputs,
    exact64,
    outputs_of,
    scale_of,
    some,
)
from tests.parity.torch_side import NoCounterpart, counterpart, to_numpy, to_torch, translated

# Random numbers come from another generator: shapes and dtypes are compared, not values.
RANDOM = set("rand randn normal rand_like randn_like randint randperm bernoulli multinomial dropout uniform".split())
RANDOM_CASES = {"scaled_dot_product_attention:dropout"}

# Operations of our own: no PyTorch function does this. The float64 reference of the opcase is their judge.
OURS = {"elbo": "a sum of terms that PyTorch has one by one"}

# Cases, or "case" and the argument text of one sample, in which we mean to differ, with the reason.
DIFFERENT = {
    "sign": "sign(NaN) is NaN, as in NumPy; PyTorch gives 0",
    "sub:bool": "differences of booleans are refused by PyTorch",
    "matmul:mixed": "PyTorch refuses operands of different dtypes, which we promote",
    "gelu: array(16,)": "gelu(-inf) is its limit -0; PyTorch gives NaN",
    "gelu: array(13,)": "the far negative tail is accurate; PyTorch rounds it to 0",
    "gelu:tanh: array(16,), 'tanh'": "gelu(-inf) is its limit -0; PyTorch gives NaN",
    "silu: array(16,)": "silu(-inf) is its limit -0; PyTorch gives NaN",
    "conv2d: (2, 0, 4, 4), (3, 0, 3, 3), (3,)": "a sum over no channels is the bias; PyTorch gives an empty result",
    "conv_transpose2d: (1, 0, 3, 3), (0, 2, 3, 3), (2,)": "as above; PyTorch refuses it",
    "arange: 3, 1": "an empty range, as in NumPy and Python; PyTorch refuses it",
    "gelu:tanh: array(13,), 'tanh'": "the far negative tail is accurate; PyTorch rounds it to 0",
    "searchsorted: array(3,), array(4,)": "NaN comes last, as in NumPy; PyTorch compares it as unordered",
    "max_pool2d:indices: array(1, 5, 20), 2, 1": "of several NaN the first is meant; PyTorch gives the last",
    "max_pool2d:indices: (1, 1, 1, 9), 2, 1, 1, 2": "a window outside of the input has no index; PyTorch makes one up",
    "index_select:getitem: (4, 5, 6), Const(value=(0, slice(None, None, None), [1, 1, 0]))": "a number among arrays is "
    "one of them, as in NumPy",
    "cast:int32: array(8,), 'int32'": "out of range saturates, NaN is 0; in PyTorch both are undefined",
    "cast:int32: array(10,), 'int32'": "as above",
    "cast:int64: array(8,), 'int64'": "as above",
    "cast:int64: array(10,), 'int64'": "as above",
    "cast:uint8": "negative numbers saturate to 0; PyTorch wraps",
    "add:in place in a view": "of a slice backwards, which PyTorch does not have",
    "sub:in place in a view": "as above",
    "mul:in place in a view": "as above",
    "div:in place in a view": "as above",
    "add:in place from a shifted view": "overlapping operands are read before they are written; PyTorch refuses them",
    "sub:in place from a shifted view": "as above",
    "mul:in place from a shifted view": "as above",
    "div:in place from a shifted view": "as above",
}

# What PyTorch answers to samples that only we take.
REFUSALS = re.compile(
    "step must be greater than zero"  # slices backwards
    "|expected weight to be at least 1 at dimension 0|non-empty 2D or 4D weight tensor expected"  # no channels
    "|not implemented for 'BFloat16'"
    "|tensor does not have a device"  # the gradient of a group norm with a bias and no weight
    "|could not create a primitive descriptor for the deconvolution"
    "|Function Scatter.*Backward0 returned an invalid gradient"  # more values than indices
)

# Differentiable here and not in PyTorch: differences are the judge of these gradients.
NO_GRADIENT = {
    "remainder:number": "PyTorch has no derivative with respect to the divisor",
    "cosine_similarity:short": "PyTorch differentiates the length of vectors that are taken for longer ones",
}


def different(case, sample):
    return case.name in DIFFERENT or f"{case.name}: {sample!r}" in DIFFERENT


COMPARED = [c for c in CASES if c.name.split(":")[0] not in OURS and c.name not in DIFFERENT]


def is_random(case):
    return case.name in RANDOM_CASES or case.name.split(":")[0] in RANDOM


def compare_all(compare, calls):
    compared = 0
    for call in calls:
        try:
            compare(call)
            compared += 1
        except (RuntimeError, ValueError) as error:
            if not REFUSALS.search(str(error)):
                raise
    assert compared, "PyTorch refused every sample"


def run_torch(call, tensors):
    args, kwargs = call.rebuild(tensors)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside PyTorch
        return outputs_of(translated(call.case.op)(*args, **kwargs))


@pytest.mark.parametrize("case", COMPARED, ids=lambda c: c.name)
def test_values(case):
    samples = [s for s in (*some(case.samples, 12), *case.edges) if not different(case, s)]
    compare_all(compare_values, [Call(case, s, dtype) for dtype in dtypes_of(case) for s in samples])


def dtypes_of(case):
    return [d for d in ("float32", "bfloat16") if d in case.dtypes] or list(case.dtypes)


def compare_values(call):
    ours = outputs_of(call.run(call.tensors()))
    same = run_torch(call, [to_torch(a, call.dtype) for a in call.arrays])
    exact = run_torch(call, [to_torch(a, "float64") for a in call.arrays])
    assert len(ours) == len(same), f"{call}: {len(ours)} outputs, PyTorch gives {len(same)}"
    magnitudes = call.magnitude(call.reference())
    for i, (y, s, e, m) in enumerate(zip(ours, same, exact, magnitudes, strict=True)):
        where = f"{call}, output {i}, against PyTorch"
        values, expected = exact64(y), to_numpy(e)
        assert values.shape == expected.shape, f"{where}: shape {values.shape}, PyTorch gives {expected.shape}"
        if isinstance(y, _C.Tensor):
            name = str(s.dtype).removeprefix("torch.")
            assert y.dtype.name == name, f"{where}: {y.dtype.name}, PyTorch gives {name}"
        if is_random(call.case):
            continue
        if expected.dtype.kind in "biu":
            assert_equal(values, to_numpy(s), where)
        else:
            assert_close(values, expected, m, call.case.eps.forward, y.dtype.name, where)


DIFFERENTIABLE = [c for c in COMPARED if c.gradient and not is_random(c) and c.name not in NO_GRADIENT]


@pytest.mark.parametrize("case", DIFFERENTIABLE, ids=lambda c: c.name)
def test_gradients(case):
    calls = [Call(case, s, dtype) for dtype in dtypes_of(case) for s in some(case.samples, 6) if not different(case, s)]
    compare_all(compare_gradients, [c for c in calls if any(c.grads)])


def compare_gradients(call):
    ours = [t.requires_grad_() if g else t for t, g in zip(call.tensors(), call.grads, strict=True)]
    theirs = [to_torch(a, "float64").requires_grad_(bool(g)) for a, g in zip(call.arrays, call.grads, strict=True)]
    outputs = differentiable_outputs(call.run(ours))
    seeds = cotangents(outputs, call.dtype)
    got = dl.grad(outputs, [t for t, g in zip(ours, call.grads, strict=True) if g], seeds, allow_unused=True)
    expected = torch.autograd.grad(
        [y for y in run_torch(call, theirs) if isinstance(y, torch.Tensor) and y.requires_grad],
        [t for t, g in zip(theirs, call.grads, strict=True) if g],
        [torch.from_numpy(exact64(v)) for v in seeds],
        allow_unused=True,
    )
    for i, (g, e) in enumerate(zip(got, expected, strict=True)):
        if g is None and e is not None:  # a value written over: nothing flows, where PyTorch gives zeros
            assert not e.any(), f"{call}: gradient {i} is missing"
            continue
        assert (g is None) == (e is None), f"{call}: gradient {i} is not in PyTorch"
        if g is not None and math.prod(g.shape):
            e = to_numpy(e)
            e = np.where(np.abs(e) < 1e-12, 0, e)  # what rounding in float64 leaves of a zero
            assert_close(
                exact64(g), e, scale_of(e), call.case.eps.backward, g.dtype.name, f"{call}, gradient {i}, PyTorch's"
            )


def test_every_exception_is_still_one():
    """An entry whose operation or case is gone, or now agrees, must go too."""
    public = {c.name.split(":")[0] for c in CASES}
    assert set(OURS) <= public, set(OURS) - public
    for name in DIFFERENT:
        cases = [c for c in CASES if c.name == name.partition(": ")[0] or c.name == name]
        assert cases, f"{name} is no case"
        samples = [s for c in cases for s in (*c.samples, *c.edges) if name == c.name or name == f"{c.name}: {s!r}"]
        assert any(disagrees(Call(c, s, c.dtypes[0])) for c in cases for s in samples), f"{name} agrees with PyTorch"


def disagrees(call):
    try:
        compare_values(call)
    except (AssertionError, NoCounterpart, RuntimeError, TypeError, ValueError):
        return True
    return False


PAIRS = ["bool", "uint8", "int32", "int64", "bfloat16", "float32", "float64"]


@pytest.mark.parametrize("a", PAIRS)
@pytest.mark.parametrize("b", [*PAIRS, "a bool", "an int", "a float"])
@pytest.mark.parametrize("op", ["add", "mul", "div", "maximum", "eq", "where"])
def test_dtypes_of_pairs(op, a, b):
    """Promotion as in PyTorch, plain numbers included."""
    numbers = {"a bool": True, "an int": 3, "a float": 2.5}
    x, tx = dl.ones((2,), dtype=a), torch.ones((2,), dtype=getattr(torch, a))
    y = numbers[b] if b in numbers else dl.ones((2,), dtype=b)
    ty = numbers[b] if b in numbers else torch.ones((2,), dtype=getattr(torch, b))
    if op == "where":
        ours = dl.where(dl.ones((2,), dtype="bool"), x, y)
        theirs = torch.where(torch.ones((2,), dtype=torch.bool), tx, ty)
    else:
        ours, theirs = getattr(dl, op)(x, y), counterpart(op)(tx, ty)
    assert ours.dtype.name == str(theirs.dtype).removeprefix("torch.")
