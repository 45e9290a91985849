"""Ladders, from the definition of an operation to its shipped kernel: python -m benchmarks.ladder NAME [SIZE ...]

NAME.cpp includes the shipped kernel. It is compiled for the instruction set in use, checks every rung against the first
and times them in turns, beside the machine's limit. `rnn` climbs in Python: its rungs are made of operations.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
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
CORE = ["core/parallel.cpp", "dispatch/kernel.cpp", "dispatch/cpu_features.cpp"]


def target() -> str:
    """The best of FLAGS up to the instruction set in use: for float32 the extensions have no kernels of their own."""
    supported = list(_C.supported_targets())
    upward = supported[: supported.index(_C.target()) + 1]
    return next((t for t in reversed(upward) if t in FLAGS), "baseline")


def build(name: str, folder: Path, optimise: Sequence[str] = ("-O3",)) -> Path:
    """The compiled program, in `folder`."""
    program = folder / name
    sources = [ROOT / "benchmarks" / "ladder" / f"{name}.cpp", *(ROOT / "cpp" / source for source in CORE)]
    flags = [*optimise, "-std=c++17", "-fno-math-errno", "-fno-trapping-math", "-pthread", *FLAGS[target()]]
    includes = [f"-DDL_TARGET={target()}", f"-I{ROOT}", f"-I{ROOT / 'cpp'}"]
    subprocess.run([*compiler(), *flags, *includes, *map(str, sources), "-o", str(program)], check=True)
    return program


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ladder", description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=[*NAMES, "rnn"])
    parser.add_argument("sizes", type=int, nargs="*", help="see the head of the file; the usual ones if not given")
    parser.add_argument("--rounds", type=int, default=15, help="turns that each rung takes (default: 15)")
    given = parser.parse_args(arguments)
    if given.name == "rnn":
        return rnn.main(given.sizes, given.rounds)
    with tempfile.TemporaryDirectory() as folder:
        program = build(given.name, Path(folder))
        return subprocess.run([program, *map(str, [given.rounds, *given.sizes])], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
