"""The machine as the library sees it: threads, memory, instruction set."""

from __future__ import annotations

import sys

from dlcore import _C

__all__ = [
    "empty_cache",
    "get_num_threads",
    "memory_stats",
    "reset_peak_memory",
    "set_memory_limit",
    "set_num_threads",
    "show_config",
]


def set_num_threads(n: int) -> None:
    """Sets how many threads kernels use (1 to 1024). Results are the same bits for any number."""
    _C.set_num_threads(n)


def get_num_threads() -> int:
    """How many threads kernels use: by default the cores allowed by the affinity mask and the cgroup quota."""
    return _C.num_threads()


def memory_stats() -> dict[str, int]:
    """What the caching allocator holds: bytes `live`, `peak`, `cached` and `limit` (0: none), and the counts
    `allocations` and `cache_hits`."""
    return _C.memory_stats()


def set_memory_limit(limit: int | None) -> None:
    """Limits the bytes that tensors may take; None lifts the limit. Passing it raises MemoryError with the figures."""
    if limit is not None and limit <= 0:
        raise ValueError(f"[set_memory_limit] expected a positive number of bytes or None, got {limit}")
    _C.set_memory_limit(limit or 0)


def reset_peak_memory() -> None:
    """Sets `memory_stats()["peak"]` to what is live now."""
    _C.reset_peak_memory()


def empty_cache() -> None:
    """Gives the allocator's free blocks back to the system."""
    _C.empty_cache()


def show_config() -> str:
    """Prints and returns what this build is and what it uses: version, instruction set, threads, compiler, CUDA."""
    lines = [
        f"dlcore {_C.version} on Python {sys.version.split()[0]}",
        f"instruction set: {_C.target()} (this CPU runs {', '.join(_C.supported_targets())})",
        f"threads: {_C.num_threads()} of {_C.available_cores()} available cores",
        f"compiler: {_C.compiler}",
        f"CUDA: {_C.why_no_device('cuda') or _C.device_description('cuda')}",
    ]
    text = "\n".join(lines)
    print(text)
    return text
