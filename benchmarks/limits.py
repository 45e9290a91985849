"""What the machine allows: benchmarks/limits.cpp, built for this CPU and run, and the shortest time that follows."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).resolve().with_suffix(".cpp")
LEVELS = ("L1", "L2", "16M", "64M", "256M", "1G")
MOVES = ("read", "copy", "stream")


def compiler() -> list[str]:
    """CXX of the environment, or the C++ compiler that Python was built with, or g++."""
    return (os.environ.get("CXX") or (sysconfig.get_config_var("CXX") or "g++").split()[0]).split()


@functools.cache
def built() -> tempfile.TemporaryDirectory[str]:
    """The folder of the compiled program, which goes with this process."""
    flags = ["-O3", "-march=native", "-std=c++17", "-ffp-contract=fast", "-pthread"]
    folder = tempfile.TemporaryDirectory()
    subprocess.run([*compiler(), *flags, str(SOURCE), "-o", str(Path(folder.name) / "limits")], check=True)
    return folder


def run(*arguments: str) -> Any:
    command = [str(Path(built().name) / "limits"), *arguments]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure_limits(threads: int) -> dict[str, float]:
    """`fma_gflops`, `bf16_gflops` (0 without such an instruction), and for each of LEVELS, by the bytes that are
    touched, `_bytes`, `_read_gbs`, `_copy_gbs` and `_stream_gbs` (a copy past the caches)."""
    return run(str(threads))


def probe(threads: int) -> float:
    """`fma_gflops` right now, in some hundredths of a second."""
    return run("--probe", str(threads))


def best_of(runs: list[dict[str, float]]) -> dict[str, float]:
    """Each limit at its best: noise only ever lowers one."""
    return {name: max(limits[name] for limits in runs) for name in runs[0]}


def shortest_time(
    flops: float, bytes: float, limits: dict[str, float], touched: float | None = None, dtype: str = "fp32"
) -> tuple[float, str]:
    """The larger of flops / peak and bytes / bandwidth in seconds, and which it is.

    The bandwidth is that of the first level that has room for the bytes `touched` (those moved, if not given), of reads
    or copies, whichever are faster. The peak of "bf16" is that of the dot products where they are faster.
    """
    touched = bytes if touched is None else touched
    level = next((name for name in LEVELS[:-1] if touched <= limits[f"{name}_bytes"]), LEVELS[-1])
    bandwidth = max(limits[f"{level}_{move}_gbs"] for move in MOVES)
    name, peak = "FMA", limits["fma_gflops"]
    if dtype == "bf16" and limits["bf16_gflops"] > peak:
        name, peak = "bf16", limits["bf16_gflops"]
    compute, memory = flops / peak / 1e9, bytes / bandwidth / 1e9
    return (compute, name) if compute >= memory else (memory, level)


def summary(limits: dict[str, float]) -> str:
    levels = [f"{x} {' / '.join(format(limits[f'{x}_{move}_gbs'], ',.0f') for move in MOVES)}" for x in LEVELS]
    bf16 = f", {limits['bf16_gflops']:,.0f} (bfloat16 dot products)" if limits["bf16_gflops"] else ""
    return f"{limits['fma_gflops']:,.0f} GFLOP/s (float32 FMA){bf16}; {' / '.join(MOVES)} in GB/s: {', '.join(levels)}"
