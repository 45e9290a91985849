"""Datasets: things with a length whose items are examples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dlcore import _C, ops
from dlcore.tensor import Tensor

__all__ = ["Dataset", "Subset", "TensorDataset", "random_split"]


class Dataset:
    """Base of datasets: subclasses define `__len__` and `__getitem__`.

    A dataset that can read many examples at once may define `get_batch(indices)`, giving what the examples collate to;
    the DataLoader then calls that instead of `__getitem__`.
    """

    def __len__(self) -> int:
        raise NotImplementedError(f"[{type(self).__name__}] __len__ is not defined")

    def __getitem__(self, index: int) -> Any:
        raise NotImplementedError(f"[{type(self).__name__}] __getitem__ is not defined")


class TensorDataset(Dataset):
    """Example i is the tuple of rows i of tensors with as many rows.

    Raises:
        ValueError: no tensors, or other numbers of rows.
    """

    def __init__(self, *tensors: Tensor) -> None:
        for t in tensors:
            if not isinstance(t, _C.Tensor):
                raise TypeError(f"[TensorDataset] expected tensors, got {type(t).__name__}")
        shapes = [t.shape for t in tensors]
        if not shapes or not all(shapes) or len({s[0] for s in shapes}) > 1:
            raise ValueError(f"[TensorDataset] expected tensors with equal numbers of rows, got shapes {shapes}")
        self.tensors = tensors

    def __len__(self) -> int:
        return self.tensors[0].shape[0]

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        return tuple(t[index] for t in self.tensors)

    def get_batch(self, indices: Sequence[int]) -> tuple[Tensor, ...]:
        """The rows of each tensor, as tensors."""
        rows = ops.tensor(list(indices), dtype=_C.int64)
        return tuple(ops.index_select(t, 0, rows) for t in self.tensors)


class Subset(Dataset):
    """The examples of a dataset at given indices, in that order.

    Raises:
        IndexError: an index outside of the dataset.
    """

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset, self.indices = dataset, [int(i) for i in indices]
        n = len(dataset)
        wrong = next((i for i in self.indices if not -n <= i < n), None)
        if wrong is not None:
            raise IndexError(f"[Subset] index {wrong} is out of range for a dataset of {n} examples")
        if hasattr(dataset, "get_batch"):
            self.get_batch = lambda chosen: dataset.get_batch([self.indices[i] for i in chosen])

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[self.indices[index]]


def random_split(dataset: Any, lengths: Sequence[float], generator: Any = None) -> list[Subset]:
    """Splits a dataset at random into subsets without overlap.

    Args:
        dataset: anything with a length and items.
        lengths: sizes that add up to the dataset's, or fractions that add up to 1; what rounding leaves over goes to
            the first subsets, one example each.
        generator: of the order; the default generator otherwise.

    Raises:
        ValueError: lengths that are negative or do not add up.
    """
    n = len(dataset)
    sizes: list[int]
    if all(0 <= f <= 1 for f in lengths) and math.isclose(sum(lengths), 1.0) and n != sum(lengths):
        sizes = [math.floor(n * f) for f in lengths]
        for i in range(n - sum(sizes)):
            sizes[i % len(sizes)] += 1
    elif all(isinstance(s, int) and s >= 0 for s in lengths) and sum(lengths) == n:
        sizes = [int(s) for s in lengths]
    else:
        raise ValueError(f"[random_split] expected sizes that add up to {n}, or fractions to 1, got {list(lengths)}")
    order = ops.randperm(n, generator=generator).tolist()
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    return [Subset(dataset, order[end - size : end]) for size, end in zip(sizes, ends, strict=True)]
