"""The ladder to the matrix product: python -m benchmarks.ladder.matmul [SIZE]

Compiles benchmarks/ladder/matmul.cpp, which includes the shipped kernel, for the instruction set in use and runs it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.limits import compiler
from dlcore import _C

ROOT = Path(__file__).resolve().parents[2]
# As in cmake/targets.cmake.
FLAGS = {
    "baseline": [],
    "avx2": ["-mavx2", "-mfma", "-mbmi2", "-mf16c"],
    "avx512": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma", "-mf16c", "-mprefer-vector-width=512"],
}
CORE = ["core/parallel.cpp", "dispatch/kernel.cpp", "dispatch/cpu_features.cpp"]


def main() -> int:
    target = next(t for t in reversed(_C.supported_targets()) if t in FLAGS)  # float32: the extensions have no own
    flags = ["-O3", "-std=c++17", "-fno-math-errno", "-fno-trapping-math", "-pthread", f"-DDL_TARGET={target}"]
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "matmul"
        sources = [ROOT / "benchmarks" / "ladder" / "matmul.cpp", *(ROOT / "cpp" / name for name in CORE)]
        subprocess.run(
            [*compiler(), *flags, *FLAGS[target], f"-I{ROOT / 'cpp'}", *map(str, sources), "-o", str(program)],
            check=True,
        )
        return subprocess.run([str(program), *sys.argv[1:]], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
