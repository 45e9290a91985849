"""The DataLoader: order, threads, errors, and resuming at the very batch."""

import threading
import time
import traceback

import numpy as np
import pytest

import dlcore as dl
from dlcore import io
from dlcore.data import DataLoader, Dataset, RandomSampler, TensorDataset


class Slow(Dataset):
    """Later examples are ready earlier: only an ordered loader gives them in order."""

    def __len__(self):
        return 24

    def __getitem__(self, i):
        time.sleep(0.002 * (24 - i) / 24)
        return i


def flat(loader):
    return [int(i) for batch in loader for i in batch]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_order_and_content_do_not_depend_on_the_workers(workers):
    loader = DataLoader(Slow(), batch_size=5, num_workers=workers)
    assert len(loader) == 5 and flat(loader) == list(range(24)) == flat(loader)
    shuffled = DataLoader(Slow(), batch_size=5, shuffle=True, num_workers=workers, generator=dl.Generator(2))
    expected = list(RandomSampler(range(24), generator=dl.Generator(2)))
    assert flat(shuffled) == expected


def test_drop_last_sampler_and_collate():
    data = TensorDataset(dl.arange(10))
    assert [len(b[0]) for b in DataLoader(data, batch_size=4)] == [4, 4, 2]
    assert [len(b[0]) for b in DataLoader(data, batch_size=4, drop_last=True)] == [4, 4]
    assert [b[0].tolist() for b in DataLoader(data, batch_size=2, sampler=[9, 8, 7])] == [[9, 8], [7]]
    assert [b[0].tolist() for b in DataLoader(data, batch_sampler=[[1], [2, 3]])] == [[1], [2, 3]]
    assert list(DataLoader(range(4), batch_size=2, collate_fn=sum)) == [1, 5]


def test_epochs_have_other_orders():
    loader = DataLoader(range(30), batch_size=7, shuffle=True, generator=dl.Generator(0))
    first, second = flat(loader), flat(loader)
    assert sorted(first) == sorted(second) == list(range(30)) and first != second


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("shuffle", [False, True])
def test_resuming_gives_the_very_next_batch(tmp_path, workers, shuffle):
    """Saved after every batch of two and a half epochs; each time a fresh loader gives what was still to come."""

    def make(seed):
        generator = dl.Generator(seed) if shuffle else None
        return DataLoader(range(23), 4, shuffle=shuffle, num_workers=workers, generator=generator)

    loader, given, states = make(7), [], []
    for epoch in range(3):
        for i, batch in enumerate(loader):
            given.append(batch.tolist())
            states.append(loader.state_dict())
            if epoch == 2 and i == 2:
                break
    assert len(given) == 15
    for at in range(0, 15, 2):
        io.save_checkpoint(tmp_path / "c", data=states[at])
        fresh = make(1234)
        io.load_checkpoint(tmp_path / "c").restore(data=fresh)
        assert fresh.state_dict() == states[at]
        rest = []
        while len(rest) < 15 - at - 1:
            rest += [batch.tolist() for batch in fresh]
        assert rest[: 15 - at - 1] == given[at + 1 :]


def test_a_state_between_epochs():
    a = DataLoader(range(9), 2, shuffle=True, generator=dl.Generator(1))
    flat(a)
    b = DataLoader(range(9), 2, shuffle=True, generator=dl.Generator(5))
    b.load_state_dict(a.state_dict())
    assert flat(b) == flat(a)


def test_an_abandoned_epoch_is_not_continued():
    loader = DataLoader(range(8), 2)
    next(iter(loader))
    assert flat(loader) == list(range(8))


@pytest.mark.parametrize(
    "state, text",
    [
        ({}, "expected a state with 'batches' and 'generator'"),
        ({"batches": -1, "generator": None}, "expected a number of batches of at least 0, got -1"),
        ({"batches": 1, "generator": {"seed": 1, "stream": 2}}, "a loader with a random order, this one has"),
    ],
)
def test_bad_states(state, text):
    with pytest.raises(ValueError, match=text):
        DataLoader(range(3)).load_state_dict(state)


class Broken(Dataset):
    def __len__(self):
        return 20

    def __getitem__(self, i):
        if i == 7:
            return self.read_the_file(i)
        return i

    def read_the_file(self, i):
        raise OSError(f"example {i} is unreadable")


@pytest.mark.parametrize("workers", [0, 2])
def test_errors_arrive_in_order_and_with_their_traceback(workers):
    loader = DataLoader(Broken(), batch_size=2, num_workers=workers)
    got = []
    with pytest.raises(OSError, match="example 7 is unreadable") as e:
        for batch in loader:
            got += batch.tolist()
    assert got == list(range(6))  # everything before the broken batch was given out
    assert "read_the_file" in "".join(traceback.format_exception(e.value))


def workers_alive():
    return [t for t in threading.enumerate() if t.name.startswith("dlcore-data")]


def wait_for_workers():
    end = time.monotonic() + 5
    while workers_alive() and time.monotonic() < end:
        time.sleep(0.005)
    return workers_alive()


def test_threads_go_away(tmp_path):
    for _ in DataLoader(Slow(), batch_size=2, num_workers=3):  # left early
        break
    assert wait_for_workers() == []
    it = iter(DataLoader(Slow(), batch_size=2, num_workers=3))
    next(it)
    del it  # forgotten
    assert wait_for_workers() == []
    with pytest.raises(OSError):
        flat(DataLoader(Broken(), batch_size=2, num_workers=3))
    assert wait_for_workers() == []
    flat(DataLoader(Slow(), batch_size=2, num_workers=3))
    assert wait_for_workers() == []


def test_reading_ahead_is_bounded():
    read = []

    class Counting(Dataset):
        def __len__(self):
            return 100

        def __getitem__(self, i):
            read.append(i)
            return i

    it = iter(DataLoader(Counting(), batch_size=1, num_workers=2, prefetch_factor=3))
    next(it)
    time.sleep(0.05)
    assert len(read) <= 2 * 3 + 1
    it.close()


def test_workers_run_kernels_at_the_same_time_as_the_main_thread():
    class Sums(Dataset):
        def __len__(self):
            return 40

        def __getitem__(self, i):
            return dl.full((50_000,), float(i)).sum()

    total = 0.0
    for batch in DataLoader(Sums(), batch_size=4, num_workers=3):
        total += batch.sum().item() + dl.ones((100_000,)).sum().item()
    assert total == 50_000 * sum(range(40)) + 10 * 100_000


@pytest.mark.parametrize(
    "kwargs, text",
    [
        ({"batch_size": 0}, "batch_size must be an integer of at least 1, got 0"),
        ({"num_workers": -1}, "num_workers must be an integer of at least 0, got -1"),
        ({"prefetch_factor": 0}, "prefetch_factor must be an integer of at least 1"),
        ({"sampler": [1], "shuffle": True}, "sampler and shuffle exclude each other"),
        ({"batch_sampler": [[1]], "batch_size": 2}, "batch_sampler excludes batch_size"),
    ],
)
def test_bad_arguments(kwargs, text):
    with pytest.raises(ValueError, match=text):
        DataLoader(range(3), **kwargs)


def test_one_epoch_over_tensors_matches_numpy():
    x, y = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32), np.arange(50)
    loader = DataLoader(TensorDataset(dl.tensor(x), dl.tensor(y)), 8, shuffle=True, generator=dl.Generator(4))
    seen = []
    for rows, labels in loader:
        assert np.array_equal(rows.numpy(), x[labels.numpy()])
        seen += labels.tolist()
    assert sorted(seen) == list(range(50))
