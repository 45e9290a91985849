"""Every ladder at tiny sizes: its rungs agree with the first, and all are printed. No time counts."""

import re
import subprocess

import pytest

from benchmarks.ladder import __main__ as ladder

SIZES = {  # ragged where the ladder allows it
    "adam": [1003],
    "attention": [2, 83, 19],
    "conv": [2, 3, 9, 17],
    "matmul": [288],
    "norm": [5, 37],
    "softmax": [5, 37],
}


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """All of them, compiled fast rather than to be fast. Without a compiler this fails with the compiler's name."""
    return ladder.build(ladder.NAMES, tmp_path_factory.mktemp("ladder"), ["-O0", "-DDL_FEW_TILES"])


def climb(program, *arguments):
    return subprocess.run([program, *map(str, arguments)], text=True, capture_output=True)


@pytest.mark.parametrize("name", ladder.NAMES)
def test_rungs_agree(programs, name):
    done = climb(programs[name], 1, *SIZES[name])
    assert done.returncode == 0, done.stderr
    rungs = re.findall(r"^(\d+) (.*?)  +[\d.]+ ms +[\d.]+% of the limit", done.stdout, re.MULTILINE)
    described = re.findall(r"^// (\d+)\. ", (ladder.ROOT / "benchmarks" / "ladder" / f"{name}.cpp").read_text(), re.M)
    assert [int(number) for number, _ in rungs] == list(range(1, len(described) + 2))  # the last on all cores
    assert rungs[-2][1].startswith("shipped") and rungs[-1][1] == "shipped, all cores"


@pytest.mark.parametrize("arguments", [[0], [1, 0], [1, 2, 3, 4, 5, 6]])
def test_sizes_that_make_no_sense(programs, arguments):
    done = climb(programs["conv"], *arguments)
    assert done.returncode == 2 and "expected, all positive: rounds [images" in done.stderr


def test_a_wrong_rung_fails(tmp_path, monkeypatch):
    source = (ladder.ROOT / "benchmarks" / "ladder" / "adam.cpp").read_text()
    wrong = source.replace("dl::stream(w + i, ", "dl::stream(w + i, dl::broadcast(1e-3f) + ")
    assert wrong != source
    (tmp_path / "benchmarks" / "ladder").mkdir(parents=True)
    (tmp_path / "benchmarks" / "ladder" / "adam.cpp").write_text(wrong)
    (tmp_path / "benchmarks" / "ladder" / "ladder.h").symlink_to(ladder.ROOT / "benchmarks" / "ladder" / "ladder.h")
    (tmp_path / "cpp").symlink_to(ladder.ROOT / "cpp")
    monkeypatch.setattr(ladder, "ROOT", tmp_path)
    done = climb(ladder.build(["adam"], tmp_path, ["-O0"])["adam"], 1, 1003)
    assert done.returncode == 1 and "written past the caches: wrong result" in done.stderr
    assert "limit" not in done.stdout
