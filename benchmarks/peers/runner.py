"""Measures: peers prepare a case one after the other, then give samples in turns (A B C A B C …).

While one computes the others are stopped. A sample is as many calls as fill some milliseconds; the figure is the median
of the samples. A short loop of multiply-adds before and after a case tells whether the machine is slower than it can
be, and the system's own counters whether other processes used its cores; then the case is measured once more and the
better one kept.
"""

from __future__ import annotations

import json
import math
import os
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.limits import best_of, measure_limits, probe, shortest_time
from benchmarks.peers import machine
from benchmarks.peers.cases import Case
from benchmarks.peers.process import Worker

TOLERANCE = 0.02  # of the mean magnitude: finds another problem, not another rounding
DIGITS = 4


@dataclass(frozen=True)
class Budget:
    """How much time a case gets. Of two figures the second one is for cases as large as a model."""

    share: tuple[float, float] = (0.25, 1.5)  # seconds of samples of each peer
    slowest: tuple[float, float] = (0.7, 8.0)  # a slower call is not sampled
    prepare: tuple[float, float] = (30.0, 150.0)  # for the first call, with compilation
    rounds: tuple[int, int] = (3, 25)  # the fewest and the most samples
    sample: float = 0.006  # the shortest sample, in seconds
    quiet: float = 10.0  # the longest wait for a quiet machine
    noise: float = 0.3  # cores that others may use before a case is measured again


FULL = Budget()
QUICK = Budget(share=(0.15, 1.0), slowest=(0.5, 3.0), prepare=(15.0, 40.0), rounds=(3, 15), noise=math.inf)
SMOKE = Budget(share=(0.0, 0.0), slowest=(60.0, 60.0), prepare=(120.0, 300.0), rounds=(1, 1), quiet=0.0, noise=math.inf)

Results = dict[str, dict[str, Any]]  # by peer: "median" and what belongs to it, or "skip" and the reason


def comparable(case: Case) -> bool:
    """Not where results are random, or a choice that the rounding decides."""
    return case.family != "dropout_fwdbwd" and (case.family, case.dtype) != ("gpt_decode", "bf16")


def disagreeing(results: Results) -> list[str]:
    """Peers whose results differ from those of the first one that gives as many."""
    first: dict[int, list[float]] = {}
    wrong = []
    for peer, result in results.items():
        found = result.get("means", [])
        expected = first.setdefault(len(found), found)
        pairs = zip(found, expected, strict=True)
        if not all(math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=1e-6) for a, b in pairs):
            wrong.append(peer)
    return wrong


def prepare(case: Case, worker: Worker, budget: Budget) -> dict[str, Any] | None:
    """The worker's answer, which may be a "skip"; None where this peer has no such family."""
    if case.fresh:
        worker.kill()
    if not worker.start():
        return {"skip": f"the process did not start, see {worker.log.name}"}
    if case.family not in worker.families:
        worker.stop()
        return None
    seconds = budget.prepare[case.heavy]
    answer = worker.ask(seconds, "prepare", case=case.name)
    if answer is None:
        return {"skip": f"not ready within {seconds:.0f} s, or died"}
    if answer.get("seconds", 0.0) > budget.slowest[case.heavy]:
        worker.ask(seconds, "release")
        return {"skip": f"too slow: {answer['seconds']:.2f} s a call"}
    return answer


def sample(case: Case, ready: list[tuple[Worker, float]], budget: Budget) -> dict[str, list[float]]:
    """The seconds of a call in each sample. A slow peer sits out some rounds, evenly."""
    plans = []
    for worker, seconds in ready:
        repeats = math.ceil(min(100000, max(1, budget.sample / max(seconds, 1e-7))))
        count = budget.share[case.heavy] / max(seconds * repeats, 1e-9)
        plans.append((worker, repeats, round(min(max(count, budget.rounds[0]), budget.rounds[1]))))
    rounds = max((count for *_, count in plans), default=0)
    times: dict[str, list[float]] = {worker.peer: [] for worker, *_ in plans}
    for i in range(rounds):
        for worker, repeats, count in plans:
            if i and i * count // rounds == (i - 1) * count // rounds:
                continue
            answer = worker.ask(max(60.0, 10 * budget.slowest[case.heavy]), "sample", repeats=repeats)
            if answer and "seconds" in answer:
                times[worker.peer].append(answer["seconds"])
    return times


def measure(case: Case, workers: list[Worker], cores: set[int], budget: Budget) -> dict[str, Any]:
    """{"peers": results, "noise": cores, "stolen": cores, "fma_gflops": GFLOP/s}"""
    results: Results = {}
    ready = []
    for worker in workers:
        answer = prepare(case, worker, budget)
        if answer is not None:
            results[worker.peer] = answer
            if "skip" not in answer:
                ready.append((worker, answer.pop("seconds")))
    threads = len(cores)
    speed = [probe(threads)]
    (busy, stolen), own = machine.busy_seconds(cores), sum(worker.cpu_seconds() for worker, _ in ready)
    start = os.times().elapsed
    times = sample(case, ready, budget)
    wall = max(os.times().elapsed - start, 1e-3)
    (busy_after, stolen_after), own_after = machine.busy_seconds(cores), sum(w.cpu_seconds() for w, _ in ready)
    speed.append(probe(threads))
    for worker, _ in ready:
        result = results[worker.peer]
        released = worker.ask(60, "release")
        if not times[worker.peer]:
            results[worker.peer] = {"skip": "died while it was sampled"}
            continue
        result["median"], result["least"] = statistics.median(times[worker.peer]), min(times[worker.peer])
        result["samples"] = len(times[worker.peer])
        if case.heavy and released:
            result["peak_memory"] = released["peak_memory"]
        # Frozen copies of a model's weights, and of its code, stay for as long as the process.
        if case.fresh or (case.heavy and worker.peer == "torch_compile"):
            worker.kill()
    return {
        "peers": {peer: rounded(result) for peer, result in results.items()},
        "noise": round(max(0.0, (busy_after - busy - (own_after - own)) / wall), 3),
        "stolen": round((stolen_after - stolen) / wall, 3),
        "fma_gflops": min(speed),
    }


def rounded(value: Any) -> Any:
    """With as many digits as a measurement has."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {name: rounded(item) for name, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list) else value


def as_text(value: Any, depth: int = 5, indent: str = "") -> str:
    """JSON in which the result of a peer is a line."""
    if not depth or not isinstance(value, dict) or not value:
        return json.dumps(value)
    inner = indent + " "
    items = (f"{inner}{json.dumps(name)}: {as_text(item, depth - 1, inner)}" for name, item in value.items())
    return "{\n" + ",\n".join(items) + f"\n{indent}}}"


class Run:
    """A document of results that grows, and is saved, case by case."""

    def __init__(self, path: Path, budget: Budget, say: Callable[[str], None], update: bool = False) -> None:
        self.path, self.budget, self.say = path, budget, say
        known = json.loads(path.read_text()) if update and path.exists() else {}
        self.document: dict[str, Any] = {"machine": {}, "peers": {}, "limits": {}, "cases": {}} | known
        self.document["machine"] = machine.description()

    def save(self) -> None:
        """A reader finds the old file or the new one, never a part."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".part")
        part.write_text(as_text(self.document) + "\n")
        os.replace(part, self.path)

    def limit(self, threads: int) -> dict[str, float]:
        return self.document["limits"][str(threads)]

    def measure_limits(self, threads: int) -> None:
        found, known = measure_limits(threads), self.document["limits"].get(str(threads))
        self.document["limits"][str(threads)] = best_of([found, known]) if known else found

    def measure(self, cases: Iterable[Case], peers: Iterable[str], threads: int) -> None:
        """One pass; the limits are measured before it and after it."""
        cores = machine.use_cores(threads)
        if self.budget.quiet and not machine.wait_until_quiet(self.budget.quiet, cores):
            self.say("other processes keep the machine busy")
        self.measure_limits(threads)
        workers = [Worker(peer, threads) for peer in peers]
        try:
            for case in cases:
                self.add(case, threads, self.better(case, workers, cores))
                self.save()
        finally:
            for worker in workers:
                if worker.info:
                    self.document["peers"].setdefault(worker.peer, {})[str(threads)] = worker.info
                worker.kill()
            machine.use_cores(len(machine.CORES))
        if self.budget is not SMOKE:
            self.measure_limits(threads)
        self.save()

    def trouble(self, found: dict[str, Any], threads: int) -> float:
        """Over 0 where the machine was not ours, or slower than it can be."""
        slowdown = 0.85 - found["fma_gflops"] / self.limit(threads)["fma_gflops"]
        return max(found["noise"] - self.budget.noise, slowdown)

    def better(self, case: Case, workers: list[Worker], cores: set[int]) -> dict[str, Any]:
        found = measure(case, workers, cores, self.budget)
        if self.budget is not FULL or case.heavy or self.trouble(found, len(cores)) <= 0:
            return found
        machine.wait_until_quiet(self.budget.quiet, cores)
        again = measure(case, workers, cores, self.budget)
        return min(found, again, key=lambda either: self.trouble(either, len(cores)))

    def add(self, case: Case, threads: int, found: dict[str, Any]) -> None:
        """Results of peers that were not measured now stay as they were."""
        known = self.document["cases"].setdefault(case.name, {}).setdefault(str(threads), {"peers": {}})
        peers = known["peers"] | found["peers"]
        wrong = disagreeing(peers) if comparable(case) else []
        known.update(found, peers=peers, disagree=wrong)
        times = {peer: result["median"] for peer, result in found["peers"].items() if "median" in result}
        line = " ".join(f"{peer} {1e3 * times[peer]:.4g}" for peer in sorted(times, key=times.__getitem__))
        if times and (case.flops or case.bytes):
            least, name = shortest_time(case.flops, case.bytes, self.limit(threads), case.touched, case.dtype)
            line += f" | {least / min(times.values()):.0%} of {name}"
        line += f" | noise {found['noise']:.2f}"
        line += f" | DISAGREE: {', '.join(wrong)}" if wrong else ""
        line += "".join(f" | {peer}: {result['skip']}" for peer, result in found["peers"].items() if "skip" in result)
        self.say(f"{case.name} x{threads} ms: {line}")
