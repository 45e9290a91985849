"""Gradients: in float64 against central differences, in other dtypes against float64, and second derivatives."""

from functools import partial

import numpy as np
import pytest

import dlcore as dl
from tests.opcases import EPS
from tests.ops.differences import central_difference, dot, some_places
from tests.ops.walk import (
    CASES,
    Call,
    as_tensor,
    assert_close,
    cotangents,
    differentiable_outputs,
    each_case,
    exact64,
    gradients,
    scale_of,
)

PLACES = 8  # elements per input: with a random cotangent each one tests a whole column of the Jacobian

DIFFERENTIABLE = pytest.mark.parametrize("case", [c for c in CASES if c.gradient], ids=lambda c: c.name)


def gradient_calls(case, dtype):
    """The samples that have something to differentiate."""
    calls = [Call(case, s, dtype) for s in case.samples]
    return [c for c in calls if any(g and a.size for g, a in zip(c.grads, c.arrays, strict=True))]


@each_case
def test_case_declares_its_gradient(case):
    if case.gradient:
        assert gradient_calls(case, "float64"), f"{case.name}: no sample has a differentiable input; set gradient=False"
        return
    for sample in case.samples:
        call = Call(case, sample, "float64")
        tensors = [t.requires_grad_() if g else t for t, g in zip(call.tensors(), call.grads, strict=True)]
        found = differentiable_outputs(call.run(tensors))
        assert not found, f"{call}: gradient=False, but an output requires a gradient"


def objective(call, seeds):
    """sum(seed * output) of the case at the call's present arrays, with the rounding error of its terms."""
    tensors = [as_tensor(a, "float64") for a in call.arrays]
    result = call.run([t.requires_grad_() if g else t for t, g in zip(tensors, call.grads, strict=True)])
    outputs = [exact64(y) for y in differentiable_outputs(result)]
    value = sum(dot(v, y) for v, y in zip(seeds, outputs, strict=True))
    magnitudes = [np.abs(y) for y in outputs]
    if call.case.magnitude is not None and len(outputs) == 1:
        magnitudes = [np.broadcast_to(m, y.shape) for m, y in zip(call.magnitude(outputs)[:1], outputs, strict=True)]
    noise = sum(dot(np.abs(v), m) for v, m in zip(seeds, magnitudes, strict=True))
    # Exact operations round too, here: their products with the seeds, and the inputs' steps.
    return value, (call.case.eps.forward + 2) * EPS["float64"] * noise


@DIFFERENTIABLE
def test_against_differences(case):
    rng = np.random.default_rng(2)
    for call in gradient_calls(case, "float64"):
        tensors = [t.requires_grad_() if g else t for t, g in zip(call.tensors(), call.grads, strict=True)]
        outputs = differentiable_outputs(call.run(tensors))
        assert outputs, f"{call}: no output requires a gradient"
        seeds = [exact64(v) for v in cotangents(outputs, "float64")]
        got = iter(gradients(call, "float64"))
        for position, array in enumerate(call.arrays):
            if not call.grads[position]:
                continue
            g = next(got)
            for at in some_places(array.shape, PLACES, rng):
                expected, bound = central_difference(partial(objective, call, seeds), array, at)
                actual = 0.0 if g is None else float(g[at])
                assert abs(actual - expected) <= bound + case.eps.backward * EPS["float64"] * abs(expected), (
                    f"{call}: gradient of input {position} at {at} is {actual}, expected {expected} ± {bound:.2g}"
                )


@DIFFERENTIABLE
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_against_float64(case, dtype):
    if dtype not in case.dtypes:
        with_error = f"{case.name} is not declared for {dtype}"
        assert dtype == "bfloat16", with_error
        return
    for call in gradient_calls(case, dtype):
        low, high = gradients(call, dtype), gradients(call, "float64", seeds_dtype=dtype)
        for i, (g, e) in enumerate(zip(low, high, strict=True)):
            assert (g is None) == (e is None), f"{call}: gradient {i} exists in one dtype only"
            if g is not None:
                assert_close(g, e, scale_of(e), case.eps.backward, dtype, f"{call}, gradient {i}")


@DIFFERENTIABLE
def test_second_derivatives(case):
    """Right where the case promises them; elsewhere right or refused by name, never silently wrong."""
    rng = np.random.default_rng(3)
    for call in gradient_calls(case, "float64")[:: 1 if case.twice else 4]:
        try:
            first = _FirstGradients(call)
            analytic = first.second()
        except NotImplementedError as error:
            assert not case.twice, f"{call}: {error}"
            assert "second derivatives" in str(error)
            return
        for position, array in enumerate(first.variables):
            for at in some_places(array.shape, PLACES // 2, rng):
                expected, bound = central_difference(first.objective, array, at)
                actual = 0.0 if analytic[position] is None else float(exact64(analytic[position])[at])
                assert abs(actual - expected) <= bound + case.eps.backward * EPS["float64"] * abs(expected), (
                    f"{call}: second derivative of variable {position} at {at} is {actual}, "
                    f"differences give {expected} ± {bound:.2g}"
                )


class _FirstGradients:
    """The first gradients as a function of the inputs and of the cotangents, projected to one number."""

    def __init__(self, call):
        self.call = call
        x = [t for t, g in zip(call.tensors(), call.grads, strict=True) if g]
        outputs = differentiable_outputs(call.run(self._fill(t.requires_grad_() for t in x)))
        self.seeds = [exact64(v) for v in cotangents(outputs, "float64")]
        self.variables = [a for a, g in zip(call.arrays, call.grads, strict=True) if g] + self.seeds
        grads, _ = self._gradients(create_graph=False)
        rng = np.random.default_rng(4)
        self.weights = [rng.standard_normal(g.shape) for g in grads]

    def _fill(self, leaves):
        leaves = iter(leaves)
        pairs = zip(self.call.arrays, self.call.grads, strict=True)
        return [next(leaves) if g else as_tensor(a, "float64") for a, g in pairs]

    def _gradients(self, create_graph):
        leaves = [as_tensor(a, "float64").requires_grad_() for a in self.variables]
        n = len(leaves) - len(self.seeds)
        outputs = differentiable_outputs(self.call.run(self._fill(leaves[:n])))
        grads = dl.grad(outputs, leaves[:n], leaves[n:], create_graph=create_graph, allow_unused=True)
        return [g if g is not None else dl.zeros_like(x) for g, x in zip(grads, leaves[:n], strict=True)], leaves

    def second(self):
        grads, leaves = self._gradients(create_graph=True)
        live = [(g, as_tensor(w, "float64")) for g, w in zip(grads, self.weights, strict=True) if g.requires_grad]
        if not live:
            return [None] * len(leaves)
        return dl.grad([g for g, _ in live], leaves, [w for _, w in live], allow_unused=True)

    def objective(self):
        grads = [exact64(g) for g in self._gradients(create_graph=False)[0]]
        value = sum(dot(w, g) for w, g in zip(self.weights, grads, strict=True))
        noise = sum(dot(np.abs(w), scale_of(g)) for w, g in zip(self.weights, grads, strict=True))
        return value, (self.call.case.eps.backward + 2) * EPS["float64"] * noise
