"""The harness that times dlcore beside other libraries: its cases, what it measures and what it writes."""

import json
import math

import pytest

from benchmarks import limits
from benchmarks.peers import __main__ as command
from benchmarks.peers import inputs, process, report, runner
from benchmarks.peers.adapters import PEERS
from benchmarks.peers.cases import BY_NAME, CASES

LIMITS = {"threads": 1, "fma_gflops": 100.0, "bf16_gflops": 0.0}
for position, level in enumerate(limits.LEVELS):
    LIMITS[f"{level}_bytes"] = 10.0**4 * 10**position
    LIMITS |= {f"{level}_{move}_gbs": 100.0 - 10 * position for move in limits.MOVES}


@pytest.fixture
def made_up(tmp_path, monkeypatch):
    """No measuring of the machine, and files of our own."""
    monkeypatch.setattr(runner, "measure_limits", lambda threads: LIMITS)
    monkeypatch.setattr(runner, "probe", lambda threads: 100.0)
    for module in (command, process):
        monkeypatch.setattr(module, "CACHE", tmp_path / "cache")
    return tmp_path / "results" / "peers.json"


def result(median):
    return {"median": median, "least": median, "samples": 3, "means": [1.0], "first": median}


def document(**times):
    """The results of one case for these peers, in seconds."""
    found = {"peers": {peer: result(seconds) for peer, seconds in times.items()}, "disagree": [], "noise": 0.0}
    about = {"cpu": "a CPU", "cores": 2, "system": "Linux", "python": "3.12", "date": "2026-01-01"}
    return {"machine": about, "peers": {}, "limits": {"2": LIMITS}, "cases": {"matmul/sq1024": {"2": found}}}


def test_cases_are_well_formed():
    assert len(BY_NAME) == len(CASES)
    for case in CASES:
        assert case.group in report.TITLES
        assert case.flops >= 0 and case.bytes >= 0 and case.dtype in ("fp32", "bf16")
        assert (case.items > 0) == bool(case.unit)
        json.dumps(case.params)
    assert set(report.README_CASES) <= set(BY_NAME)
    assert {case.group for case in CASES if case.quick} >= set(report.TITLES) - {"optim"}


def test_the_work_of_known_cases():
    square = BY_NAME["matmul/sq1024"]
    assert (square.flops, square.bytes) == (2 * 1024**3, 3 * 4 * 1024**2)
    assert BY_NAME["ops/add_16M"].bytes == 3 * 4 * 2**24
    assert BY_NAME["attn/causal_fwd_T512"].flops == 2 * 48 * 512 * 512 * 64
    assert inputs.gpt_parameter_count(inputs.GPT["gpt2"]) == 124_439_808  # as OpenAI's smallest model has


def test_the_shortest_time_is_set_by_what_binds():
    assert limits.shortest_time(2e9, 1e3, LIMITS) == (2e9 / 100e9, "FMA")
    assert limits.shortest_time(0, 5e4, LIMITS) == (5e4 / 90e9, "L2")
    assert limits.shortest_time(0, 5e4, LIMITS, touched=1e3) == (5e4 / 100e9, "L1")
    assert limits.shortest_time(0, 1e12, LIMITS) == (1e12 / 50e9, "1G")
    assert limits.shortest_time(2e9, 0, LIMITS, dtype="bf16")[1] == "FMA"
    assert limits.shortest_time(2e9, 0, LIMITS | {"bf16_gflops": 200.0}, dtype="bf16") == (0.01, "bf16")


def test_inputs_are_the_same_every_time():
    p = BY_NAME["matmul/sq64"].params
    first, again = inputs.matmul(p), inputs.matmul(p)
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    batched = inputs.matmul(BY_NAME["matmul/batched_96x64x64x64"].params)
    assert [a.shape for a in batched] == [(96, 64, 64)] * 2


def test_numpy_and_dlcore_side_by_side(made_up, capsys):
    path = made_up
    names = ["matmul/sq64", "ops/softmax_fwd_4096x512", "dispatch/chain10_8"]
    wanted = [f"--case={name}" for name in names] + ["--peer=numpy", "--peer=dlcore"]
    assert command.main([*wanted, "--smoke", "--threads=1", f"--json={path}"]) == 0

    written = json.loads(path.read_text())
    assert set(written["peers"]) == {"numpy", "dlcore"}
    assert list(written["cases"]) == names
    for name in names:
        found = written["cases"][name]["1"]
        assert found["disagree"] == []
        ours, theirs = found["peers"]["dlcore"], found["peers"]["numpy"]
        assert ours["median"] > 0 and theirs["median"] > 0
        assert ours["means"] == pytest.approx(theirs["means"], rel=1e-3)
    assert path.with_suffix(".md").read_text().startswith("# dlcore beside its peers")
    assert "all agree" in capsys.readouterr().out

    before = dict(written["cases"])
    assert (
        command.main(["--case=matmul/sq64", "--peer=numpy", "--smoke", "--threads=1", "--update", f"--json={path}"])
        == 0
    )
    after = json.loads(path.read_text())["cases"]
    assert after["matmul/sq64"]["1"]["peers"]["dlcore"] == before["matmul/sq64"]["1"]["peers"]["dlcore"]
    assert after["dispatch/chain10_8"] == before["dispatch/chain10_8"]


def test_peers_that_are_not_installed_are_named(made_up, monkeypatch, capsys):
    monkeypatch.setattr(command, "installed", lambda peer: False)
    assert command.main(["--case=matmul/sq64", "--peer=jax", "--smoke", "--threads=1", f"--json={made_up}"]) == 0
    assert "not installed: jax" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--smoke"], ["--case=nothing/*"], ["--peer=nobody"], ["--threads=0"]])
def test_arguments_that_make_no_sense(arguments, capsys):
    try:
        status = command.main(arguments)
    except SystemExit as stopped:
        status = stopped.code
    assert status == 2 and capsys.readouterr().err


def test_the_list_of_cases(capsys):
    assert command.main(["--list", "--case=attn/*"]) == 0
    assert capsys.readouterr().out.split() == [case.name for case in CASES if case.group == "attn"]


def test_the_report_has_limit_share_and_ratio():
    text = report.full(document(numpy=0.060, torch=0.045, dlcore=0.030))
    assert "| sq1024 | 2 | 21.5 ms (FMA) | **30 ms** | 72% | torch | 1.50 | 60 ms | 45 ms |" in text
    assert "faster than the best peer in 1 of 1 cases" in text


def test_the_report_without_dlcore_or_without_peers():
    assert "| torch |  | 60 ms | **45 ms** |" in report.full(document(numpy=0.060, torch=0.045))
    assert "No case has both" in report.full(document(dlcore=0.030))


def test_results_that_disagree_are_found():
    results = {peer: {"means": [1.0, 2.0]} for peer in ("numpy", "torch", "jax", "dlcore")}
    results["jax"] = {"means": [1.0, 2.1]}
    results["dlcore"] = {"means": [math.nan, 2.0]}
    results["ort"] = {"means": [1.0]}
    results["raxis"] = {"skip": "too slow"}
    assert runner.disagreeing(results) == ["jax", "dlcore"]


def test_the_table_of_the_readme_stands_between_its_markers(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"above\n{report.BEGIN}\nold\n{report.END}\nbelow\n")
    for seconds in (0.030, 0.090):
        command.write_readme(document(torch=0.045, dlcore=seconds), readme)
    text = readme.read_text()
    assert text.startswith(f"above\n{report.BEGIN}\n| case |") and text.endswith(f"\n{report.END}\nbelow\n")
    assert "old" not in text and "1.50" not in text
    assert "| `matmul/sq1024` | 90 ms | 24% | 45 ms (torch) | 0.50 |" in text


@pytest.mark.parametrize("text", ["", report.BEGIN, f"{report.END}{report.BEGIN}", f"{report.BEGIN * 2}{report.END}"])
def test_a_readme_without_both_markers(text):
    with pytest.raises(ValueError, match="expected one"):
        report.replace_marked(text, "table")


def test_every_peer_has_an_adapter():
    for peer in PEERS.values():
        assert (command.ROOT / "benchmarks" / "peers" / "adapters" / f"{peer.module}.py").exists()
