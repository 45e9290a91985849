"""What the walkers share: a case's arguments as tensors of a dtype, its results as arrays, and the tolerance."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import dlcore as dl
from dlcore import _C
from tests.opcases import EPS, OpCase, Sample, all_cases

CASES = list(all_cases())
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
each_case_and_dtype = pytest.mark.parametrize(
    ("case", "dtype"), [pytest.param(c, d, id=f"{c.name}-{d}") for c in CASES for d in c.dtypes]
)

# The largest and the smallest normal magnitude of each floating dtype. Below the latter results may lose bits.
LARGEST = {
    "float32": 2.0**127 * (2 - 2.0**-23),
    "bfloat16": 2.0**127 * (2 - 2.0**-7),
    "float64": np.finfo(np.float64).max,
}
SMALLEST = {"float32": 2.0**-126, "bfloat16": 2.0**-126, "float64": 2.0**-1022}


class Call:
    """One call of a case with its floating inputs rounded to `dtype`: both sides see the very same numbers."""

    def __init__(self, case: OpCase, sample: Sample, dtype: str, device: str = "cpu") -> None:
        self.case, self.sample, self.dtype, self.device = case, sample, dtype, device
        drawn, self.grads, self.rebuild = sample.bind()
        self.floating = [a.dtype.kind == "f" for a in drawn]
        self.arrays = [exact64(as_tensor(a, dtype)) if f else a for a, f in zip(drawn, self.floating, strict=True)]

    def tensors(self) -> list[Any]:
        return [as_tensor(a, self.dtype, self.device) for a in self.arrays]

    def run(self, tensors: Sequence[Any]) -> Any:
        if hasattr(dl, "manual_seed"):
            dl.manual_seed(0)
        args, kwargs = self.rebuild(tensors)
        return self.case.op(*args, **kwargs)

    def reference(self) -> list[np.ndarray]:
        return self._of_arrays(self.case.reference)

    def magnitude(self, expected: list[np.ndarray]) -> list[np.ndarray]:
        """One array per output, broadcast against it; |reference| unless the case has a function for it."""
        if self.case.magnitude is None:
            return [np.abs(e) for e in expected]
        given = self._of_arrays(self.case.magnitude)
        return given if len(given) == len(expected) else given * len(expected)

    def _of_arrays(self, function: Any) -> list[np.ndarray]:
        args, kwargs = self.rebuild([a.copy() for a in self.arrays])
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # means of nothing
            return [np.asarray(v) for v in outputs_of(function(*args, **kwargs))]

    def __repr__(self) -> str:
        return f"{self.case.name}({self.sample!r}) in {self.dtype}, seed {self.sample.seed}"


def as_tensor(array: np.ndarray, dtype: str, device: str = "cpu") -> Any:
    """A fresh contiguous tensor; floating arrays are converted to `dtype`."""
    return dl.tensor(array, dtype if array.dtype.kind == "f" else None, device)


def exact64(tensor: Any) -> np.ndarray:
    """A copy of the values: float64 for any floating dtype (which holds them exactly), as they are otherwise."""
    if not isinstance(tensor, _C.Tensor):
        return np.asarray(tensor)
    tensor = _C.to_device(tensor, "cpu")
    if tensor.dtype.is_floating_point:
        return _C.cast(_C.clone(tensor), "float64").numpy().copy()
    return _C.clone(tensor).numpy().copy()


def bits(tensor: Any) -> bytes:
    """The elements as bytes in row-major order: equal results, signs of zero and NaN payloads included."""
    if not isinstance(tensor, _C.Tensor):
        return repr(tensor).encode()
    return np.array(_raw(_C.to_device(tensor, "cpu")), order="C").tobytes()


def _raw(tensor: Any) -> np.ndarray:
    # bfloat16 survives the way through float32 bit for bit, quiet NaNs included.
    return (_C.cast(tensor, "float32") if tensor.dtype is dl.bfloat16 else tensor.detach()).numpy()


def outputs_of(result: Any) -> list[Any]:
    return list(result) if isinstance(result, (tuple, list)) else [result]


def differentiable_outputs(result: Any) -> list[Any]:
    return [y for y in outputs_of(result) if isinstance(y, _C.Tensor) and y.requires_grad]


def check_values(call: Call, result: Any) -> None:
    """Every output against the float64 reference: shape, dtype, values within eps.forward * EPS[dtype] * magnitude."""
    expected = call.reference()
    actual = outputs_of(result)
    assert len(actual) == len(expected), f"{call}: {len(actual)} outputs, the reference has {len(expected)}"
    magnitudes = call.magnitude(expected)
    dtypes = expected_dtypes(call, expected)
    for i, (y, e, m, dtype) in enumerate(zip(actual, expected, magnitudes, dtypes, strict=True)):
        where = f"{call}, output {i}"
        values = exact64(y)
        assert values.shape == e.shape, f"{where}: shape {values.shape}, the reference has {e.shape}"
        if isinstance(y, _C.Tensor):
            assert y.dtype.name == dtype, f"{where}: dtype {y.dtype.name}, expected {dtype}"
        if call.case.exact or e.dtype.kind in "biu":
            assert_equal(values, e, where)
        else:
            assert_close(values, e, m, call.case.eps.forward, dtype, where)


def expected_dtypes(call: Call, expected: list[np.ndarray]) -> list[str]:
    given = call.case.output_dtype
    if given is not None:
        names = given(*(lambda a, k: [*a, *k.values()])(*call.rebuild(call.tensors()))) if callable(given) else given
        return list(names) if isinstance(names, tuple) else [names] * len(expected)
    has_floating = any(call.floating)
    return [call.dtype if e.dtype.kind == "f" and has_floating else e.dtype.name for e in expected]


def assert_equal(actual: np.ndarray, expected: np.ndarray, where: str) -> None:
    same = (actual == expected) | ((actual != actual) & (expected != expected))
    if not same.all():
        at = tuple(int(i) for i in np.argwhere(~same)[0])
        raise AssertionError(
            f"{where}: {np.count_nonzero(~same)} of {same.size} elements differ, first at {at}: "
            f"got {actual[at]!r}, expected {expected[at]!r}"
        )


def assert_close(actual: np.ndarray, expected: np.ndarray, magnitude: Any, eps: float, dtype: str, where: str) -> None:
    """|actual - expected| <= eps * EPS[dtype] * magnitude; NaN where NaN is expected; overflow to the infinity due."""
    expected = np.asarray(expected, np.float64)
    with np.errstate(all="ignore"):
        bound = eps * EPS[dtype] * np.broadcast_to(np.asarray(magnitude, np.float64), expected.shape) + SMALLEST[dtype]
        error = np.abs(actual - expected)
        overflow = np.abs(expected) > LARGEST[dtype] * (1 - EPS[dtype])
        good = (error <= bound) | (actual == expected) | (np.isnan(actual) & np.isnan(expected))
        good |= overflow & np.isinf(actual) & (np.sign(actual) == np.sign(expected))
    if not good.all():
        bad = np.where(good, -1, np.where(np.isfinite(error), error / bound, np.inf))
        at = tuple(int(i) for i in np.unravel_index(np.argmax(bad), bad.shape))
        raise AssertionError(
            f"{where}: {np.count_nonzero(~good)} of {good.size} elements are outside the bound; the worst at {at}: got "
            f"{actual[at]!r}, expected {expected[at]!r}, error {error[at]:.3g}, allowed {bound[at]:.3g} "
            f"(eps {eps}, {error[at] / bound[at] * eps:.3g} needed)"
        )


def cotangents(outputs: list[Any], dtype: str, seed: int = 1) -> list[Any]:
    """A normal random gradient for each output, representable in `dtype` and so the same for every dtype above it."""
    rng = np.random.default_rng(seed)
    drawn = [exact64(as_tensor(rng.standard_normal(y.shape), dtype)) for y in outputs]
    return [as_tensor(v, y.dtype.name, y.device) for v, y in zip(drawn, outputs, strict=True)]


def gradients(
    call: Call, dtype: str, seeds_dtype: str | None = None, seed_layout: Any = lambda seed: seed
) -> list[np.ndarray | None]:
    """The gradients of every differentiable input, for the same numbers and cotangents in whichever dtype."""
    tensors = [as_tensor(a, dtype, call.device) for a in call.arrays]
    leaves = [t.requires_grad_() for t, g in zip(tensors, call.grads, strict=True) if g]
    outputs = differentiable_outputs(call.run(tensors))
    if not outputs:
        return [None] * len(leaves)
    seeds = [seed_layout(v) for v in cotangents(outputs, seeds_dtype or dtype)]
    got = dl.grad(outputs, leaves, seeds, allow_unused=True)
    for x, g in zip(leaves, got, strict=True):
        if g is not None:
            assert g.shape == x.shape, f"{call}: a gradient of shape {g.shape} for an input of {x.shape}"
            assert g.dtype is x.dtype, f"{call}: a gradient of {g.dtype!r} for an input of {x.dtype!r}"
    return [None if g is None else exact64(g) for g in got]


def scale_of(g: np.ndarray) -> np.ndarray:
    """What a gradient's rounding error is measured by: each element, and the whole it was reduced from."""
    return np.abs(g) + (np.sqrt(np.mean(np.square(g))) if g.size else 0.0)


def some(samples: Sequence[Sample], most: int) -> list[Sample]:
    """At most `most` samples, evenly spread, the first and the last among them."""
    if len(samples) <= most:
        return list(samples)
    return [samples[round(i * (len(samples) - 1) / (most - 1))] for i in range(most)]
