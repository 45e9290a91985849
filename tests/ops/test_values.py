"""Every case, in every dtype, against its independent NumPy reference in float64."""

from tests.ops.walk import Call, bits, check_values, each_case_and_dtype


@each_case_and_dtype
def test_values(case, dtype):
    for sample in (*case.samples, *case.edges):
        call = Call(case, sample, dtype)
        tensors = call.tensors()
        before = [bits(t) for t in tensors]
        result = call.run(tensors)
        check_values(call, result)
        assert [bits(t) for t in tensors] == before, f"{call}: an input was changed"
