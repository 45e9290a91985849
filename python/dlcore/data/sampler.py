"""The order in which examples are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from typing import Any

from dlcore import ops

__all__ = ["BatchSampler", "RandomSampler", "Sampler", "SequentialSampler"]


class Sampler:
    """Base of samplers: iterating gives indices, one epoch of them."""

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError(f"[{type(self).__name__}] __iter__ is not defined")


class SequentialSampler(Sampler):
    """0, 1, … in order."""

    def __init__(self, data: Sized) -> None:
        self.data = data

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data)))

    def __len__(self) -> int:
        return len(self.data)


class RandomSampler(Sampler):
    """Indices in random order, another one each epoch.

    Args:
        data: something with a length.
        replacement: whether an index may come up again.
        num_samples: how many in an epoch; the length by default.
        generator: all the state there is; by default a new one, seeded by the default generator.

    Raises:
        ValueError: num_samples < 1, or an empty dataset with replacement.
    """

    def __init__(
        self, data: Sized, replacement: bool = False, num_samples: int | None = None, generator: Any = None
    ) -> None:
        if num_samples is not None and (not isinstance(num_samples, int) or num_samples < 1):
            raise ValueError(f"[RandomSampler] num_samples must be an integer of at least 1, got {num_samples!r}")
        self.data, self.replacement, self._num_samples = data, bool(replacement), num_samples
        self.generator = own_generator() if generator is None else generator

    def __len__(self) -> int:
        return len(self.data) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        # Drawn here, not at the first index: an epoch's order depends on when the epoch began.
        n, wanted = len(self.data), len(self)
        if self.replacement:
            if n == 0:
                raise ValueError("[RandomSampler] an empty dataset cannot be drawn from with replacement")
            return iter(ops.randint(0, n, (wanted,), generator=self.generator).tolist())
        order: list[int] = []
        while n and len(order) < wanted:
            order += ops.randperm(n, generator=self.generator).tolist()
        return iter(order[:wanted])


class BatchSampler(Sampler):
    """Groups the indices of another sampler into lists of `batch_size`; the last may be shorter, or is dropped.

    Raises:
        ValueError: batch_size < 1.
    """

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool = False) -> None:
        if not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError(f"[BatchSampler] batch_size must be an integer of at least 1, got {batch_size!r}")
        self.sampler, self.batch_size, self.drop_last = sampler, batch_size, bool(drop_last)

    def __iter__(self) -> Iterator[list[int]]:
        return self._group(iter(self.sampler))

    def _group(self, indices: Iterator[int]) -> Iterator[list[int]]:
        batch: list[int] = []
        for i in indices:
            batch.append(i)
            if len(batch) == self.batch_size:
                yield batch
                batch = []
        if batch and not self.drop_last:
            yield batch

    def __len__(self) -> int:
        n = len(self.sampler)  # type: ignore[arg-type]
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)


def own_generator() -> Any:
    """A generator of its own, seeded by the default one: `manual_seed` before decides it, later draws do not."""
    return ops.Generator(ops.randint(0, 2**63 - 1, (1,)).item())
