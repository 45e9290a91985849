"""What the commands share: options that all of them have, errors that name an option, checkpoints of a run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from dlcore import io, runtime

__all__ = ["check_seed", "load_run", "named", "set_threads"]


def set_threads(threads: int | None) -> None:
    if threads is None:
        return
    if not 1 <= threads <= 1024:
        raise ValueError(f"--threads must be from 1 to 1024, got {threads}")
    runtime.set_num_threads(threads)


def check_seed(seed: int) -> None:
    if not 0 <= seed < 2**63:
        raise ValueError(f"--seed must be from 0 to 2^63 - 1, got {seed}")


@contextlib.contextmanager
def named(option: str, advice: str = "") -> Iterator[None]:
    """An error of the system inside of the body says which option it is about."""
    try:
        yield
    except OSError as e:
        where = f": {e.filename}" if e.filename is not None else ""
        raise OSError(f"{option}: {e.strerror or e}{where}{advice}") from None


def load_run(checkpoint: Path) -> io.Checkpoint:
    """A checkpoint that `dlcore train` wrote.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged, or of something else.
    """
    try:
        kept = io.load_checkpoint(checkpoint)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no checkpoint in {checkpoint.parent}") from None
    if not {"step", "options", "config", "characters", "text"} <= kept.extra.keys():
        raise ValueError(f"{checkpoint} is not a checkpoint of dlcore train")
    return kept
