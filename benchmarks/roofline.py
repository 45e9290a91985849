"""Every named shape as a share of what the machine allows: the larger of flops / peak and bytes / bandwidth.

    python -m benchmarks.roofline               every named shape that says how many operations or bytes it needs
    python -m benchmarks.roofline -k matmul     names that contain "matmul"
    python -m benchmarks.roofline --threads 1

The limits come from benchmarks/limits.cpp, built for this CPU, before and after the shapes: the higher figures count.
The bandwidth is that of the level of memory whose size the shape's bytes fit, as a copy or a read, whichever is faster.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

import dlcore as dl
from benchmarks.ops import Job, jobs, once

HERE = Path(__file__).resolve().parent
LEVELS = ("l1", "l2", "l3", "dram")


def compiler() -> str:
    return os.environ.get("CXX") or (sysconfig.get_config_var("CXX") or "g++").split()[0]


def build_limits(folder: Path) -> Path:
    """Compiles limits.cpp for this CPU."""
    program = folder / "limits"
    flags = ["-O3", "-march=native", "-std=c++17", "-ffp-contract=fast", "-pthread"]
    subprocess.run([compiler(), *flags, str(HERE / "limits.cpp"), "-o", str(program)], check=True)
    return program


def measured_limits(program: Path, threads: int) -> dict[str, float]:
    return json.loads(subprocess.run([str(program), str(threads)], check=True, capture_output=True, text=True).stdout)


def level_of(footprint: float, limits: dict[str, float]) -> str:
    """The innermost level that holds so many bytes."""
    return next((name for name in LEVELS[:-1] if footprint <= limits[f"{name}_bytes"]), LEVELS[-1])


def roof(job: Job, limits: dict[str, float]) -> tuple[float, str]:
    """The shortest time that the limits allow, and which limit it is."""
    compute = (job.flops or 0.0) / (limits["fma_gflops"] * 1e9)
    level = level_of(job.bytes or 0.0, limits)
    bandwidth = max(limits[f"{level}_read_gbs"], limits[f"{level}_copy_gbs"]) * 1e9
    memory = (job.bytes or 0.0) / bandwidth
    return (compute, "FMA") if compute >= memory else (memory, level)


def median_time(job: Job, seconds: float) -> float:
    repeats = max(1, int(0.002 / max(once(job.dlcore), once(job.dlcore), 1e-9)))
    rounds: list[float] = []
    end = time.perf_counter() + seconds
    while len(rounds) < 5 or time.perf_counter() < end:
        rounds.append(once(job.dlcore, repeats))
    return statistics.median(rounds)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.roofline", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-k", default="", metavar="TEXT", help="only names that contain this")
    parser.add_argument("--threads", type=int, default=dl.get_num_threads(), metavar="N", help="threads of dlcore")
    parser.add_argument("--seconds", type=float, default=0.3, metavar="F", help="time for each shape")
    parser.add_argument("--json", metavar="FILE", help="write limits and figures there")
    options = parser.parse_args(arguments)
    dl.set_num_threads(options.threads)

    with tempfile.TemporaryDirectory() as folder:
        program = build_limits(Path(folder))
        limits = measured_limits(program, options.threads)
        todo = [job for job in jobs(options.k) if job.flops or job.bytes]
        times = [median_time(job, options.seconds) for job in todo]
        limits = {k: max(v, limits[k]) for k, v in measured_limits(program, options.threads).items()}

    print(f"{options.threads} threads, {limits['fma_gflops']:,.0f} GFLOP/s; read and copy in GB/s:", end="")
    print(*(f"  {x} {limits[f'{x}_read_gbs']:,.0f} {limits[f'{x}_copy_gbs']:,.0f}" for x in LEVELS), sep="", end="\n\n")
    print(f"{'':<40} {'time':>14} {'GFLOP/s':>9} {'GB/s':>8} {'limit':>6} {'share':>6}")
    figures = []
    for job, seconds in zip(todo, times, strict=True):
        least, bound = roof(job, limits)
        gflops, gbytes = (None if x is None else x / seconds / 1e9 for x in (job.flops, job.bytes))
        cells = [f"{x:,.1f}" if x else "" for x in (gflops, gbytes)]
        print(f"{job.name:<40} {seconds * 1e6:>11,.1f} µs {cells[0]:>9} {cells[1]:>8} {bound:>6} {least / seconds:>6.0%}")
        figures.append(
            {"name": job.name, "seconds": seconds, "gflops": gflops, "gbytes": gbytes, "limit": bound, "share": least / seconds}
        )
    if options.json:
        Path(options.json).write_text(json.dumps({"limits": limits, "figures": figures}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
