"""dlcore beside PyTorch, JAX, ONNX Runtime, NumPy and raxis: python -m benchmarks.peers

    python -m benchmarks.peers                             every case: about an hour
    python -m benchmarks.peers --quick                     some, in minutes
    python -m benchmarks.peers --case 'attn/*' --update    some anew, into the results that are there
    python -m benchmarks.peers --smoke --json FILE         does every case run, do results agree? The times mean nothing
    python -m benchmarks.peers --readme                    measures nothing: the results' table into README.md

Results go to benchmarks/results/peers.json, the tables beside it to peers.md. Peers that are not installed are left
out; pip install '.[peers]' installs them. Linux only.
"""

from __future__ import annotations

import argparse
import fcntl
import fnmatch
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.peers import machine, report
from benchmarks.peers.adapters import PEERS, installed
from benchmarks.peers.cases import CASES, Case
from benchmarks.peers.process import CACHE, ROOT
from benchmarks.peers.runner import FULL, QUICK, SMOKE, Run

RESULTS = ROOT / "benchmarks" / "results" / "peers.json"
START = time.monotonic()


def say(text: str) -> None:
    print(f"[{time.monotonic() - START:5.0f} s] {text}", flush=True)


def numbers(text: str) -> list[int]:
    found = [int(part) for part in text.split(",")]
    if min(found) < 1 or max(found) > len(machine.CORES):
        raise argparse.ArgumentTypeError(f"from 1 to {len(machine.CORES)}, the cores of this process")
    return found


def options(arguments: list[str] | None) -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__, formatter_class=raw)
    passes = sorted({len(machine.CORES), 1}, reverse=True)
    peers = f"one of {', '.join(PEERS)}; may be repeated"
    parser.add_argument("--case", action="append", default=[], metavar="GLOB", help="only these; may be repeated")
    parser.add_argument("--peer", action="append", default=[], choices=PEERS, metavar="NAME", help=peers)
    parser.add_argument("--threads", type=numbers, default=passes, metavar="N,N", help="a pass for each number")
    parser.add_argument("--quick", action="store_true", help="some cases of each group, all threads, less time")
    parser.add_argument("--smoke", action="store_true", help="each case once: the times mean nothing")
    parser.add_argument("--json", type=Path, default=RESULTS, metavar="FILE", help="where the results go")
    parser.add_argument("--update", action="store_true", help="keep what is there of other cases and peers")
    parser.add_argument("--list", action="store_true", help="the names of the cases, and nothing else")
    parser.add_argument("--readme", action="store_true", help="put the results' table into README.md, and nothing else")
    return parser.parse_args(arguments)


def chosen(given: argparse.Namespace) -> list[Case]:
    cases = [case for case in CASES if case.quick or given.case or not given.quick]
    if given.case:
        cases = [case for case in cases if any(fnmatch.fnmatch(case.name, glob) for glob in given.case)]
    return cases


def write_readme(document: dict[str, Any], path: Path) -> None:
    path.write_text(report.replace_marked(path.read_text(), report.for_readme(document)))


def leave(number: int, frame: Any) -> None:
    sys.exit(128 + number)  # by way of `finally`, which ends the workers


def main(arguments: list[str] | None = None) -> int:
    given = options(arguments)
    cases = chosen(given)
    if given.list:
        print("\n".join(case.name for case in cases))
        return 0
    if given.readme:
        write_readme(json.loads(given.json.read_text()), ROOT / "README.md")
        return 0
    if not cases:
        print("no case has such a name; --list prints them", file=sys.stderr)
        return 2
    if given.smoke and given.json == RESULTS:
        print("--smoke needs --json FILE: its times mean nothing", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, leave)
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two runs at once would measure each other
        measure(given, cases)
    return 0


def measure(given: argparse.Namespace, cases: list[Case]) -> None:
    wanted = given.peer or list(PEERS)
    peers = [peer for peer in wanted if installed(peer)]
    missing = [peer for peer in wanted if peer not in peers]
    if missing:
        say(f"not installed: {', '.join(missing)}")
    run = Run(given.json, SMOKE if given.smoke else QUICK if given.quick else FULL, say, given.update)
    passes = given.threads[:1] if given.quick and not given.case else given.threads
    for threads in passes:
        mine = [case for case in cases if case.one_thread or threads == max(passes)]
        say(f"{len(mine)} cases with {threads} threads: {', '.join(peers)}")
        run.measure(mine, peers, threads)
    text = report.full(run.document)
    given.json.with_suffix(".md").write_text(text)
    print(f"\n{text}")


if __name__ == "__main__":
    sys.exit(main())
