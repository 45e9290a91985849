"""The emulator itself: planted faults are reported, right kernels are not, in every order of threads."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMPILER = os.environ.get("CXX") or shutil.which("g++")
CHECKS = "-O1 -g1 -fsanitize=thread,alignment,bounds,shift".split()

# What both builds find, and what takes the checked one; each with a part of the report.
ALWAYS = {
    "divergent_barrier": "divergent barrier",
    "deadlock": "deadlock",
    "lane_that_is_not_there": "not in the mask",
    "lane_not_in_its_mask": "not in the mask",
    "lane_that_has_ended": "have ended",
    "misaligned_copy": "misaligned",
    "too_much_shared_memory": "60000 bytes of dynamic shared memory",
    "too_many_threads": "invalid configuration",
    "no_threads": "invalid configuration",
    "no_blocks": "invalid configuration",
}
CHECKED = {
    "missing_sync": "shared",  # a race, or a read before the write, as the order has it
    "missing_sync_in_a_loop": "shared race",
    "missing_syncwarp": "shared",
    "shared_out_of_bounds": "shared write out of bounds",
    "shared_unset": "read of unset shared memory",
    "global_out_of_bounds": "global write out of bounds",
    "global_before_the_start": "global read out of bounds",
    "global_unset": "read of unset global memory",
    "race_of_blocks": "global race",
    "race_of_blocks_by_reading": "global",
    "race_in_global_memory_within_a_block": "global",
    "misaligned": "misaligned",
    "copy_without_wait": "read of unset shared memory",
    "copy_without_sync": "shared",
    "local_array_out_of_bounds": "out of bounds",
    "host_memory": "read of host memory",
}
RIGHT = {"right", "right_in_a_warp", "right_sums", "right_copy"}


@pytest.fixture(scope="module", params=["fast", "checked"])
def planted(request, tmp_path_factory):
    """(whether it checks accesses, the program)"""
    assert COMPILER, "no compiler (CXX or g++)"
    folder = tmp_path_factory.mktemp(request.param)
    checked = request.param == "checked"
    common = ["-std=c++17", "-fPIC", "-DDL_CUDA_EMULATED", "-DDL_TARGET=cuda"]
    common += [f"-I{ROOT / p}" for p in ("cuda/host/include", "cpp", ".")]
    sources = [p for p in sorted((ROOT / "cuda" / "host").glob("*.cpp")) if checked or p.name != "checks.cpp"]
    kernels = folder / "planted.o"
    flags = [*common, *(CHECKS if checked else ["-O2"]), "-Wno-unknown-pragmas"]
    for command in (
        [COMPILER, *flags, "-x", "c++", "-c", Path(__file__).with_name("planted.cu"), "-o", kernels],
        [COMPILER, *common, "-O2", *sources, kernels, "-o", folder / "planted", "-ldl", "-lpthread"],
    ):
        done = subprocess.run(command, text=True, capture_output=True)
        assert done.returncode == 0, done.stderr[-3000:]
    return checked, folder / "planted"


@pytest.mark.parametrize("order", ["forward", "reverse", "random:1", "random:2"])
def test_faults(planted, order):
    checked, program = planted
    done = subprocess.run(
        [program, *(["all"] if checked else [])],
        env={**os.environ, "DLCORE_EMULATOR_ORDER": order},
        text=True,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    reports = [line.split(": ", 1) for line in done.stdout.splitlines()]
    assert {name for name, _ in reports} == RIGHT | ALWAYS.keys() | (CHECKED.keys() if checked else set())
    for name, text in reports:
        if name in RIGHT:
            assert text == "no error", f"{name}: {text}"
        elif name in ALWAYS or checked:
            assert text != "no error" and (ALWAYS | CHECKED)[name] in text, f"{name}: {text}"
        if checked and name in CHECKED and name != "host_memory":
            assert "planted.cu:" in text or "a warp operation" in text, f"{name}: no place in {text}"
