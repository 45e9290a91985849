"""Ladders, from the definition of an operation to its shipped kernel: python -m benchmarks.ladder NAME [SIZE ...]

NAME.cpp includes the shipped kernel. It is compiled for the instruction set in use, checks every rung against the first
and times them in turns, beside the machine's limit. `rnn` climbs in Python: its rungs are made of operations.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.ladder import rnn
from benchmarks.limits import compiler
from dlcore import _C

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(path.stem for path in Path(__file__).parent.glob("*.cpp"))
# As in cmake/targets.cmake.
FLAGS = {
    "baseline": [],
    "avx2": ["-mavx2", "-mfma", "-mbmi2", "-mf16c"],
    "avx512": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma", "-mf16c", "-mprefer-vector-width=512"],
}
CORE = [f"cpp/{stem}.cpp" for stem in ("core/parallel", "core/device", "dispatch/kernel", "dispatch/cpu_features")]


def target() -> str:
    """The best of FLAGS up to the instruction set in use: for float32 the extensions have no kernels of their own."""
    supported = list(_C.supported_targets())
    upward = supported[: supported.index(_C.target()) + 1]
    return next((t for t in reversed(upward) if t in FLAGS), "baseline")


def compile_all(sources: Sequence[str], folder: Path, options: Sequence[str]) -> None:
    flags = [*options, "-std=c++17", "-fno-math-errno", "-fno-trapping-math", "-pthread", *FLAGS[target()]]
    flags += [f"-DDL_TARGET={target()}", f"-I{ROOT}", f"-I{ROOT / 'cpp'}"]
    subprocess.run([*compiler(), *flags, *(str(ROOT / source) for source in sources)], check=True, cwd=folder)


def build(names: Sequence[str], folder: Path, options: Sequence[str] = ("-O3",)) -> dict[str, Path]:
    """The compiled programs, in `folder`. What they share is compiled once."""
    compile_all(CORE, folder, [*options, "-c"])
    core = [f"{Path(source).stem}.o" for source in CORE]

    def one(name: str) -> Path:
        compile_all([f"benchmarks/ladder/{name}.cpp"], folder, [*core, *options, "-o", name])
        return folder / name

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(names, pool.map(one, names), strict=True))


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ladder", description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=[*NAMES, "rnn"])
    parser.add_argument("sizes", type=int, nargs="*", help="see the head of the file; the usual ones if not given")
    parser.add_argument("--rounds", type=int, default=15, help="turns that each rung takes (default: 15)")
    given = parser.parse_args(arguments)
    if given.name == "rnn":
        return rnn.main(given.sizes, given.rounds)
    with tempfile.TemporaryDirectory() as folder:
        program = build([given.name], Path(folder))[given.name]
        return subprocess.run([program, *map(str, [given.rounds, *given.sizes])], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
