"""The machine under test: which cores, how busy they are, what they are called. Linux only."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def use_cores(threads: int) -> set[int]:
    """Binds this process, and so all that it starts, to as many of its cores as there are threads: XLA sizes its pool
    by them. The last cores, since the system's own work prefers the first."""
    cores = set(CORES[-threads:])
    os.sched_setaffinity(0, cores)
    return cores


def busy_seconds(cores: set[int]) -> tuple[float, float]:
    """CPU seconds that all processes together have used on these cores, and those that a hypervisor took."""
    names, busy, stolen = {f"cpu{core}" for core in cores}, 0, 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name in names:
            user, nice, system, _idle, _wait, irq, softirq, steal = (int(field) for field in fields[:8])
            busy, stolen = busy + user + nice + system + irq + softirq, stolen + steal
    tick = os.sysconf("SC_CLK_TCK")
    return busy / tick, stolen / tick


def wait_until_quiet(seconds: float, cores: set[int], most: float = 0.15) -> bool:
    """Waits until other processes use less than `most` of a core, or until the time is over; whether they do."""
    end = time.monotonic() + seconds
    while True:
        before = busy_seconds(cores)[0]
        time.sleep(0.5)
        if (busy_seconds(cores)[0] - before) / 0.5 < most:
            return True
        if time.monotonic() > end:
            return False


def description() -> dict[str, str | int]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": len(CORES),
        "system": platform.system(),
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }
