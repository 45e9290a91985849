"""The C++ tests: configured, built and run by pytest, so that one command runs everything."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "cpp"


def run(*command):
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 0, f"{' '.join(map(str, command))} failed:\n{done.stdout[-8000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def programs():
    """The two test programs, built. Without a compiler or GoogleTest this fails with what to install."""
    assert shutil.which("cmake"), "cmake is missing: pip install cmake, or apt-get install cmake"
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    run(
        "cmake",
        "-S",
        ROOT,
        "-B",
        BUILD,
        *generator,
        "-DDLCORE_TESTS=ON",
        "-DDLCORE_PYTHON=OFF",
        "-DCMAKE_BUILD_TYPE=Release",
    )
    run("cmake", "--build", BUILD, "--parallel", str(os.cpu_count() or 1))
    return BUILD / "tests" / "cpp"


@pytest.mark.parametrize("program", ["core_tests", "kernel_tests"])
def test_cpp(programs, program):
    output = run(programs / program)
    assert "[  PASSED  ]" in output and "[  SKIPPED ]" not in output
