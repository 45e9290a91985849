"""Generators and their state, numbers in place, distributions, and that dropout's mask is drawn again."""

import math
import threading

import numpy as np
import pytest

import dlcore as dl
from dlcore import _C
from tests.opcases.random import words
from tests.ops.walk import bits

# Probability 1e-6 that a right generator fails: the quantile of the normal distribution, and Kolmogorov's.
SIGMAS, KOLMOGOROV = 4.9, 2.69


def normal_cdf(x):
    return np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in x.tolist()])


def kolmogorov_smirnov(sample, cdf):
    """sqrt(n) times the largest distance between the sample's distribution and `cdf`."""
    x = np.sort(sample.astype(np.float64))
    f, n = cdf(x), x.size
    steps = np.arange(n + 1) / n
    return math.sqrt(n) * max((steps[1:] - f).max(), (f - steps[:-1]).max())


def chi_square(counts, expected):
    """In standard deviations from its mean, for many degrees of freedom."""
    k = counts.size - 1
    return (((counts - expected) ** 2 / expected).sum() - k) / math.sqrt(2 * k)


@pytest.mark.parametrize("target", _C.supported_targets())
def test_philox_known_answers(target):
    """Random123's kat_vectors for philox4x32-10: the words of block 0 are elements 0, 16, 32, 48."""
    _C.set_target(target)
    got = _C.random_bits(64, 0, 0).numpy().view(np.uint32)[::16]
    assert [hex(w) for w in got] == ["0x6627e8d5", "0xe169c58d", "0xbc57ac4c", "0x9b00dbd8"]


@pytest.mark.parametrize("target", _C.supported_targets())
def test_words_of_other_seeds_and_streams(target):
    _C.set_target(target)
    for seed, stream in ((1, 0), (2**64 - 1, 3), (2**33 + 5, 2**63 + 9)):
        got = _C.random_bits(1000, seed, stream).numpy().view(np.uint32)
        assert np.array_equal(got, words(1000, seed=seed, stream=stream))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_distributions(dtype):
    n = 200_000
    g = dl.Generator(7)
    u = dl.rand(n, generator=g, dtype=dtype).numpy()
    assert u.min() >= 0 and u.max() < 1
    assert kolmogorov_smirnov(u, lambda x: x) < KOLMOGOROV
    z = dl.randn(n, generator=g, dtype=dtype).numpy().astype(np.float64)
    assert kolmogorov_smirnov(z, normal_cdf) < KOLMOGOROV
    # Mean, variance and the correlation of Box-Muller's partners: standard errors sqrt(1/n), sqrt(2/n), sqrt(2/n).
    assert abs(z.mean()) < SIGMAS / math.sqrt(n)
    assert abs(z.var() - 1) < SIGMAS * math.sqrt(2 / n)
    blocks = z.reshape(-1, 2, 16)
    assert abs((blocks[:, 0] * blocks[:, 1]).mean()) < SIGMAS * math.sqrt(2 / n)
    assert abs((z[1:] * z[:-1]).mean()) < SIGMAS / math.sqrt(n)


def test_discrete_distributions():
    g = dl.Generator(11)
    n = 300_000
    counts = np.bincount(dl.randint(0, 300, (n,), generator=g).numpy(), minlength=300)
    assert abs(chi_square(counts, n / 300)) < SIGMAS
    p = dl.full((n,), 0.3)
    assert abs(p.bernoulli(generator=g).numpy().mean() - 0.3) < SIGMAS * math.sqrt(0.3 * 0.7 / n)
    weights = np.arange(1.0, 101.0)
    counts = np.bincount(dl.multinomial(dl.tensor(weights), n, True, generator=g).numpy(), minlength=100)
    assert abs(chi_square(counts, n * weights / weights.sum())) < SIGMAS
    # Every permutation of four, equally often.
    permutations = np.array([dl.randperm(4, generator=g).numpy() for _ in range(4800)]) @ [64, 16, 4, 1]
    _, counts = np.unique(permutations, return_counts=True)
    assert counts.size == 24 and abs(chi_square(counts, 200)) < SIGMAS


def test_multinomial_without_replacement_is_successive_sampling():
    weights = np.array([1.0, 2.0, 3.0])
    rows = dl.tensor(np.tile(weights, (60_000, 1)))
    draws = dl.multinomial(rows, 2, generator=dl.Generator(3)).numpy()
    for a in range(3):
        for b in range(3):
            share = ((draws[:, 0] == a) & (draws[:, 1] == b)).mean()
            p = 0 if a == b else weights[a] / 6 * weights[b] / (6 - weights[a])
            assert abs(share - p) <= SIGMAS * math.sqrt(p * (1 - p) / 60_000)


def test_dropout_keeps_the_expected_share():
    """Of 10⁷ draws, and of pairs of neighbours: whether one is dropped says nothing of the next."""
    y = dl.dropout(dl.ones((10_000_000,)), 0.3, generator=dl.Generator(5)).numpy()
    gone = y == 0
    assert (y[~gone] == np.float32(1 / 0.7)).all()
    assert abs(gone.mean() - 0.3) < SIGMAS * math.sqrt(0.3 * 0.7 / y.size)
    for lag in (1, 5, 17, 1001):  # odd: the pairs are disjoint
        both = (gone[:-lag:2] & gone[lag::2]).mean()
        assert abs(both - 0.09) < SIGMAS * math.sqrt(0.09 * 0.91 / (y.size // 2))


def test_dropout_mask_is_not_stored():
    x = dl.ones((1024, 1024), requires_grad=True)
    before = dl.memory_stats()["live"]
    y = dl.dropout(x, 0.5)
    assert dl.memory_stats()["live"] - before == y.nbytes
    y.backward(dl.ones_like(y))
    assert bits(x.grad) == bits(y)


def test_same_seed_same_numbers():
    dl.manual_seed(3)
    first = [bits(dl.rand(100)), bits(dl.randn(100)), bits(dl.randperm(10))]
    assert dl.initial_seed() == 3
    dl.manual_seed(3)
    assert [bits(dl.rand(100)), bits(dl.randn(100)), bits(dl.randperm(10))] == first
    g = dl.Generator(3)
    assert bits(dl.rand(100, generator=g)) == first[0]
    assert bits(dl.rand(100, generator=g)) != first[0]


def test_state_continues_a_sequence():
    g = dl.Generator(9)
    dl.rand(3, generator=g)
    state = g.get_state()
    assert state == {"seed": 9, "stream": 1}
    expected = bits(dl.randn(50, generator=g))
    other = dl.Generator(1)
    other.set_state(state)
    assert bits(dl.randn(50, generator=other)) == expected
    dl.manual_seed(4)
    state = dl.get_rng_state()
    expected = bits(dl.rand(5))
    dl.set_rng_state(state)
    assert bits(dl.rand(5)) == expected


def test_bad_seeds_and_states():
    g = dl.Generator(0)
    for bad in (2**64, -(2**63) - 1):
        with pytest.raises(ValueError, match=r"\[manual_seed\] expected a seed in \[-2\^63, 2\^64\)"):
            g.manual_seed(bad)
    with pytest.raises(TypeError, match=r"\[manual_seed\] expected an integer seed, got float"):
        dl.manual_seed(1.5)
    for bad in ({}, {"seed": 1}, {"seed": 1, "stream": 2, "more": 3}, [1, 2]):
        with pytest.raises(ValueError, match=r"\[set_state\] expected a dict with keys 'seed' and 'stream'"):
            g.set_state(bad)
    with pytest.raises(ValueError, match=r"\[set_state\] expected numbers in \[0, 2\^64\)"):
        g.set_state({"seed": -1, "stream": 0})
    with pytest.raises(TypeError, match=r"\[set_state\] expected integers, got str"):
        g.set_state({"seed": "1", "stream": 0})
    assert g.manual_seed(-1).initial_seed() == 2**64 - 1


def test_fresh_generators_differ():
    assert dl.Generator().initial_seed() != dl.Generator().initial_seed()
    before = dl.get_rng_state()
    value = dl.seed()
    assert dl.initial_seed() == value != before["seed"]
    assert dl.default_generator.get_state() == {"seed": value, "stream": 0}
    assert repr(dl.default_generator) == f"Generator(seed={value}, stream=0)"


def test_threads_take_different_streams():
    g = dl.Generator(2)
    got = []

    def draw():
        for _ in range(200):
            got.append(bits(dl.rand(4, generator=g)))

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(set(got)) == 800
    assert g.get_state()["stream"] == 800


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_in_place(dtype):
    x = dl.zeros((4, 50), dtype=dtype)
    version = x._version
    assert x.uniform_(2, 3, generator=dl.Generator(1)) is x
    assert x._version > version
    values = x.double().numpy()
    assert values.min() >= 2 and values.max() < 3 and np.unique(values).size > 60
    whole = dl.zeros((4, 50), dtype=dtype).normal_(5, 2, generator=dl.Generator(1))
    strided = dl.zeros((50, 4), dtype=dtype).T
    strided.normal_(5, 2, generator=dl.Generator(1))
    assert bits(strided) == bits(whole)
    ones = dl.zeros((100, 10), dtype=dtype).bernoulli_(0.5, generator=dl.Generator(1)).double().numpy()
    assert set(np.unique(ones)) == {0.0, 1.0} and 400 < ones.sum() < 600


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [("bfloat16", -3, -1), ("bfloat16", -1, 0), ("bfloat16", 0, 1), ("bfloat16", 1, 2), ("float32", 1, 1 + 2**-22)],
)
def test_uniform_never_reaches_its_end(dtype, low, high):
    x = dl.empty((20_000,), dtype=dtype).uniform_(low, high, generator=dl.Generator(8)).double().numpy()
    assert x.min() >= low and x.max() < high


def test_in_place_refusals():
    x = dl.zeros((3,), requires_grad=True)
    for fill in (x.uniform_, x.normal_, x.bernoulli_):
        with pytest.raises(RuntimeError, match="that requires a gradient cannot be overwritten; use `with no_grad"):
            fill()
    with dl.no_grad():
        x.uniform_()
    readonly = np.zeros(3, np.float32)
    readonly.flags.writeable = False
    with pytest.raises(ValueError, match=r"\[normal_\] the tensor is a view of read-only memory"):
        dl.from_numpy(readonly).normal_()
    for low, high in ((1, 0), (0, math.inf), (math.nan, 1), (-1e308, 1e308)):
        with pytest.raises(ValueError, match=r"\[uniform_\] expected finite low <= high"):
            dl.zeros((3,), dtype="float64").uniform_(low, high)
    with pytest.raises(TypeError, match=r"\[uniform_\] expected a floating dtype, got int64 of shape \(3,\)"):
        dl.zeros((3,), dtype="int64").uniform_()
    with pytest.raises(ValueError, match=r"\[bernoulli_\] expected a probability p in \[0, 1\], got 2"):
        dl.zeros((3,)).bernoulli_(2)


def test_layouts_and_defaults():
    p = dl.rand((6, 8), generator=dl.Generator(1))
    strided = p.T.contiguous().T
    assert bits(strided.bernoulli(generator=dl.Generator(2))) == bits(p.bernoulli(generator=dl.Generator(2)))
    assert dl.rand_like(p.double()).dtype is dl.float64
    assert dl.randn_like(p.bfloat16()).dtype is dl.bfloat16
    assert dl.rand(2, 3).shape == dl.rand((2, 3)).shape == (2, 3)
    assert dl.rand(()).shape == dl.rand(*()).shape == ()
    assert dl.randint(10, (3,)).shape == dl.randint(10, size=(3,)).shape == (3,)
    assert dl.randn(2, requires_grad=True).requires_grad
