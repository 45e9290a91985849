"""A run that is killed, or interrupted, and goes on has the losses of one that was not, bit for bit."""

import os
import random
import re
import signal
import subprocess
import time

import pytest

from tests.cli.conftest import STEPS, command, dlcore, environment, full_run, losses, saved_step


def stop_at(signum, run, arguments, lines, delay):
    """Starts a command and sends it a signal when its log has so many lines, and a moment later."""
    child = subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", env=environment()
    )
    log = run / "log.jsonl"
    while child.poll() is None and not (log.exists() and log.read_bytes().count(b"\n") >= lines):
        time.sleep(0.001)
    time.sleep(delay)
    child.send_signal(signum)
    out, err = child.communicate(timeout=60)
    return child.returncode, out, err


@pytest.mark.parametrize("level, seed", [("byte", 0), ("char", 1), ("byte", 2)])
def test_kill_9_at_a_random_moment(tmp_path, corpus, level, seed, request):
    whole, _ = request.getfixturevalue(f"{level}_run")
    run, rng = tmp_path / "run", random.Random(seed)
    arguments, at = full_run(corpus, level, run), 0
    for _ in range(3):
        at = rng.randint(at + 1, at + STEPS // 6)
        status, _, err = stop_at(signal.SIGKILL, run, arguments, at, rng.uniform(0, 0.02))
        assert (status, err) == (-signal.SIGKILL, "")
        at = saved_step(run)
        arguments = ["train", "--resume", "--out", run]
    done = dlcore(*arguments)
    assert (done.returncode, done.stderr) == (0, "") and f"resuming at step {at} of {STEPS}" in done.stdout
    assert losses(run) == losses(whole)
    for name in ("model.safetensors", "optimizer.safetensors"):
        assert (run / "checkpoint" / name).read_bytes() == (whole / "checkpoint" / name).read_bytes()
    assert (run / "sample.txt").read_bytes() == (whole / "sample.txt").read_bytes()
    assert sorted(os.listdir(run)) == sorted(os.listdir(whole))


def test_ctrl_c_finishes_the_step_and_saves(tmp_path, corpus, byte_run):
    run = tmp_path / "run"
    arguments = full_run(corpus, "byte", run)
    for at in (1, STEPS // 3, STEPS // 2):
        status, out, err = stop_at(signal.SIGINT, run, arguments, at, 0.003)
        assert (status, err) == (130, "")
        step = int(re.search(rf"interrupted at step (\d+) of {STEPS}; everything is saved. Go on with", out).group(1))
        assert at <= step == saved_step(run) == len(losses(run))
        arguments = f"train --resume --out {run}".split()
        assert "dlcore " + " ".join(arguments) in out
    done = dlcore(*arguments)
    assert done.returncode == 0 and losses(run) == losses(byte_run[0])


def test_ctrl_c_before_there_is_anything_to_save(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    child = subprocess.Popen(
        command("train", "--data", pipe, "--out", tmp_path / "run"),
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    with open(pipe, "w"):  # opens when the child reads
        child.send_signal(signal.SIGINT)
        err = child.communicate(timeout=60)[1]
    assert (child.returncode, err) == (130, "\ndlcore train: interrupted\n")
    assert os.listdir(tmp_path) == ["pipe"]


def test_a_line_that_a_kill_cut_short_is_dropped(tmp_path, corpus, byte_run):
    run = tmp_path / "run"
    stop_at(signal.SIGINT, run, full_run(corpus, "byte", run), 10, 0)
    step = saved_step(run)
    with open(run / "log.jsonl", "a") as log:
        log.write(f'{{"step": {step + 1}, "loss": 9.0}}\n{{"step": {step + 2}, "lo')
    assert dlcore("train", "--resume", "--out", run).returncode == 0
    assert losses(run) == losses(byte_run[0])


def test_a_finished_run_has_nothing_left_to_do(corpus, byte_run):
    run, _ = byte_run
    before = losses(run), (run / "sample.txt").read_bytes(), (run / "checkpoint" / "state.json").read_bytes()
    done = dlcore("train", "--resume", "--out", run)
    assert done.returncode == 0 and f"resuming at step {STEPS} of {STEPS}" in done.stdout
    assert before == (losses(run), (run / "sample.txt").read_bytes(), (run / "checkpoint" / "state.json").read_bytes())


def test_where_and_on_how_many_threads_may_change(tmp_path, corpus, byte_run):
    """The run's directory moves, the text as well, and the options are said again as they were."""
    run, moved = tmp_path / "run", tmp_path / "moved"
    stop_at(signal.SIGKILL, run, full_run(corpus, "byte", run), STEPS // 3, 0)
    run.rename(moved)
    (tmp_path / "copy.txt").write_bytes(corpus.read_bytes())
    done = dlcore(*full_run(tmp_path / "copy.txt", "byte", moved), "--resume", "--threads", 1)
    assert (done.returncode, done.stderr) == (0, "")
    assert losses(moved) == losses(byte_run[0])
