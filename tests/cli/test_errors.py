"""Bad input to the command line: one line that names the option, status 2, and nothing saved is lost."""

import os
import resource
import shutil
import signal

import numpy as np
import pytest

import dlcore as dl
from dlcore import io
from tests.cli.conftest import SMALL, STEPS, dlcore, full_run, losses, one_line, records, refused, saved_step
from tests.cli.test_resume import stop_at


@pytest.mark.parametrize(
    "options, message",
    [
        ("--width 17", "--width must be a multiple of --heads, got width 17 and 2 heads"),
        ("--layers 0", "--layers must be at least 1, got 0"),
        ("--heads -1", "--heads must be at least 1, got -1"),
        ("--width -16", "--width must be at least 1, got -16"),
        ("--context 0", "--context must be at least 1, got 0"),
        ("--batch 0", "--batch must be at least 1, got 0"),
        ("--steps -5", "--steps must be at least 1, got -5"),
        ("--lr nan", "--lr must be a positive number, got nan"),
        ("--lr inf", "--lr must be a positive number, got inf"),
        ("--lr 0", "--lr must be a positive number, got 0.0"),
        ("--dropout 1.5", "--dropout must be at least 0 and below 1, got 1.5"),
        ("--dropout -0.1", "--dropout must be at least 0 and below 1, got -0.1"),
        ("--dropout nan", "--dropout must be at least 0 and below 1, got nan"),
        ("--seed -1", "--seed must be from 0 to 2^63 - 1, got -1"),
        ("--seed 9223372036854775808", "--seed must be from 0 to 2^63 - 1, got 9223372036854775808"),
        ("--threads 0", "--threads must be from 1 to 1024, got 0"),
        ("--threads 99999999999", "--threads must be from 1 to 1024, got 99999999999"),
        ("--level word", "argument --level: invalid choice: 'word'"),
        ("--layers two", "argument --layers: invalid int value: 'two'"),
        ("--wide 3", "unrecognized arguments: --wide 3"),
    ],
)
def test_impossible_options(tmp_path, corpus, options, message):
    assert message in refused("train", "--data", corpus, *SMALL, *options.split(), "--out", tmp_path / "run")
    assert os.listdir(tmp_path) == []


def bad_data(folder):
    (folder / "empty").write_text("")
    (folder / "short").write_text("0123456789" * 16)
    (folder / "binary").write_bytes(bytes(range(256)) * 100)
    (folder / "latin").write_bytes("für".encode("latin-1") * 1000)
    (folder / "folder").mkdir()
    (folder / "folder" / "binary").write_bytes(bytes(1000))
    return {
        "missing": "--data {}: No such file or directory",
        "empty": "--data: {} has 0 tokens; a context of 16 needs at least 170",
        "short": "--data: {} has 160 tokens; a context of 16 needs at least 170",
        "binary": "--data {} is not UTF-8 text",
        "latin": "--data {} is not UTF-8 text",
        "folder": "--data {}: no UTF-8 text files there",
    }


@pytest.mark.parametrize("name", ["missing", "empty", "short", "binary", "latin", "folder"])
@pytest.mark.parametrize("level", ["byte", "char"])
def test_bad_data(tmp_path, name, level):
    message = bad_data(tmp_path)[name].format(tmp_path / name)
    run = tmp_path / "run"
    assert refused("train", "--data", tmp_path / name, "--level", level, *SMALL, "--out", run).endswith(message)
    assert not run.exists()


def test_just_enough_data(tmp_path):
    (tmp_path / "text").write_text("0123456789" * 17)
    done = dlcore("train", "--data", tmp_path / "text", *SMALL, "--steps", 2, "--out", tmp_path / "run")
    assert done.returncode == 0 and len(losses(tmp_path / "run")) == 2


@pytest.mark.parametrize(
    "out, reason",
    [("file/run", "Not a directory"), ("file", "File exists"), ("/proc/run", "No such file or directory")],
)
def test_a_directory_that_cannot_be_written(tmp_path, corpus, out, reason, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    said = refused("train", "--data", corpus, *SMALL, "--out", out)
    assert said.startswith(f"dlcore train: --out {out}: {reason}")
    assert (tmp_path / "file").read_text() == "mine" and os.listdir(tmp_path) == ["file"]


def test_a_run_is_not_overwritten(corpus, byte_run):
    run, _ = byte_run
    before = (run / "log.jsonl").read_bytes()
    said = refused(*full_run(corpus, "byte", run))
    assert said == f"dlcore train: --out {run} already holds a run; go on with --resume, or choose another directory"
    assert (run / "log.jsonl").read_bytes() == before and saved_step(run) == STEPS


def test_nothing_to_resume(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for name in ("empty", "nothing"):
        said = refused("train", "--resume", "--out", name)
        assert said.startswith(f"dlcore train: --resume: there is no checkpoint in {name}; start without --resume")
    assert os.listdir(tmp_path) == ["empty"]


@pytest.mark.parametrize(
    "option, value, was",
    [
        ("level", "char", "byte"),
        ("layers", 4, 1),  # the defaults of a new run are changes as well
        ("heads", 4, 2),
        ("width", 128, 16),
        ("context", 64, 16),
        ("batch", 8, 4),
        ("steps", 3000, STEPS),
        ("lr", 0.01, 0.03125),
        ("dropout", 0.0, 0.1),
        ("seed", 1, 1337),
    ],
)
def test_options_that_a_resumed_run_cannot_change(byte_run, option, value, was):
    run, _ = byte_run
    before = (run / "log.jsonl").read_bytes()
    said = refused("train", "--resume", "--out", run, f"--{option}", value)
    assert f"--{option} {value} differs from the {was} that the run in {run} began with" in said
    assert (run / "log.jsonl").read_bytes() == before


def test_another_text_cannot_be_resumed_with(tmp_path, corpus, byte_run):
    run, _ = byte_run
    (tmp_path / "other.txt").write_text(corpus.read_text(encoding="utf-8") + "x", encoding="utf-8")
    said = refused("train", "--resume", "--out", run, "--data", tmp_path / "other.txt")
    assert f"--data: {tmp_path / 'other.txt'} is not the text that the run began with" in said


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json"])
@pytest.mark.parametrize("damage", [truncate, flip, os.unlink, lambda path: path.write_bytes(b"")])
def test_a_damaged_checkpoint(tmp_path, char_run, name, damage):
    run = shutil.copytree(char_run[0], tmp_path / "run")
    damage(run / "checkpoint" / name)
    left = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    for arguments in (["train", "--resume", "--out", run], ["generate", run]):
        said = refused(*arguments)
        if (name, damage) == ("state.json", os.unlink):
            assert f"there is no checkpoint in {run}" in said
        else:
            assert f"{run / 'checkpoint' / name}: " in said
        assert ("--resume" in said) == (arguments[0] == "train")
    assert left == {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}


def test_a_checkpoint_of_something_else(tmp_path):
    io.save_checkpoint(tmp_path / "checkpoint", model={"w": dl.ones((2,))}, extra={"step": 1})
    for arguments in (["train", "--resume", "--out", tmp_path], ["generate", tmp_path]):
        assert f"{tmp_path / 'checkpoint'} is not a checkpoint of dlcore train" in refused(*arguments)


def limited(number):
    """For files of at most so many bytes: a write beyond fails as on a full disk."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (number, number))


def test_a_full_disk_at_the_start(tmp_path, corpus):
    run = tmp_path / "run"
    done = dlcore(*full_run(corpus, "byte", run), preexec_fn=limited(20_000))
    assert one_line(done.returncode, done.stdout, done.stderr) == f"dlcore train: --out {run}: File too large"
    assert dlcore(*full_run(corpus, "byte", run)).returncode == 0  # with room again


def stopped_by_a_full_disk(run, arguments, number):
    """The step of the checkpoint that is left, from which the run can go on."""
    done = dlcore(*arguments, preexec_fn=limited(number))
    said = one_line(done.returncode, "", done.stderr)
    assert said == f"dlcore train: --out {run}: File too large; the last checkpoint is whole: go on with --resume"
    assert sorted(os.listdir(run)) == ["checkpoint", "log.jsonl"]
    step = saved_step(run)
    done = dlcore("train", "--resume", "--out", run)
    assert done.returncode == 0 and f"resuming at step {step} of" in done.stdout
    return step


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path, corpus, byte_run):
    """The first checkpoint has no moments of the optimiser yet; they are too many for the second."""
    run = tmp_path / "run"
    assert stopped_by_a_full_disk(run, full_run(corpus, "byte", run), 50_000) == 0
    assert losses(run) == losses(byte_run[0])


def test_a_full_disk_for_the_log(tmp_path, corpus, byte_run):
    run, log = tmp_path / "run", tmp_path / "run" / "log.jsonl"
    stop_at(signal.SIGINT, run, full_run(corpus, "byte", run), 5, 0)
    step = saved_step(run)
    log.write_text(log.read_text().replace('{"step": 1,', f'{{"note": "{"x" * 100_000}", "step": 1,'))
    limit = log.stat().st_size + 400  # room for a few lines
    assert stopped_by_a_full_disk(run, ["train", "--resume", "--out", run], limit) in range(step, step + 10)
    assert losses(run) == losses(byte_run[0])


def test_a_loss_that_is_not_finite_is_neither_logged_nor_saved(tmp_path, corpus):
    run = tmp_path / "run"
    done = dlcore("train", "--data", corpus, *SMALL, "--steps", 50, "--lr", 1e30, "--out", run)
    said = one_line(done.returncode, "", done.stderr)
    assert said.startswith("dlcore train: --lr 1e+30 is too high: at step ")
    assert all(np.isfinite(r["loss"]) and np.isfinite(r.get("val_loss", 0)) for r in records(run))
    assert all(np.isfinite(t.numpy()).all() for t in io.load_checkpoint(run / "checkpoint").model.values())


def test_output_that_cannot_be_written(corpus, byte_run):
    with open("/dev/full", "w") as full:
        done = dlcore("generate", byte_run[0], capture_output=False, stdout=full, stderr=-1)
    assert done.returncode == 2 and done.stderr == "dlcore generate: [Errno 28] No space left on device\n"


def test_no_command():
    done = dlcore()
    assert "the following arguments are required: COMMAND" in one_line(done.returncode, done.stdout, done.stderr)
    assert "invalid choice: 'learn'" in refused("learn")
