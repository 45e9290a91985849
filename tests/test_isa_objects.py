"""Objects compiled for an instruction set must not leak its code to CPUs that lack it.

A weak symbol (an inline function or template with external linkage) is shared by all objects that hold it: the linker
keeps one, perhaps the AVX-512 one, for every CPU. And what runs while the library is loaded runs on every CPU.
"""

import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.test_cpp import BUILD, programs  # noqa: F401 (a fixture)

ROOT = Path(__file__).resolve().parents[1]
COMPILER = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
CMAKE = (ROOT / "cmake" / "targets.cmake").read_text()
EXTENSIONS = re.search(r"set\(DLCORE_EXTENSIONS ([^)]*)\)", CMAKE)[1].split()  # compiled from files of their name
TARGETS = ("baseline", "avx2", "avx512", *EXTENSIONS)


def sources_of(target):
    files = sorted((ROOT / "cpp" / "kernels").glob("*/*.cpp"))
    if target in EXTENSIONS:
        return [p for p in files if p.stem == target]
    return [p for p in files if p.stem not in ("reference", *EXTENSIONS)]


def flags_of(target):
    """What cmake/targets.cmake compiles this target with."""
    words = re.search(rf"set\(DLCORE_FLAGS_{target} ([^)]*)\)", CMAKE).group(1).replace('"', "").split()
    other = re.compile(r"\$\{DLCORE_FLAGS_(\w+)\}")
    return [flag for w in words for flag in (flags_of(other.match(w)[1]) if other.match(w) else [w])]


def weak_symbols(source, target, directory):
    """Weak functions and variables of a source compiled without inlining. DW.ref.* is a pointer to the C++ runtime."""
    out = directory / f"{source.parent.name}-{source.stem}-{target}.o"
    command = [COMPILER, "-std=c++17", "-O0", "-fPIC", f"-I{ROOT / 'cpp'}", f"-DDL_TARGET={target}", *flags_of(target)]
    done = subprocess.run([*command, "-c", source, "-o", out], text=True, capture_output=True)
    assert done.returncode == 0, done.stderr[-2000:]
    names = subprocess.run(["nm", "-C", out], text=True, capture_output=True, check=True).stdout
    out.unlink()
    return re.findall(r"^[0-9a-f]+ [WVu] (?!DW\.ref\.)(.*)$", names, re.MULTILINE)


@pytest.mark.parametrize("target", TARGETS)
def test_no_weak_symbols(target, tmp_path):
    sources = sources_of(target)
    assert sources and COMPILER, "no kernel sources or no compiler (CXX, g++, clang++)"
    if target != "baseline" and os.uname().machine not in ("x86_64", "AMD64"):
        assert not (BUILD / "CMakeFiles" / f"dlcore_{target}.dir").exists()
        return
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(lambda s: weak_symbols(s, target, tmp_path), sources))
    leaks = {str(s.relative_to(ROOT)): names[:5] for s, names in zip(sources, found, strict=True) if names}
    assert not leaks, f"weak symbols in objects for {target}: {leaks}"


def functions(listing):
    """Name and instructions of every function in a disassembly."""
    for block in re.split(r"\n\n(?=[0-9a-f]+ <)", listing):
        head = re.match(r"\s*[0-9a-f]+ <(.*)>:", block)
        if head:
            yield head.group(1), re.findall(r"^\s*[0-9a-f]+:\t(\w+)", block, re.MULTILINE)


@pytest.mark.parametrize("target", TARGETS[1:])
def test_loading_runs_on_every_cpu(programs, target):  # noqa: F811
    """Static initialisers and the registration they call use no instruction of the target: VEX, EVEX or BMI."""
    directory = BUILD / "CMakeFiles" / f"dlcore_{target}.dir"
    if os.uname().machine not in ("x86_64", "AMD64"):
        assert not directory.exists()
        return
    objects = [directory / f"{source.relative_to(ROOT)}.o" for source in sources_of(target)]
    beyond = re.compile(r"v[a-z]|(shlx|shrx|sarx|rorx|mulx|andn|bzhi|pext|pdep|bextr|bls|tzcnt|lzcnt)")
    checked = 0
    for path in objects:
        listing = subprocess.run(
            ["objdump", "-dC", "--no-show-raw-insn", path], text=True, capture_output=True, check=True
        ).stdout
        for name, instructions in functions(listing):
            if "_GLOBAL__sub_I" in name or "register" in name:
                checked += 1
                bad = [i for i in instructions if beyond.match(i)]
                assert not bad, f"{path.name}: {name} uses {bad[:5]}"
    assert checked >= len(objects)
