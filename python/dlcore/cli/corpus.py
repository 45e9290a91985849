"""Text for the language model: where it comes from and how it becomes tokens."""

from __future__ import annotations

import codecs
import os
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import numpy as np

__all__ = ["Alphabet", "read_corpus"]

# Directories of a Python installation that are not the library's own source, or tables and prose more than source.
_FOREIGN = {"site-packages", "dist-packages", "test", "tests", "idle_test", "lib2to3", "ensurepip"}
_FOREIGN |= {"encodings", "pydoc_data"}


class Alphabet:
    """Maps text to token ids and back: 256 bytes (level "byte"), or the characters that occur (level "char")."""

    def __init__(self, level: str, characters: str = "") -> None:
        if level not in ("byte", "char"):
            raise ValueError(f"--level must be byte or char, got {level!r}")
        self.level = level
        self.characters = characters
        self._ids = {c: i for i, c in enumerate(characters)}

    def __len__(self) -> int:
        return 256 if self.level == "byte" else len(self.characters)

    def encode(self, text: bytes) -> np.ndarray:
        """UTF-8 text as ids, in an array of a narrow type. A character that training never saw raises ValueError."""
        if self.level == "byte":
            return np.frombuffer(text, np.uint8)
        decoded = text.decode("utf-8", errors="replace")
        unknown = ", ".join(map(repr, sorted(set(decoded) - set(self._ids))[:5]))
        if unknown:
            raise ValueError(f"the model's alphabet of {len(self)} characters lacks {unknown}")
        return np.fromiter((self._ids[c] for c in decoded), np.int32, len(decoded))

    def decoder(self) -> Decoder:
        """A stateful decoder for a stream of ids: bytes of one character may come one at a time."""
        return Decoder(self)


class Decoder:
    """Turns ids into text, one by one."""

    def __init__(self, alphabet: Alphabet) -> None:
        self._alphabet = alphabet
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def decode(self, token: int) -> str:
        """The text that this id completes; empty in the middle of a multi-byte character."""
        if self._alphabet.level == "byte":
            return self._utf8.decode(bytes([token]))
        return self._alphabet.characters[token]

    def finish(self) -> str:
        """What stands for a character that was begun and not completed."""
        return self._utf8.decode(b"", final=True)


def _files(root: Path, foreign: set[str], avoid: Path) -> Iterator[Path]:
    """The regular files under `root` in order of name, but not hidden ones, nor any in the directory `avoid`."""
    for directory, names, files in os.walk(root):
        names[:] = sorted(n for n in names if not n.startswith(".") and n not in foreign)
        names[:] = [n for n in names if Path(directory, n).resolve() != avoid]
        for name in sorted(files):
            path = Path(directory, name)
            if not name.startswith(".") and path.is_file():  # no pipe, which would be waited for
                yield path


def _is_text(data: bytes) -> bool:
    if b"\0" in data:
        return False
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def read_corpus(data: str | None, out: Path) -> tuple[bytes, str]:
    """The text to train on and a few words on what it is.

    `data` is a file, or a directory whose UTF-8 text files are joined in order of name, without what the run itself
    writes to `out`; by default the source of Python's own standard library, its files in an order shuffled once so that
    the held-out end is like the rest.

    Raises:
        OSError: the path cannot be read.
        ValueError: nothing there is text, or a file is not UTF-8.
    """
    if data is None:
        root = Path(sysconfig.get_paths()["stdlib"])
        paths = [p for p in _files(root, _FOREIGN, out.resolve()) if p.suffix == ".py"]
        order = np.random.Generator(np.random.PCG64(0)).permutation(len(paths))
        paths = [paths[i] for i in order]
        label = "the source of Python's standard library"
    elif os.path.isdir(data):
        paths = list(_files(Path(data), {"__pycache__"}, out.resolve()))
        label = f"the text files of {data}"
    else:
        text = _read(Path(data))
        if not _is_text(text):
            raise ValueError(f"--data {data} is not UTF-8 text")
        return text, data
    texts = [t for t in map(_read, paths) if t and _is_text(t)]
    if not texts:
        raise ValueError(f"--data {data or root}: no UTF-8 text files there")
    return b"\n".join(texts), f"{label} ({len(texts)} files)"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as e:
        raise OSError(f"--data {path}: {e.strerror}") from None
