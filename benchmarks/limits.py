"""What the machine allows: benchmarks/limits.cpp, built for this CPU and run, and the shortest time that follows."""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
import tempfile
from pathlib import Path

SOURCE = Path(__file__).resolve().with_suffix(".cpp")
LEVELS = ("L1", "L2", "16M", "64M", "256M", "1G")


def compiler() -> list[str]:
    """CXX of the environment, or the C++ compiler that Python was built with, or g++."""
    return (os.environ.get("CXX") or (sysconfig.get_config_var("CXX") or "g++").split()[0]).split()


def measure_limits(threads: int) -> dict[str, float]:
    """`fma_gflops`, and for each of LEVELS, by the bytes that are touched, `_bytes`, `_read_gbs` and `_copy_gbs`."""
    flags = ["-O3", "-march=native", "-std=c++17", "-ffp-contract=fast", "-pthread"]
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "limits"
        subprocess.run([*compiler(), *flags, str(SOURCE), "-o", str(program)], check=True)
        output = subprocess.run([str(program), str(threads)], check=True, capture_output=True, text=True).stdout
    return json.loads(output)


def shortest_time(flops: float, bytes: float, limits: dict[str, float]) -> tuple[float, str]:
    """The larger of flops / peak and bytes / bandwidth in seconds, and which it is.

    The bandwidth is that of the first level that has so many bytes, as a copy or a read, whichever is faster.
    """
    level = next((name for name in LEVELS[:-1] if bytes <= limits[f"{name}_bytes"]), LEVELS[-1])
    bandwidth = max(limits[f"{level}_read_gbs"], limits[f"{level}_copy_gbs"])
    compute, memory = flops / limits["fma_gflops"] / 1e9, bytes / bandwidth / 1e9
    return (compute, "FMA") if compute >= memory else (memory, level)


def summary(limits: dict[str, float]) -> str:
    levels = (f"{x} {limits[f'{x}_read_gbs']:,.0f} / {limits[f'{x}_copy_gbs']:,.0f}" for x in LEVELS)
    return f"{limits['fma_gflops']:,.0f} GFLOP/s (float32 FMA); read / copy in GB/s: {', '.join(levels)}"
