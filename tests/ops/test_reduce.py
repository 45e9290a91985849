"""Reductions beyond what a case can say: long sums, named results, what a transposed tensor costs."""

import numpy as np
import pytest

import dlcore as dl
from dlcore import _C
from tests.opcases import EPS


def test_max_and_min_give_named_results():
    x = dl.tensor([[1.0, 5.0, 2.0], [4.0, 4.0, 0.0]])
    for got, values, indices in [(x.max(1), [5.0, 4.0], [1, 0]), (x.min(1), [1.0, 0.0], [0, 2])]:
        assert isinstance(got, dl.ValuesIndices)
        assert got.values.tolist() == values and got.indices.tolist() == indices
    assert x.max().item() == 5.0 and x.min().item() == 0.0


@pytest.mark.parametrize("n", [10**6, 2**24])
def test_error_of_a_long_sum_grows_with_its_tree_only(n):
    # 0.1 in float32, n times: a running float32 sum is off by whole percents here.
    x = np.full(n, 0.1, np.float32)
    exact = float(x[0]) * n
    depth = 16 + 64 + np.log2(n)  # steps of a run, runs of a chunk, chunks and lanes
    assert abs(dl.tensor(x).sum().item() - exact) <= depth * EPS["float32"] * exact
    assert abs(dl.tensor(x).mean().item() - 0.1) <= depth * EPS["float32"] * 0.1 + EPS["float32"]


def test_variance_about_a_large_mean():
    x = (1e8 + 1000 * np.random.default_rng(0).standard_normal(300000)).astype(np.float32)
    assert dl.tensor(x).var().item() == pytest.approx(x.astype(np.float64).var(ddof=1), rel=1e-6)


def test_a_transposed_tensor_is_not_copied():
    x = dl.zeros((1000, 2000))
    before = dl.memory_stats()["allocations"]
    dl.sum(_C.permute(x, (1, 0)), 0)
    dl.reset_peak_memory()
    live = dl.memory_stats()["live"]
    dl.sum(_C.permute(x, (1, 0)), 0)
    assert dl.memory_stats()["allocations"] > before
    assert dl.memory_stats()["peak"] - live < x.nbytes / 4


def test_product_gradient_with_zeros():
    x = dl.tensor([[2.0, 0.0, 3.0], [0.0, 0.0, 5.0], [2.0, 3.0, 4.0]], requires_grad=True)
    dl.prod(x, 1).sum().backward()
    assert x.grad.tolist() == [[0.0, 6.0, 0.0], [0.0, 0.0, 0.0], [12.0, 8.0, 6.0]]


def test_equal_extremes_share_the_gradient_and_a_place_takes_it_all():
    x = dl.tensor([[1.0, 3.0, 3.0], [2.0, 1.0, 1.0]], requires_grad=True)
    for result, expected in [
        (x.amax(1), [[0.0, 0.5, 0.5], [1.0, 0.0, 0.0]]),
        (x.amin(1), [[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]]),
        (x.max(), [[0.0, 0.5, 0.5], [0.0, 0.0, 0.0]]),
        (x.max(1).values, [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]),
        (x.min(1).values, [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]),
    ]:
        assert dl.grad(result.sum(), x)[0].tolist() == expected
