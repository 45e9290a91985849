"""One process for one peer and number of threads: python -m benchmarks.peers.worker PEER THREADS

Lines of JSON come in and go out; a worker holds one prepared case.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
import traceback
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.peers.adapters import load
from benchmarks.peers.adapters.base import Adapter, Call, Skip
from benchmarks.peers.cases import BY_NAME


def peak_memory() -> int:
    """The most bytes that this process has held so far."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def timed(call: Call, adapter: Adapter, repeats: int = 1) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        adapter.wait(call())
    return (time.perf_counter() - start) / repeats


def means(adapter: Adapter, result: Any) -> list[float]:
    """Of the magnitudes of each result, for comparison between peers."""
    results = result if isinstance(result, (tuple, list)) else [result]
    return [float(np.abs(np.asarray(adapter.to_numpy(x), np.float64)).mean()) for x in results]


class Held:
    """The case that is prepared, and how long a call takes."""

    def __init__(self, adapter: Adapter) -> None:
        self.adapter = adapter
        self.call: Call | None = None
        self.seconds = 0.0

    def prepare(self, case: str) -> dict[str, Any]:
        """The first call, compilation included, and then the usual one."""
        self.call = None
        start = time.perf_counter()
        self.call = self.adapter.prepare(BY_NAME[case])
        result = self.adapter.wait(self.call())
        first = time.perf_counter() - start
        found = means(self.adapter, result)
        del result
        self.seconds = timed(self.call, self.adapter)
        if self.seconds < 0.3:
            for _ in range(3 if self.seconds > 0.01 else 20):
                self.seconds = min(self.seconds, timed(self.call, self.adapter))
        return {"seconds": self.seconds, "first": first, "means": found}

    def sample(self, repeats: int) -> dict[str, Any]:
        assert self.call is not None
        if self.seconds < 0.05:  # wakes the threads and fills the caches that other peers have used
            self.adapter.wait(self.call())
        return {"seconds": timed(self.call, self.adapter, repeats)}

    def release(self) -> dict[str, Any]:
        self.call = None
        self.adapter.release()
        gc.collect()
        return {"peak_memory": peak_memory()}


def answers(peer: str, threads: int) -> Iterator[dict[str, Any]]:
    """One for the start and one for each line of the input."""
    adapter = load(peer, threads)
    yield {"info": adapter.info(), "families": adapter.families()}
    held = Held(adapter)
    for line in sys.stdin:
        command = json.loads(line)
        try:
            yield getattr(held, command.pop("do"))(**command)
        except Skip as skip:
            yield {"skip": str(skip)}
        except Exception as error:
            traceback.print_exc()
            yield {"skip": f"{type(error).__name__}: {str(error)[:300]}"}


def main() -> None:
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not come between the answers
    for answer in answers(sys.argv[1], int(sys.argv[2])):
        print(json.dumps(answer), file=out, flush=True)


if __name__ == "__main__":
    main()
