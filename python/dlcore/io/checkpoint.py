"""Checkpoints of a training run. After a crash at any moment, `kill -9` and power loss included, the directory is
either the whole old checkpoint or the whole new one.

The new one is built beside the old as `.NAME.new`, synced, and swapped in by one atomic exchange of the two names
(renameat2). Where the system has no exchange, the old one steps aside to `.NAME.old` for an instant; reading looks
there as well.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dlcore.io.files import directory_lock, exchange, replacing, sync_directory, write_all
from dlcore.io.safetensors import load_file, save_file
from dlcore.io.tree import pack, unpack

if TYPE_CHECKING:
    from dlcore.tensor import Tensor

__all__ = ["Checkpoint", "load_checkpoint", "read_checkpoint_state", "save_checkpoint"]

_MODEL, _REST, _STATE = "model.safetensors", "optimizer.safetensors", "state.json"
_FILES = (_MODEL, _REST, _STATE)
_FORMAT = 1


@dataclass
class Checkpoint:
    """What `load_checkpoint` read. Parts that were not saved are None, `model` and `extra` empty."""

    path: str
    model: dict[str, Tensor] = field(default_factory=dict)
    optimizer: Any = None
    scheduler: Any = None
    generator: Any = None
    data: Any = None
    extra: dict[str, Any] = field(default_factory=dict)

    def restore(self, *, model: Any = None, **targets: Any) -> None:
        """Loads the saved states into `model`, `optimizer`, `scheduler`, `generator` and `data`, those that are given.

        Raises:
            ValueError: an object is given whose state is not in the checkpoint, or that does not fit.
        """
        if model is not None:
            model.load_state_dict(self.model)
        for name, target in targets.items():
            if name not in ("optimizer", "scheduler", "generator", "data"):
                raise TypeError(f"[restore] a checkpoint has no part {name!r}")
            state = getattr(self, name)
            if state is None:
                raise ValueError(f"[restore] the checkpoint {self.path} holds no state of the {name}")
            if hasattr(target, "load_state_dict"):
                target.load_state_dict(state)
            else:
                target.set_state(state)


def _state_of(value: Any) -> Any:
    for method in ("state_dict", "get_state"):
        if hasattr(value, method):
            return getattr(value, method)()
    return value


def _without_aliases(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Shared parameters under their first name only."""
    out, seen = {}, set()
    for name, t in tensors.items():
        key = (t.data_ptr(), t.shape, t.strides, t.dtype)
        if t.nbytes and key in seen:
            continue
        seen.add(key)
        out[name] = t
    return out


def _write_tensors(folder: str, name: str, tensors: Mapping[str, Tensor], written: dict[str, Any]) -> None:
    digest, length = hashlib.sha256(), 0

    def count(piece: Any) -> None:
        nonlocal length
        digest.update(piece)
        length += memoryview(piece).nbytes

    save_file(tensors, os.path.join(folder, name), {"format": "pt"}, on_bytes=count)
    written[name] = {"length": length, "sha256": digest.hexdigest()}


def _digest(state: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def _discard(folder: str, heir: str) -> None:
    """Removes what remains of a checkpoint; files that somebody else put there move to `heir`."""
    if not os.path.isdir(folder):
        return
    for entry in os.listdir(folder):
        path = os.path.join(folder, entry)
        if entry in _FILES or entry.endswith(".tmp"):
            os.unlink(path)
        else:
            os.rename(path, os.path.join(heir, entry))
    os.rmdir(folder)


def _aside(target: str, suffix: str) -> str:
    return os.path.join(os.path.dirname(target), f".{os.path.basename(target)}.{suffix}")


def save_checkpoint(
    directory: str | os.PathLike[str],
    *,
    model: Any = None,
    optimizer: Any = None,
    scheduler: Any = None,
    generator: Any = None,
    data: Any = None,
    extra: dict[str, Any] | None = None,
) -> None:
    """Replaces the checkpoint `directory` (model.safetensors, optimizer.safetensors, state.json) in one atomic step.

    Args:
        directory: made where it does not exist. Files in it that are not ours are kept.
        model: a Module, or tensors by name.
        optimizer, scheduler, data: objects with `state_dict()`, or such states.
        generator: a Generator (`get_state()`), or its state.
        extra: JSON-able values such as the step and the run's configuration.

    Raises:
        ValueError: `directory` exists, is not empty and is not a checkpoint.
        TypeError: a state holds something that cannot be saved.
        OSError: it cannot be written (such as a full disk); the old checkpoint stays whole.
    """
    target = os.path.realpath(os.fspath(directory))
    rest: dict[str, Any] = {}
    parts = {"optimizer": optimizer, "scheduler": scheduler, "generator": generator, "data": data, "extra": extra or {}}
    state = {name: pack(_state_of(value), name, rest) for name, value in parts.items()}
    if any(name.startswith("extra") for name in rest):
        raise TypeError("[save_checkpoint] extra holds a tensor; it is for numbers, strings, lists and dicts")
    weights = _without_aliases(_state_of(model) if model is not None else {})
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with directory_lock(os.path.dirname(target), exclusive=True):
        new, old = _aside(target, "new"), _aside(target, "old")
        if os.path.isdir(old) and not os.path.isdir(target):  # killed between the two renames below
            os.rename(old, target)
        if os.path.exists(target) and not os.path.isdir(target):
            raise ValueError(f"[save_checkpoint] {target} is a file, expected a directory or nothing")
        if os.path.isdir(target) and os.listdir(target) and not os.path.exists(os.path.join(target, _STATE)):
            raise ValueError(f"[save_checkpoint] {target} is not a checkpoint and not empty: refusing to replace it")
        heir = target if os.path.isdir(target) else os.path.dirname(target)
        _discard(new, heir)
        _discard(old, heir)
        os.mkdir(new)
        try:
            written: dict[str, Any] = {}
            _write_tensors(new, _MODEL, weights, written)
            _write_tensors(new, _REST, rest, written)
            with replacing(os.path.join(new, _STATE)) as fd:
                state = {"format": _FORMAT, "files": written, **state}
                write_all(fd, json.dumps({**state, "sha256": _digest(state)}, indent=1).encode())
        except BaseException:
            _discard(new, heir)
            raise
        if not os.path.isdir(target):
            os.rename(new, target)
        elif not exchange(new, target):
            os.rename(target, old)
            os.rename(new, target)
        sync_directory(os.path.dirname(target))
        _discard(new, target)
        _discard(old, target)


def _bad(path: str, what: str) -> ValueError:
    return ValueError(f"[load_checkpoint] {path}: {what}")


def _read_state(folder: str) -> dict[str, Any]:
    path = os.path.join(folder, _STATE)
    try:
        with open(path, "rb") as file:
            state = json.loads(file.read().decode("utf-8"))
    except (ValueError, RecursionError) as e:
        raise _bad(path, f"not valid JSON: {e}") from None
    if not isinstance(state, dict) or not isinstance(state.get("files"), dict):
        raise _bad(path, "not the state of a checkpoint")
    if state.get("format") != _FORMAT:
        raise _bad(path, f"expected checkpoint format {_FORMAT}, got {state.get('format')!r}; a newer dlcore wrote it")
    expected = state.pop("sha256", None)
    if expected != _digest(state):
        raise _bad(path, f"its content is not what was saved: expected sha256 {expected}, got {_digest(state)}")
    return state


def _check_file(folder: str, name: str, expected: Any) -> None:
    path = os.path.join(folder, name)
    if not isinstance(expected, dict):
        raise _bad(path, f"{_STATE} does not describe it")
    if not os.path.isfile(path):
        raise _bad(path, "the file is missing")
    length = os.stat(path).st_size
    if length != expected.get("length"):
        raise _bad(path, f"expected {expected.get('length')} bytes, got {length}")
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    if digest.hexdigest() != expected.get("sha256"):
        expected, got = expected.get("sha256"), digest.hexdigest()
        raise _bad(path, f"its content is not what was saved: expected sha256 {expected}, got {got}")


@contextlib.contextmanager
def _opened(directory: str | os.PathLike[str]) -> Iterator[str]:
    """The folder that is the checkpoint now. No writer swaps it while it is being read."""
    target = os.path.realpath(os.fspath(directory))
    if not os.path.isdir(os.path.dirname(target)):
        raise FileNotFoundError(f"[load_checkpoint] no checkpoint at {target}")
    with directory_lock(os.path.dirname(target), exclusive=False):
        folder = next((p for p in (target, _aside(target, "old")) if os.path.exists(os.path.join(p, _STATE))), None)
        if folder is None:
            raise FileNotFoundError(f"[load_checkpoint] no checkpoint at {target}")
        yield folder


def read_checkpoint_state(directory: str | os.PathLike[str]) -> dict[str, Any]:
    """What a checkpoint says without its tensors being read: `extra`, as it was saved, such as the configuration that
    the model must be built with before its parameters can be loaded.

    Raises:
        FileNotFoundError: there is none.
        ValueError: its state is damaged.
    """
    with _opened(directory) as folder:
        state = _read_state(folder)
        try:
            return {"extra": unpack(state.get("extra"), {}) or {}}
        except (KeyError, TypeError) as e:
            raise _bad(os.path.join(folder, _STATE), f"the state of the extra is damaged: {e!r}") from None


def load_checkpoint(directory: str | os.PathLike[str], **targets: Any) -> Checkpoint:
    """Reads the checkpoint at `directory`, every byte of it checked against the sums that were saved.

    Args:
        directory: what `save_checkpoint` was given.
        targets: `model`, `optimizer`, `scheduler`, `generator` and `data` to load the states into, as with
            `Checkpoint.restore`.

    Returns:
        All that was saved; its tensors lie over private maps of the files.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it was damaged, and the message names the file; or it does not fit a target.
    """
    checkpoint = _load(directory)
    checkpoint.restore(**targets)
    return checkpoint


def _load(directory: str | os.PathLike[str]) -> Checkpoint:
    with _opened(directory) as folder:
        state = _read_state(folder)
        for name in (_MODEL, _REST):
            _check_file(folder, name, state["files"].get(name))
        model, rest = (load_file(os.path.join(folder, name)) for name in (_MODEL, _REST))
        parts = {}
        for name in ("optimizer", "scheduler", "generator", "data", "extra"):
            try:
                parts[name] = unpack(state.get(name), rest)
            except (KeyError, TypeError) as e:
                raise _bad(os.path.join(folder, _STATE), f"the state of the {name} is damaged: {e!r}") from None
        parts["extra"] = parts["extra"] or {}
        return Checkpoint(os.fspath(directory), model, **parts)
