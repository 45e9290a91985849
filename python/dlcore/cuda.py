"""The GPU as the library sees it: whether there is one, its memory, and waiting for it.

Tensors go there with ``x.to("cuda")`` and ``device="cuda"``; operations run where their tensors lie. Everything is in
the order of one stream: `synchronize` waits for it, and so does whatever brings values back to the CPU.
"""

from __future__ import annotations

from dlcore import _C

__all__ = [
    "device_count",
    "empty_cache",
    "get_device_name",
    "is_available",
    "memory_stats",
    "reset_peak_memory",
    "set_memory_limit",
    "synchronize",
    "why_not",
]


def is_available() -> bool:
    """Whether this build has CUDA kernels and this machine a GPU that runs them."""
    return not why_not()


def why_not() -> str:
    """Why `is_available` is False; empty where it is True."""
    return _C.why_no_device("cuda")


def device_count() -> int:
    """How many GPUs there are; "cuda" is the first."""
    return _C.device_count("cuda")


def get_device_name() -> str:
    """The GPU's name and memory.

    Raises:
        NotImplementedError: there is none; `why_not` says why.
    """
    return _C.device_description("cuda")


def synchronize() -> None:
    """Waits until the GPU has done all that was asked of it.

    Raises:
        RuntimeError: what went wrong there. With DLCORE_CUDA_SYNC=1 in the environment every operation waits, and the
            error comes from the one that caused it.
        NotImplementedError: there is no GPU; `why_not` says why.
    """
    _C.synchronize("cuda")


def memory_stats() -> dict[str, int]:
    """As `dlcore.memory_stats`, of the GPU's memory: bytes `live`, `peak`, `cached` and `limit`, and the counts
    `allocations` and `cache_hits`."""
    return _C.device_memory_stats("cuda")


def reset_peak_memory() -> None:
    """Sets `memory_stats()["peak"]` to what is live now."""
    _C.reset_device_peak("cuda")


def set_memory_limit(limit: int | None) -> None:
    """Limits the bytes that tensors may take on the GPU; None lifts the limit. Passing it raises MemoryError."""
    if limit is not None and limit <= 0:
        raise ValueError(f"[set_memory_limit] expected a positive number of bytes or None, got {limit}")
    _C.set_device_limit("cuda", limit or 0)


def empty_cache() -> None:
    """Gives free memory of the GPU back to the system."""
    _C.empty_device_cache("cuda")
