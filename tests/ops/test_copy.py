"""Casts between all pairs of dtypes, by NumPy where it defines them and by the documented rule where not."""

import numpy as np
import pytest

import dlcore as dl

NUMPY = ["float32", "float64", "int64", "int32", "uint8", "bool"]


@pytest.mark.parametrize("target", ["reference", "baseline", "avx2", "avx512"])
@pytest.mark.parametrize("to", NUMPY)
@pytest.mark.parametrize("source", NUMPY)
def test_every_pair(source, to, target):
    if target not in dl._C.supported_targets():
        pytest.skip(f"this CPU does not run {target}")
    before = dl._C.target()
    dl._C.set_target(target)
    try:
        for n in (0, 1, 7, 33, 100_000):
            x = np.random.default_rng(n).integers(0, 200, n) + (0.75 if source.startswith("float") else 0)
            x = (x % 3 if source == "bool" else x).astype(source)
            y = dl.cast(dl.tensor(x), to)
            assert y.dtype.name == to
            np.testing.assert_array_equal(y.numpy(), x.astype(to))
    finally:
        dl._C.set_target(before)


@pytest.mark.parametrize("source", ["float32", "float64"])
def test_floats_saturate_and_nan_becomes_zero(source):
    x = dl.tensor(np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, 3.9, -3.9], source))
    assert x.to(dl.int32).tolist() == [0, 2**31 - 1, -(2**31), 2**31 - 1, -(2**31), 3, -3]
    assert x.to(dl.int64).tolist() == [0, 2**63 - 1, -(2**63), 2**63 - 1, -(2**63), 3, -3]
    assert x.to(dl.uint8).tolist() == [0, 255, 0, 255, 0, 3, 0]
    assert x.to(dl.bool_).tolist() == [True] * 7


def test_bfloat16_rounds_to_nearest_even():
    x = dl.tensor([1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, -(1 + 2**-8), float("inf"), 3.4e38])
    assert x.bfloat16().tolist() == [1.0, 1 + 2**-6, 1 + 2**-7, -1.0, float("inf"), float("inf")]
    assert np.isnan(dl.tensor(float("nan")).bfloat16().item())


def test_gradients_are_cast_back():
    x = dl.tensor([1.0, 2.0], requires_grad=True)
    y = x.double()
    y.backward(dl.tensor([0.1, 0.2], dtype=dl.float64))
    assert x.grad.dtype is dl.float32
    np.testing.assert_array_equal(x.grad.numpy(), np.array([0.1, 0.2], np.float32))


def test_nothing_to_do_gives_the_tensor_itself():
    x = dl.ones((2,))
    assert x.to(dl.float32) is x and dl.contiguous(x) is x


def test_unknown_dtype():
    with pytest.raises(TypeError, match=r"expected a dtype \(float32"):
        dl.ones((2,)).to("float31")
