"""Every instruction set that this CPU runs, the reference included: values and gradients within the same tolerance."""

from pathlib import Path

import pytest

from dlcore import _C
from tests.ops.walk import CASES, Call, assert_close, check_values, gradients, scale_of, some

KERNELS = Path(__file__).resolve().parents[2] / "cpp" / "kernels"
EXTENSIONS = {p.stem for p in KERNELS.glob("*/*.cpp")} & set(_C.supported_targets()) - {"reference"}


def has_kernels(case, target):
    """An extension has kernels of few families; all others take AVX-512's there."""
    family = case.op.__module__.rsplit(".")[-1]
    return target not in EXTENSIONS or (KERNELS / family / f"{target}.cpp").exists()


@pytest.mark.parametrize(
    ("target", "case"),
    [
        pytest.param(target, case, id=f"{target}-{case.name}")
        for target in _C.supported_targets()
        for case in CASES
        if has_kernels(case, target)
    ],
)
def test_targets(target, case):
    for dtype in [d for d in ("float32", "bfloat16") if d in case.dtypes] or case.dtypes:
        for sample in (*some(case.samples, 16), *case.edges):
            call = Call(case, sample, dtype)
            _C.set_target(target)
            check_values(call, call.run(call.tensors()))
        if not case.gradient:
            continue
        for sample in some(case.samples, 6):
            call = Call(case, sample, dtype)
            _C.set_target(target)
            got = gradients(call, dtype)
            _C.set_target("reference")
            for i, (g, e) in enumerate(zip(got, gradients(call, "float64", seeds_dtype=dtype), strict=True)):
                if e is not None and g is not None and e.size:
                    assert_close(g, e, scale_of(e), case.eps.backward, dtype, f"{call} on {target}, gradient {i}")
