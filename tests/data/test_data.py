"""Datasets, samplers, collation, text windows."""

import collections

import numpy as np
import pytest

import dlcore as dl
from dlcore.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    TensorDataset,
    TextWindows,
    default_collate,
    random_split,
)


def test_tensor_dataset():
    x, y = dl.tensor(np.arange(12.0).reshape(4, 3)), dl.arange(4)
    data = TensorDataset(x, y)
    assert len(data) == 4
    a, b = data[2]
    assert a.tolist() == [6.0, 7.0, 8.0] and b.item() == 2
    rows, labels = data.get_batch([3, 0])
    assert rows.tolist() == [[9.0, 10.0, 11.0], [0.0, 1.0, 2.0]] and labels.tolist() == [3, 0]


def test_tensor_dataset_errors():
    with pytest.raises(ValueError, match=r"equal numbers of rows, got shapes \[\(3,\), \(4,\)\]"):
        TensorDataset(dl.zeros((3,)), dl.zeros((4,)))
    with pytest.raises(ValueError, match="got shapes"):
        TensorDataset(dl.zeros(()))
    with pytest.raises(ValueError, match="got shapes"):
        TensorDataset()
    with pytest.raises(TypeError, match=r"\[TensorDataset\] expected tensors, got list"):
        TensorDataset([1, 2])


def test_subset_and_its_errors():
    data = Subset(list("abcdef"), [5, 0, -2])
    assert [data[i] for i in range(len(data))] == ["f", "a", "e"]
    with pytest.raises(IndexError, match=r"\[Subset\] index 6 is out of range for a dataset of 6 examples"):
        Subset(list("abcdef"), [0, 6])
    nested = Subset(TensorDataset(dl.arange(6)), [5, 4, 3])
    assert nested.get_batch([0, 2])[0].tolist() == [5, 3]


@pytest.mark.parametrize("lengths, sizes", [((7, 3), [7, 3]), ((0.75, 0.25), [8, 2]), ((0.5, 0.3, 0.2), [5, 3, 2])])
def test_random_split_covers_everything_once(lengths, sizes):
    parts = random_split(list(range(10)), lengths, dl.Generator(1))
    assert [len(p) for p in parts] == sizes
    assert sorted(i for p in parts for i in p.indices) == list(range(10))
    again = random_split(list(range(10)), lengths, dl.Generator(1))
    assert [p.indices for p in again] == [p.indices for p in parts]
    assert parts[0].indices != sorted(parts[0].indices)


@pytest.mark.parametrize("lengths", [(5, 4), (0.5, 0.4), (-1, 11), (10.0, 0.0)])
def test_random_split_errors(lengths):
    with pytest.raises(ValueError, match=r"\[random_split\] expected sizes that add up to 10, or fractions to 1"):
        random_split(list(range(10)), lengths)


def test_sequential_sampler():
    assert list(SequentialSampler("abcd")) == [0, 1, 2, 3] and len(SequentialSampler("abcd")) == 4


def test_random_sampler():
    sampler = RandomSampler(range(50), generator=dl.Generator(3))
    first, second = list(sampler), list(sampler)
    assert sorted(first) == sorted(second) == list(range(50)) and first != second
    assert list(RandomSampler(range(50), generator=dl.Generator(3))) == first
    assert len(list(RandomSampler(range(3), num_samples=8))) == 8
    assert list(RandomSampler([])) == []


def test_random_sampler_with_replacement():
    drawn = list(RandomSampler(range(10), replacement=True, num_samples=2000, generator=dl.Generator(0)))
    counts = np.bincount(drawn, minlength=10)
    assert counts.sum() == 2000 and counts.min() > 140 and counts.max() < 260  # 200 ± 4.5 standard deviations
    with pytest.raises(ValueError, match="an empty dataset cannot be drawn from"):
        iter(RandomSampler([], replacement=True))
    with pytest.raises(ValueError, match="num_samples must be an integer of at least 1, got 0"):
        RandomSampler([1], num_samples=0)


def test_the_default_generator_decides_the_order_when_the_sampler_is_made():
    dl.manual_seed(5)
    a = RandomSampler(range(20))
    dl.manual_seed(5)
    b = RandomSampler(range(20))
    dl.rand(3)  # later draws of the default generator change nothing
    assert list(a) == list(b)


@pytest.mark.parametrize("drop_last, sizes", [(False, [3, 3, 1]), (True, [3, 3])])
def test_batch_sampler(drop_last, sizes):
    sampler = BatchSampler(SequentialSampler(range(7)), 3, drop_last)
    batches = list(sampler)
    assert [len(b) for b in batches] == sizes and len(sampler) == len(sizes)
    assert sum(batches, []) == list(range(sum(sizes)))
    with pytest.raises(ValueError, match="batch_size must be an integer of at least 1, got 0"):
        BatchSampler([], 0)


Point = collections.namedtuple("Point", "x y")


def test_collate():
    assert default_collate([1, 2]).dtype is dl.int64
    assert default_collate([1.5, 2]).dtype is dl.float32
    assert default_collate([True, False]).dtype is dl.bool_
    assert default_collate([np.float32(1.5), np.float32(2)]).tolist() == [1.5, 2.0]
    assert default_collate(["a", "b"]) == ["a", "b"]
    assert default_collate([dl.zeros((2,)), dl.ones((2,))]).tolist() == [[0.0, 0.0], [1.0, 1.0]]
    assert default_collate([np.zeros(2, np.int32)] * 3).shape == (3, 2)
    out = default_collate([({"a": 1}, [2.0], Point(3, "p")), ({"a": 4}, [5.0], Point(6, "q"))])
    assert isinstance(out, tuple) and out[0]["a"].tolist() == [1, 4] and out[1][0].tolist() == [2.0, 5.0]
    assert out[2].x.tolist() == [3, 6] and out[2].y == ["p", "q"]


@pytest.mark.parametrize(
    "examples, error, text",
    [
        ([], ValueError, "expected at least one example, got none"),
        ([dl.zeros((2,)), dl.zeros((3,))], ValueError, r"expected tensors of one shape, got \(2,\), \(3,\)"),
        ([(1, 2), (1,)], ValueError, r"expected tuples of one length, got lengths \[1, 2\]"),
        ([{"a": 1}, {"b": 1}], ValueError, "expected dicts with the same keys"),
        ([object()], TypeError, "got object; pass your own collate_fn"),
    ],
)
def test_collate_errors(examples, error, text):
    with pytest.raises(error, match=text):
        default_collate(examples)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_text_windows(dtype):
    text = np.arange(20).astype(dtype)
    windows = TextWindows(dl.from_numpy(text), 4)
    assert len(windows) == 16
    x, y = windows[3]
    assert x.dtype is dl.int64 and x.tolist() == [3, 4, 5, 6] and y.tolist() == [4, 5, 6, 7]
    x, y = windows[-1]
    assert x.tolist() == [15, 16, 17, 18] and y.tolist() == [16, 17, 18, 19]
    x, y = windows.spread(3)
    assert x[:, 0].tolist() == [0, 7, 15] and y.shape == (3, 4)
    with pytest.raises(IndexError, match="window 16 is out of range for 16 windows"):
        windows[16]


def test_text_windows_depend_on_seed_and_step_alone():
    text = dl.tensor(np.arange(1000))
    a = TextWindows(text, 8, seed=1)
    first = [a.sample(step, 5)[0].tolist() for step in range(4)]
    dl.manual_seed(99)
    b = TextWindows(text, 8, seed=1)
    assert [b.sample(step, 5)[0].tolist() for step in (3, 2, 1, 0)] == first[::-1]
    assert len({str(f) for f in first}) == 4
    assert TextWindows(text, 8, seed=2).sample(0, 5)[0].tolist() != first[0]
    x, y = a.sample(0, 400)
    assert np.array_equal(x.numpy()[:, 1:], y.numpy()[:, :-1])
    assert x.numpy().min() >= 0 and y.numpy().max() <= 999


@pytest.mark.parametrize(
    "tokens, context, text",
    [
        (np.zeros((2, 3), np.uint8), 1, r"expected one dimension of uint8, int32 or int64, got uint8 \(2, 3\)"),
        (np.zeros(5, np.float32), 1, "got float32"),
        (np.zeros(5, np.uint8), 5, "a context of 5 needs at least 6 tokens, got 5"),
        (np.zeros(5, np.uint8), 0, "context must be an integer of at least 1, got 0"),
    ],
)
def test_text_windows_errors(tokens, context, text):
    with pytest.raises(ValueError, match=text):
        TextWindows(tokens, context)


def test_windows_through_the_loader():
    windows = TextWindows(np.arange(100, dtype=np.uint8), 10)
    x, y = next(iter(DataLoader(windows, batch_size=4, shuffle=True, num_workers=2)))
    assert x.shape == y.shape == (4, 10) and x.dtype is dl.int64


def test_dataset_without_methods():
    with pytest.raises(NotImplementedError, match=r"\[Dataset\] __getitem__ is not defined"):
        Dataset()[0]
    with pytest.raises(NotImplementedError, match=r"\[Dataset\] __len__ is not defined"):
        len(Dataset())
