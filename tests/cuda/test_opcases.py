"""Every operation on the device, against the references that its CPU kernels have: values and gradients.

Families with a file in cuda/kernels must run; every other operation must give the right result, of kernels that it is
composed of, or refuse by the one error for that, never touch the device's memory from the CPU.
"""

import os
from pathlib import Path

import pytest

from dlcore import _C
from tests.ops.walk import CASES, Call, assert_close, bits, check_values, gradients, outputs_of, scale_of, some

FAMILIES = {p.stem for p in (Path(__file__).resolve().parents[2] / "cuda" / "kernels").glob("*.cu")}
CHECKED = os.environ.get("DLCORE_CUDA_BUILD") == "checked"  # ten times as slow
# Of families that have kernels, what has none: it refuses, and says so.
WITHOUT_KERNELS = {
    "multinomial": "one thread draws after the other",
    "nll_loss": "needs gather",
}
WITHOUT_GRADIENT = {"prod": "where there are zeros, it needs index"}


# Without a kernel; composed by NumPy; or, in a case's own wrapper, of a tensor that it makes on the CPU.
REFUSALS = ("has no CUDA kernel", "NumPy reads the CPU's memory", "expected tensors on one device")


def samples_of(case, most):
    return some([*case.samples, *case.edges], most // 2 if CHECKED else most)


def run_on_device(call):
    """The result, or None where the operation refuses."""
    tensors = call.tensors()
    try:
        result = call.run(tensors)
    except (NotImplementedError, BufferError, ValueError) as error:
        assert any(text in str(error) for text in REFUSALS), f"{call}: {error}"
        return None
    places = {y.device for y in outputs_of(result) if isinstance(y, _C.Tensor)}
    assert places <= {"cuda"} or not tensors, f"{call}: the result lies on {places}"
    return result


def family(case):
    return case.op.__module__.rsplit(".")[-1]


def must_run(case):
    return family(case) in FAMILIES and case.name not in WITHOUT_KERNELS


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_values(case):
    for dtype in case.dtypes:
        for sample in samples_of(case, 24):
            call = Call(case, sample, dtype, "cuda")
            result = run_on_device(call)
            assert result is not None or not must_run(case), f"{call}: has no CUDA kernel, its family has some"
            if result is not None:
                check_values(call, result)


# Reductions of many blocks. Not products: their error grows with the factors, whatever their order.
MANY_BLOCKS = [
    c for c in CASES if family(c) in ("softmax", "reduce", "norm", "embedding") and c.big and c.name != "prod"
]


@pytest.mark.parametrize("case", MANY_BLOCKS[:1] if CHECKED else MANY_BLOCKS, ids=lambda case: case.name)
def test_many_blocks(case):
    for sample in case.big:
        call = Call(case, sample, case.dtypes[0], "cuda")
        result = run_on_device(call)
        assert result is not None
        check_values(call, result)
        again = run_on_device(call)
        assert [bits(y) for y in outputs_of(result)] == [bits(y) for y in outputs_of(again)], f"{call}: other bits"


@pytest.mark.parametrize("case", [c for c in CASES if c.gradient], ids=lambda case: case.name)
def test_gradients(case):
    for dtype in [d for d in ("float32", "bfloat16") if d in case.dtypes] or case.dtypes:
        for sample in some(case.samples, 3 if CHECKED else 6):
            call = Call(case, sample, dtype, "cuda")
            if run_on_device(call) is None:
                continue
            try:
                got = gradients(call, dtype)
            except NotImplementedError as error:
                assert "has no CUDA kernel" in str(error), f"{call}: {error}"
                assert not must_run(case) or case.name in WITHOUT_GRADIENT, f"{call}: {error}"
                continue
            expected = gradients(Call(case, sample, dtype), "float64", seeds_dtype=dtype)
            for i, (g, e) in enumerate(zip(got, expected, strict=True)):
                if e is not None and g is not None and e.size:
                    assert_close(g, e, scale_of(e), case.eps.backward, dtype, f"{call} on the device, gradient {i}")
