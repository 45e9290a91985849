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


def passes(*command):
    output = run(*command)
    assert "[  PASSED  ]" in output and "[  SKIPPED ]" not in output


def test_core(programs):
    passes(programs / "core_tests")


def test_kernels(programs, tmp_path):
    passes(programs / "kernel_tests", f"--accuracy={tmp_path / 'accuracy.md'}")
    measured, published = worst_errors(tmp_path / "accuracy.md"), worst_errors(ROOT / "docs" / "accuracy.md")
    assert {kernel for kernel, _ in measured} == {kernel for kernel, _ in published}, RENEW
    grown = {at: (published.get(at), units) for at, units in measured.items() if units > published.get(at, -1)}
    assert not grown, f"worst errors, published and now: {grown}; {RENEW}"


RENEW = "to publish these errors: build/cpp/tests/cpp/kernel_tests --accuracy=docs/accuracy.md"


def worst_errors(table):
    """{(kernel, instruction set): units in the last place}; machines measure those that they run."""
    lines = [line for line in table.read_text().splitlines() if line.startswith("|")]
    (_, *targets), _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {
        (kernel, target): float(units)
        for kernel, *errors in rows
        for target, units in zip(targets, errors, strict=True)
        if units
    }
