"""DataLoader: batches of a dataset, read ahead by background threads, and a position that can be saved."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from dlcore.data.collate import default_collate
from dlcore.data.sampler import BatchSampler, RandomSampler, SequentialSampler

__all__ = ["DataLoader"]


class DataLoader:
    """Iterating gives one epoch of batches.

    Args:
        dataset: something with a length and items; see `Dataset`.
        batch_size: examples in a batch.
        shuffle: whether each epoch has a new random order.
        sampler: an iterable of indices instead of `shuffle`.
        batch_sampler: an iterable of lists of indices instead of `batch_size`, `shuffle`, `sampler` and `drop_last`.
        num_workers: threads that read ahead (0: none). Batches come in the same order, and with the same content, for
            any number; the work gains from threads where it releases the GIL (files, NumPy, decoding).
        collate_fn: makes a batch of a list of examples; `default_collate` otherwise.
        drop_last: whether to leave out a last batch that is too short.
        generator: of the random order; by default a new one, seeded by the default generator.
        prefetch_factor: batches that each worker reads ahead.

    `state_dict` holds the position: after `load_state_dict`, the next iteration goes on with the very batch that would
    have come next. What was read ahead but not handed out is not lost.

    Raises:
        ValueError: arguments that are out of range or exclude each other.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        shuffle: bool = False,
        sampler: Iterable[int] | None = None,
        batch_sampler: Iterable[list[int]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        drop_last: bool = False,
        generator: Any = None,
        prefetch_factor: int = 2,
    ) -> None:
        for name, value, least in (("num_workers", num_workers, 0), ("prefetch_factor", prefetch_factor, 1)):
            if not isinstance(value, int) or value < least:
                raise ValueError(f"[DataLoader] {name} must be an integer of at least {least}, got {value!r}")
        if sampler is not None and shuffle:
            raise ValueError("[DataLoader] sampler and shuffle exclude each other")
        if batch_sampler is not None and (batch_size != 1 or shuffle or sampler is not None or drop_last):
            raise ValueError("[DataLoader] batch_sampler excludes batch_size, shuffle, sampler and drop_last")
        self.dataset, self.num_workers, self.prefetch_factor = dataset, num_workers, prefetch_factor
        self.collate_fn = collate_fn
        if sampler is None and batch_sampler is None:
            sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
        if batch_sampler is None:
            assert sampler is not None
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.batch_sampler = batch_sampler
        self.sampler = sampler
        self._generator: Any = generator if generator is not None else getattr(sampler, "generator", None)
        self._started: Any = None  # the generator's state when the present epoch began; None between epochs
        self._given = 0  # batches handed out in it
        self._resume = False

    def __len__(self) -> int:
        return len(self.batch_sampler)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        if not self._resume:
            self._given = 0
            self._started = self._generator.get_state() if self._generator is not None else None
        elif self._started is not None:
            self._generator.set_state(self._started)
        self._resume = False
        # A generator function would start only at the first next(): the order is to be drawn now.
        return self._batches(islice(iter(self.batch_sampler), self._given, None))

    def _batches(self, indices: Iterator[list[int]]) -> Iterator[Any]:
        for batch in self._read(indices):
            self._given += 1
            yield batch
        self._given, self._started = 0, None

    def _read(self, indices: Iterator[list[int]]) -> Iterator[Any]:
        if self.num_workers == 0:
            yield from map(self._fetch, indices)
            return
        from concurrent.futures import Future, ThreadPoolExecutor

        pool = ThreadPoolExecutor(self.num_workers, thread_name_prefix="dlcore-data")
        ahead: deque[Future[Any]] = deque()
        try:
            for batch in islice(indices, self.num_workers * self.prefetch_factor):
                ahead.append(pool.submit(self._fetch, batch))
            while ahead:
                ready = ahead.popleft().result()  # raises what the worker raised, with the worker's traceback
                for batch in islice(indices, 1):
                    ahead.append(pool.submit(self._fetch, batch))
                yield ready
        finally:  # the end, an error, or nobody wants more: what has not begun never begins
            pool.shutdown(wait=False, cancel_futures=True)

    def _fetch(self, indices: list[int]) -> Any:
        if self.collate_fn is None and hasattr(self.dataset, "get_batch"):
            return self.dataset.get_batch(indices)
        collate = default_collate if self.collate_fn is None else self.collate_fn
        return collate([self.dataset[i] for i in indices])

    def state_dict(self) -> dict[str, Any]:
        """The position: batches handed out in this epoch, and the generator's state at the epoch's beginning."""
        state = self._started
        if state is None and self._generator is not None:
            state = self._generator.get_state()
        return {"batches": self._given, "generator": state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Lets the next iteration go on from a position that `state_dict` gave.

        Raises:
            ValueError: not such a state, or one of a loader with another kind of order.
        """
        if not isinstance(state, dict) or set(state) != {"batches", "generator"}:
            raise ValueError(f"[DataLoader] expected a state with 'batches' and 'generator', got {state!r}")
        if not isinstance(state["batches"], int) or state["batches"] < 0:
            raise ValueError(f"[DataLoader] expected a number of batches of at least 0, got {state['batches']!r}")
        if (state["generator"] is None) != (self._generator is None):
            kinds = ["a fixed", "a random"]
            theirs, ours = kinds[state["generator"] is not None], kinds[self._generator is not None]
            raise ValueError(f"[DataLoader] the state is of a loader with {theirs} order, this one has {ours} one")
        if self._generator is not None:
            self._generator.set_state(state["generator"])
        self._given, self._started, self._resume = state["batches"], state["generator"], True
