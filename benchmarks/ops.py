"""Times the shapes that the opcase tables name, against NumPy and against what the machine can do.

    python -m benchmarks.ops                    every named shape
    python -m benchmarks.ops -k softmax         names that contain "softmax"
    python -m benchmarks.ops --backward         forward and backward together
    python -m benchmarks.ops --json FILE        the figures as data

dlcore and NumPy run in turns, so that a noisy machine hits both; the figure is the median round. The limits are
measured in the same run (benchmarks/limits.py), the peak also between the rounds of each shape; the share is of the
larger of operations / peak and bytes / bandwidth.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

import dlcore as dl
from benchmarks.limits import measure_limits, shortest_time, summary
from dlcore import _C
from tests.opcases import OpCase, Sample, all_cases

# The threads of OpenBLAS spin on for more than a tenth of a second after NumPy's last product, and take a third of the
# speed from whoever comes next; ours for a ten-thousandth.
SETTLE = {"dlcore": 0.15, "numpy": 0.01}


@dataclass
class Job:
    """One named shape of one case, ready to call on either side."""

    name: str
    dlcore: Callable[[], Any]
    numpy: Callable[[], Any]
    bytes: float | None
    flops: float | None


@dataclass
class Figure:
    """What was measured: seconds of the median round, rates, and the share of the limit that binds."""

    name: str
    seconds: float
    numpy_seconds: float | None
    gflops: float | None
    gbytes: float | None
    limit: str | None
    share: float | None


def jobs(pattern: str = "", backward: bool = False) -> Iterator[Job]:
    """Every named shape whose "<case>/<shape>" contains the pattern."""
    for case in all_cases():
        for shape, sample in case.bench.items():
            name = f"{case.name}/{shape}"
            if pattern in name and (case.gradient or not backward):
                yield job(case, name, sample if isinstance(sample, Sample) else Sample(sample), backward)


def job(case: OpCase, name: str, sample: Sample, backward: bool) -> Job:
    arrays, grads, rebuild = sample.bind()
    args, kwargs = rebuild(arrays)
    tensors = [dl.tensor(a) for a in arrays]
    ours, our_kwargs = rebuild(tensors)
    plain = case.numpy or case.reference

    def forward() -> Any:
        return case.op(*ours, **our_kwargs)

    def both() -> Any:
        y = forward()
        y = next(t for t in (y if isinstance(y, (tuple, list)) else [y]) if t.requires_grad)
        return dl.grad(y, leaves, seed, allow_unused=True)

    if backward:
        leaves = [t.requires_grad_() for t, g in zip(tensors, grads, strict=True) if g]
        seed = dl.ones(forward().shape)
    return Job(
        name,
        both if backward else forward,
        lambda: plain(*args, **kwargs),
        case.bytes(*args, **kwargs) if case.bytes and not backward else None,
        case.flops(*args, **kwargs) if case.flops and not backward else None,
    )


def once(call: Callable[[], Any], repeats: int = 1) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def turn(call: Callable[[], Any], repeats: int, settle: float) -> float:
    """Times one side once it has run long enough for the threads of the other one to sleep."""
    settled = time.perf_counter() + settle
    while time.perf_counter() < settled:
        call()
    return once(call, repeats)


def measure(job: Job, seconds: float, limits: dict[str, float], against_numpy: bool) -> Figure:
    """Rounds of both sides in turns until `seconds` are spent; short calls are repeated inside a round."""
    sides = [job.dlcore, job.numpy] if against_numpy else [job.dlcore]
    repeats = [max(1, int(0.005 / max(once(side), once(side), 1e-9))) for side in sides]
    rounds: list[list[float]] = []
    peaks: list[float] = []  # right after our own turn: a core whose other half is lent out computes half as fast
    end = time.perf_counter() + seconds
    while len(rounds) < 5 or time.perf_counter() < end:
        ours = turn(job.dlcore, repeats[0], SETTLE["dlcore"] if against_numpy else 0)
        peaks.append(_C.fma_peak(0.004) / 1e9)
        rounds.append([ours, *(turn(side, n, SETTLE["numpy"]) for side, n in zip(sides[1:], repeats[1:], strict=True))])
    ours, *theirs = (statistics.median(column) for column in zip(*rounds, strict=True))
    limits = limits | {"fma_gflops": statistics.median(peaks)}
    least, limit = shortest_time(job.flops or 0.0, job.bytes or 0.0, limits)
    known = job.flops is not None or job.bytes is not None
    return Figure(
        job.name,
        ours,
        theirs[0] if theirs else None,
        job.flops / ours / 1e9 if job.flops else None,
        job.bytes / ours / 1e9 if job.bytes else None,
        limit if known else None,
        least / ours if known else None,
    )


def line(f: Figure) -> str:
    def cell(value: float | None, text: str, width: int) -> str:
        return ("" if value is None else text.format(value)).rjust(width)

    ratio = None if f.numpy_seconds is None else f.numpy_seconds / f.seconds
    return (
        f"{f.name:<44} {f.seconds * 1e6:>11,.1f} µs {cell(f.gflops, '{:,.1f}', 9)} {cell(f.gbytes, '{:,.1f}', 8)}"
        f" {f.limit or '':>5} {cell(f.share, '{:.0%}', 5)} {cell(ratio, '{:.2f}x', 8)}"
        + ("   slower than NumPy" if ratio is not None and ratio < 1 else "")
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ops", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-k", default="", metavar="TEXT", help="only names that contain this")
    parser.add_argument(
        "--threads",
        type=int,
        default=dl.get_num_threads(),
        metavar="N",
        help="threads of dlcore (NumPy keeps its own setting)",
    )
    parser.add_argument("--seconds", type=float, default=0.3, metavar="F", help="time for each shape")
    parser.add_argument("--backward", action="store_true", help="forward and backward together, without NumPy")
    parser.add_argument("--json", metavar="FILE", help="write the figures there")
    options = parser.parse_args(arguments)
    dl.set_num_threads(options.threads)

    with contextlib.redirect_stdout(io.StringIO()):
        config = dl.show_config()
    limits = measure_limits(options.threads)
    print(config)
    print(f"limits measured now: {summary(limits)}\n")
    print(f"{'':<44} {'time':>14} {'GFLOP/s':>9} {'GB/s':>8} {'limit':>5} {'share':>5} {'NumPy':>8}")
    figures = []
    with np.errstate(all="ignore"):
        for j in jobs(options.k, options.backward):
            figures.append(measure(j, options.seconds, limits, against_numpy=not options.backward))
            print(line(figures[-1]), flush=True)
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"config": config, "limits": limits, "figures": [asdict(f) for f in figures]}, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
