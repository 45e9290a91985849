"""The safetensors format (https://github.com/huggingface/safetensors), read by memory map and written crash-safely.

A file is an 8-byte little-endian header length, a JSON header `{name: {"dtype", "shape", "data_offsets"}}`, the data.
Nothing in a file is trusted: every number is checked in exact arithmetic against the file's length before it is used.
"""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dlcore import _C
from dlcore.io.files import replacing, write_all

if TYPE_CHECKING:
    from dlcore.tensor import Tensor

__all__ = ["load_file", "safe_open", "save_file"]

# In the order in which the reference implementation lays tensors out: wide elements first, so that all are aligned.
_DTYPES = {
    "I64": _C.int64,
    "F64": _C.float64,
    "F32": _C.float32,
    "I32": _C.int32,
    "BF16": _C.bfloat16,
    "U8": _C.uint8,
    "BOOL": _C.bool_,
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_ORDER = {name: i for i, name in enumerate(_DTYPES)}
_MAX_HEADER = 100_000_000  # the reference implementation's limit
_MAX_DIMS = 8
_INT64_MAX = 2**63 - 1


class _Entry(NamedTuple):
    dtype: str
    shape: tuple[int, ...]
    begin: int  # bytes from the start of the data
    end: int


class _Bad(Exception):
    """What is wrong with a file; the public functions add its name."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        seen: set[str] = set()
        twice = next(k for k, _ in pairs if k in seen or seen.add(k))  # type: ignore[func-returns-value]
        raise _Bad(f"the header has the key {twice!r} twice")
    return out


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _INT64_MAX


def _entry(name: str, info: Any, data_length: int) -> _Entry:
    if not isinstance(info, dict) or not {"dtype", "shape", "data_offsets"} <= info.keys():
        raise _Bad(f"tensor {name!r} must have dtype, shape and data_offsets, got {str(info)[:200]}")
    dtype, shape, offsets = info["dtype"], info["shape"], info["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise _Bad(f"tensor {name!r} has dtype {str(dtype)[:40]!r}, expected one of {', '.join(_DTYPES)}")
    if not isinstance(shape, list) or len(shape) > _MAX_DIMS or not all(map(_is_size, shape)):
        raise _Bad(f"tensor {name!r} must have at most {_MAX_DIMS} sizes from 0 to 2^63 - 1, got {str(shape)[:200]}")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_size, offsets)):
        raise _Bad(f"tensor {name!r} must have two data_offsets from 0 to 2^63 - 1, got {str(offsets)[:200]}")
    begin, end = offsets
    if not begin <= end <= data_length:
        raise _Bad(f"tensor {name!r} has data_offsets {offsets}, outside of the {data_length} bytes of data")
    size = _DTYPES[dtype].itemsize
    for n in shape:
        size *= n or 1  # an empty tensor's other sizes must be of an addressable tensor as well
    if size > _INT64_MAX:
        raise _Bad(f"tensor {name!r} has shape {shape}, whose bytes do not fit into 63 bits")
    size = 0 if 0 in shape else size
    if end - begin != size:
        kind = f"shape {shape} and dtype {dtype}"
        raise _Bad(f"tensor {name!r} of {kind} takes {size} bytes, its data_offsets {offsets} span {end - begin}")
    return _Entry(dtype, tuple(shape), begin, end)


def _parse(data: mmap.mmap) -> tuple[dict[str, _Entry], dict[str, str], int]:
    """Entries in file order, the metadata, and where the data start."""
    if len(data) < 8:
        raise _Bad(f"the file is truncated: expected 8 bytes of header length, got {len(data)}")
    length = int.from_bytes(data[:8], "little")
    if length > _MAX_HEADER:
        raise _Bad(f"the header length is {length} bytes, over the limit of {_MAX_HEADER}: not a safetensors file?")
    start = 8 + length
    if start > len(data):
        raise _Bad(f"the file is truncated: the header takes {start} bytes, the file has {len(data)}")
    try:
        header = json.loads(data[8:start].decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as e:
        raise _Bad(f"the header is not JSON: {e}") from None
    if not isinstance(header, dict):
        raise _Bad(f"the header must be a JSON object, got {type(header).__name__}")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise _Bad(f"__metadata__ must map strings to strings, got {str(metadata)[:200]}")
    entries = {name: _entry(name, info, len(data) - start) for name, info in header.items()}
    entries = dict(sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)))
    at, previous = 0, None
    for name, entry in entries.items():
        if entry.begin != at:
            fault = "overlap" if entry.begin < at else "leave a gap"
            where = f"{name!r} begins at {entry.begin}, expected {at}"
            raise _Bad(f"the data of {previous!r} and {name!r} {fault}: {where}")
        at, previous = entry.end, name
    if at != len(data) - start:
        raise _Bad(f"the tensors take {at} bytes of data, the file has {len(data) - start}")
    return entries, metadata, start


class safe_open:
    """A safetensors file opened without reading its data: each tensor is mapped when it is asked for.

    ::

        with safe_open("model.safetensors") as f:
            w = f.get_tensor("w")

    Tensors stay valid after the file is closed, replaced or deleted (but not if somebody shortens it in place). They
    can be written to: the pages are copied on write, and the file never changes.

    Raises:
        ValueError: the file is truncated or not valid; the message names the file and what is wrong.
        OSError: it cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        with open(self.path, "rb") as file:
            if os.fstat(file.fileno()).st_size == 0:  # cannot be mapped
                raise ValueError(f"[safe_open] {self.path}: the file is empty")
            self._map: mmap.mmap | None = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        try:
            self._entries, self._metadata, self._start = _parse(self._map)
        except _Bad as e:
            self._map.close()
            raise ValueError(f"[safe_open] {self.path}: {e}") from None

    def keys(self) -> list[str]:
        """Names of the tensors, in the order of their data."""
        return list(self._entries)

    def metadata(self) -> dict[str, str]:
        """The free-form strings stored with the tensors."""
        return dict(self._metadata)

    def get_shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, without touching its data."""
        return self._entry(name).shape

    def get_dtype(self, name: str) -> Any:
        """The dtype of a tensor, without touching its data."""
        return _DTYPES[self._entry(name).dtype]

    def get_tensor(self, name: str) -> Tensor:
        """A tensor over the mapped file (a copy where the file does not align its elements).

        Raises:
            KeyError: no such tensor.
            ValueError: the file was closed, or a BOOL byte that is neither 0 nor 1.
        """
        entry = self._entry(name)
        if self._map is None:
            raise ValueError(f"[safe_open] {self.path}: the file is closed")
        dtype = _DTYPES[entry.dtype]
        if entry.begin == entry.end:
            return _C.empty(entry.shape, dtype)
        # A storage for each tensor: in-place writes to one must not look like writes to all of them.
        raw = _C.from_buffer(memoryview(self._map)[self._start + entry.begin : self._start + entry.end])
        if dtype is _C.bool_ and np.asarray(memoryview(raw)).max() > 1:
            raise ValueError(f"[safe_open] {self.path}: tensor {name!r} has BOOL bytes other than 0 and 1")
        if raw.data_ptr() % dtype.itemsize:
            raw = _C.clone(raw)
        return _C.reinterpret(raw, dtype, entry.shape)

    def close(self) -> None:
        """Lets go of the map; tensors that were taken from it keep it alive."""
        self._map = None

    def _entry(self, name: str) -> _Entry:
        if name not in self._entries:
            some = ", ".join(list(self._entries)[:8])
            raise KeyError(f"[safe_open] {self.path}: no tensor {name!r}; the file has {some} …")
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __enter__(self) -> safe_open:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def load_file(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """All tensors of a safetensors file by name, over a private map of it: nothing is read until it is used.

    Raises:
        ValueError: the file is truncated or not valid; the message names the file and what is wrong.
        OSError: it cannot be opened.
    """
    with safe_open(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}


def save_file(
    tensors: Mapping[str, Tensor],
    path: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
    *,
    on_bytes: Callable[[Any], None] | None = None,
) -> None:
    """Writes tensors as a safetensors file: all of it and durably, or not at all.

    The data go to a temporary file beside `path`, are synced, and take its name in one step; whatever fails (a full
    disk, Ctrl-C), an older file of that name stays whole and the temporary is removed.

    Args:
        tensors: by name; any strides.
        path: of the file.
        metadata: free-form strings to keep in the header.
        on_bytes: called with every piece of the file in turn, such as a hash's `update`.

    Raises:
        TypeError: a value is not a tensor, or a name or metadata is not a string.
        ValueError: a tensor is named `__metadata__`.
        OSError: the file cannot be written.
    """
    for name, t in tensors.items():
        if not isinstance(name, str):
            raise TypeError(f"[save_file] expected names of type str, got {name!r}")
        if not isinstance(t, _C.Tensor):
            raise TypeError(f"[save_file] expected a Tensor for {name!r}, got {type(t).__name__}")
    if "__metadata__" in tensors:
        raise ValueError("[save_file] a tensor cannot be named '__metadata__': the format keeps that name for itself")
    header: dict[str, Any] = {}
    if metadata is not None:
        if not all(isinstance(k, str) and isinstance(v, str) for k, v in metadata.items()):
            raise TypeError("[save_file] expected metadata that maps str to str")
        header["__metadata__"] = dict(metadata)
    names = sorted(tensors, key=lambda n: (_ORDER[_NAMES[tensors[n].dtype]], n))
    at = 0
    for name in names:
        t = tensors[name]
        header[name] = {"dtype": _NAMES[t.dtype], "shape": list(t.shape), "data_offsets": [at, at + t.nbytes]}
        at += t.nbytes
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % 8)
    if len(text) > _MAX_HEADER:
        raise ValueError(f"[save_file] the header takes {len(text)} bytes, over the format's limit of {_MAX_HEADER}")
    with replacing(os.fspath(path)) as fd:
        _put(fd, len(text).to_bytes(8, "little") + text, on_bytes)
        for name in names:
            x = _C.contiguous(_C.to_device(tensors[name], "cpu"))
            if x.nbytes:
                _put(fd, memoryview(_C.reinterpret(x, _C.uint8, (x.nbytes,))), on_bytes)


def _put(fd: int, data: Any, on_bytes: Callable[[Any], None] | None) -> None:
    if on_bytes is not None:
        on_bytes(data)
    write_all(fd, data)
