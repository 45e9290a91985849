"""``dlcore train``: what a run leaves behind, what it shows, and what decides its losses."""

import argparse
import fcntl
import math
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from dlcore.cli import train as train_command
from dlcore.cli.report import Progress, plot_losses
from dlcore.cli.trainer import Trainer, learning_rate
from tests.cli.conftest import SMALL, STEPS, WORDS, command, dlcore, environment, losses, records, saved_step


@pytest.mark.parametrize("level", ["byte", "char"])
def test_a_run_leaves_log_curve_sample_and_checkpoint(level, request):
    run, printed = request.getfixturevalue(f"{level}_run")
    log = records(run)
    assert [r["step"] for r in log] == list(range(1, STEPS + 1))
    assert all({"step", "loss", "tokens_per_second"} <= set(r) for r in log)
    assert [r["step"] for r in log if "val_loss" in r] == list(range(STEPS // 10, STEPS + 1, STEPS // 10))
    vocabulary = 256 if level == "byte" else len(set("".join(WORDS)) | set(" \n"))
    assert abs(log[0]["loss"] - math.log(vocabulary)) < 0.1  # fresh weights: all tokens alike
    assert log[-1]["loss"] < log[0]["loss"] - 0.5 and log[-1]["val_loss"] < log[0]["loss"] - 0.5
    assert saved_step(run) == STEPS
    assert (run / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert (run / "sample.txt").read_text(encoding="utf-8")
    assert sorted(p.name for p in run.iterdir()) == ["checkpoint", "log.jsonl", "loss.png", "sample.txt"]
    assert re.search(rf"step {STEPS}/{STEPS}  loss \d\.\d+, [\d,]+ tokens/s, \d+% of peak, 0:00 left", printed)
    assert f"final validation loss {log[-1]['val_loss']:.4f}" in printed
    assert len(re.findall(r"\.\d{4}\n    ", printed)) == 4  # samples after validation losses


def options_of(*arguments):
    parser = argparse.ArgumentParser()
    train_command.add_arguments(parser)
    return parser.parse_args([str(a) for a in arguments])


def test_steps_draw_their_windows_independently(corpus, tmp_path):
    trainer = Trainer(options_of("--data", corpus, *SMALL, "--batch", 64, "--out", tmp_path))
    steps = [{tuple(row) for row in trainer.batch(step)[0].tolist()} for step in range(30)]
    # 64 of 10,000 places: 0.4 in common by chance. Streams that overlap have dozens in common.
    assert sum(len(a & b) for a, b in zip(steps, steps[1:], strict=False)) < 60
    assert all(len(rows) > 55 for rows in steps)
    x, y = trainer.batch(3)
    assert (x[:, 1:].numpy() == y[:, :-1].numpy()).all()
    assert {tuple(row) for row in trainer.batch(3)[0].tolist()} == steps[3]


def test_the_learning_rate_warms_up_and_decays():
    rates = [learning_rate(step, 2000, 1e-3) for step in range(2000)]
    assert rates[0] == 1e-5 and rates[99] == rates[100] == max(rates) == 1e-3
    assert rates[100:] == sorted(rates[100:], reverse=True) and abs(rates[-1] - 1e-4) < 1e-8
    assert learning_rate(0, 1, 1.0) == 1.0  # a single step


def train(corpus, run, *options, **how):
    done = dlcore("train", "--data", corpus, *SMALL, "--steps", 20, "--out", run, *options, **how)
    assert done.returncode == 0, done.stderr
    return losses(Path(how.get("cwd", "."), run))


def test_losses_depend_on_the_seed_and_not_on_threads(tmp_path, corpus):
    expected = train(corpus, tmp_path / "1", "--dropout", 0.1, "--threads", 1)
    for threads in (2, 5):
        assert train(corpus, tmp_path / str(threads), "--dropout", 0.1, "--threads", threads) == expected
    assert train(corpus, tmp_path / "seed", "--dropout", 0.1, "--seed", 1) != expected


def test_a_directory_is_read_in_order_of_name(tmp_path, corpus):
    """Twice, the second time from where the first has written: a run does not read what runs write to --out."""
    text = corpus.read_bytes()
    half = text.index(b"\n", len(text) // 2)
    folder = tmp_path / "texts"
    (folder / "b" / "tests").mkdir(parents=True)
    (folder / "a.txt").write_bytes(text[:half])
    (folder / "b" / "tests" / "rest").write_bytes(text[half + 1 :])
    (folder / "b" / "binary").write_bytes(b"\xff\xfe\x00")
    (folder / "b" / ".hidden").write_text("hidden")
    (folder / "b" / "nowhere").symlink_to(tmp_path / "nothing")
    os.mkfifo(folder / "b" / "pipe")
    expected = train(corpus, tmp_path / "file")
    assert train(".", "runs/gpt", cwd=folder) == expected
    resumed = dlcore("train", "--resume", "--out", folder / "runs" / "gpt")
    assert (resumed.returncode, resumed.stderr) == (0, "")
    assert losses(folder / "runs" / "gpt") == expected


def test_the_standard_library_is_the_default(tmp_path):
    done = dlcore("train", *SMALL, "--steps", 2, "--out", tmp_path / "run")
    assert (done.returncode, done.stderr) == (0, "")
    files, tokens = re.search(r"standard library \((\d+) files\), ([\d,]+) tokens", done.stdout).groups()
    assert int(files) > 300 and int(tokens.replace(",", "")) > 5_000_000
    peak, tensors = re.search(
        r"memory: ([\d,]+) MiB at the peak of a step, ([\d,]+) of them in tensors", done.stdout
    ).groups()
    assert 10 < int(peak) < 1000 and int(tensors) < int(peak)


def test_an_output_that_lacks_characters(tmp_path, corpus):
    assert len(train(corpus, tmp_path / "run", env={**environment(), "PYTHONIOENCODING": "ascii"})) == 20


def test_an_untrained_model_does_not_control_the_terminal(tmp_path, corpus):
    done = dlcore("train", "--data", corpus, *SMALL, "--steps", 10, "--lr", 1e-9, "--out", tmp_path / "run")
    assert done.returncode == 0 and all(c.isprintable() or c in "\n\t" for c in done.stdout)
    assert not (tmp_path / "run" / "sample.txt").read_text(encoding="utf-8").replace("\n", "").isprintable()


def in_terminal(*arguments):
    """Runs a command whose stderr is a terminal; returns (status, stdout, stderr)."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 160, 0, 0))
    child = subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, stderr=theirs, env=environment())
    os.close(theirs)
    shown = b""
    while True:
        try:
            shown += os.read(ours, 1 << 16)
        except OSError:  # the other side is closed
            break
    os.close(ours)
    out = child.stdout.read().decode()
    return child.wait(), out, shown.decode(errors="replace")


def test_a_terminal_shows_a_bar(tmp_path, corpus):
    status, out, shown = in_terminal("train", "--data", corpus, *SMALL, "--steps", 300, "--out", tmp_path / "run")
    assert status == 0 and "step 300: validation loss" in out
    assert re.search(
        r"\d+%.*\d+/300 \[\d\d:\d\d<\d\d:\d\d, .*step/s, loss \d\.\d{3}, [\d,]+ tokens/s, \d+% of peak", shown
    )


def test_without_tqdm_there_are_lines(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    progress = Progress(5, 10)
    progress.update(10, "loss 1.000")
    progress.close()
    assert capsys.readouterr().out == "step 10/10  loss 1.000, 0:00 left\n"


def test_without_matplotlib_there_is_no_curve(monkeypatch, tmp_path, byte_run):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert not plot_losses(byte_run[0] / "log.jsonl", tmp_path / "loss.png") and not os.listdir(tmp_path)
