"""Writing so that what was there stays whole: temporary names, fsync, atomic renames."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import secrets
from collections.abc import Iterator
from typing import Any

try:
    import fcntl
except ImportError:  # not a POSIX system: no locks between processes there
    fcntl = None  # type: ignore[assignment]

__all__: list[str] = []

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h


def write_all(fd: int, data: Any) -> None:
    """Writes every byte of a buffer: one write() may take fewer than asked (at most 2 GiB on Linux)."""
    view = memoryview(data).cast("B")
    while view:
        view = view[os.write(fd, view[: 1 << 30]) :]


def sync_directory(path: str) -> None:
    """Makes the names in a directory durable."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    except OSError as e:
        if e.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems that have nothing to sync for a directory
            raise
    finally:
        os.close(fd)


@contextlib.contextmanager
def replacing(path: str) -> Iterator[int]:
    """A descriptor to write the new content of `path` to. The name changes hands only when the body has succeeded and
    the data are on the disk; otherwise the temporary file is removed and the old file is what it was."""
    target = os.path.realpath(path)  # a symbolic link keeps pointing where it did
    folder = os.path.dirname(target)
    temporary = os.path.join(folder, f".{os.path.basename(target)}.{secrets.token_hex(6)}.tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o666)
    try:
        try:
            yield fd
            os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    sync_directory(folder)


def exchange(a: str, b: str) -> bool:
    """Swaps two names in one atomic step; False where the system cannot (then nothing has changed)."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, TypeError, AttributeError):
        return False
    if renameat2(_AT_FDCWD, os.fsencode(a), _AT_FDCWD, os.fsencode(b), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(code, os.strerror(code), a, None, b)


@contextlib.contextmanager
def directory_lock(path: str, exclusive: bool) -> Iterator[None]:
    """Holds an advisory lock on a directory. The system frees it when the process dies, however it dies."""
    fd = os.open(path, os.O_RDONLY)
    try:
        if fcntl is not None:
            with contextlib.suppress(OSError):  # a network file system without locks: one writer is safe all the same
                fcntl.flock(fd, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        yield
    finally:
        os.close(fd)
