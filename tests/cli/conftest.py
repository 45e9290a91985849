"""The command line as a user has it: a process, its exit status and what it prints."""

import contextlib
import json
import os
import random
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest

from dlcore import io
from dlcore.cli import main

SMALL = "--layers 1 --heads 2 --width 16 --context 16 --batch 4".split()
STEPS = 200
WORDS = "the quick brown fox jumps over a lazy dog — and naïve words that repeat".split()


def text(lines=300, seed=0):
    rng = random.Random(seed)
    return "".join(" ".join(rng.choices(WORDS, k=8)) + "\n" for _ in range(lines))


def command(*arguments):
    return [sys.executable, "-m", "dlcore", *map(str, arguments)]


def environment():
    """The dlcore that is being tested, from any working directory."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(os.path.abspath(p) for p in sys.path)}


def dlcore(*arguments, **how):
    """Runs a command to its end; its output as text."""
    how = {"capture_output": True, "encoding": "utf-8", "timeout": 120, "env": environment(), **how}
    return subprocess.run(command(*arguments), **how)


def one_line(status, out, err):
    """The line of a command that must fail: status 2, and nothing else printed."""
    assert status == 2 and out == "", (status, out, err)
    if err.startswith("usage:"):  # argparse shows it before its line
        err = err.splitlines(keepends=True)[-1]
    assert err.endswith("\n") and err.count("\n") == 1 and "Traceback" not in err, err
    return err[:-1]


def refused(*arguments):
    """What a command that must fail says: one line. In this process, for there are many ways to be wrong."""
    out, err = StringIO(), StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main([str(a) for a in arguments])
        except SystemExit as e:  # argparse
            status = e.code
    return one_line(status, out.getvalue(), err.getvalue())


def records(run):
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def losses(run):
    """Training and validation losses by step; every step once and in order."""
    log = records(run)
    assert [r["step"] for r in log] == list(range(1, len(log) + 1))
    return [(r["loss"], r.get("val_loss")) for r in log]


def saved_step(run):
    return io.load_checkpoint(run / "checkpoint").extra["step"]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "text.txt"
    path.write_text(text(), encoding="utf-8")
    return path


def full_run(corpus, level, run):
    """The arguments of the run that tests compare with: with dropout, so that the random state counts."""
    return ["train", "--data", corpus, "--level", level, *SMALL, "--steps", STEPS, "--dropout", 0.1, "--out", run]


def _finished(tmp_path_factory, corpus, level):
    run = tmp_path_factory.mktemp(level) / "run"
    done = dlcore(*full_run(corpus, level, run))
    assert done.returncode == 0, done.stderr
    return run, done.stdout


@pytest.fixture(scope="session")
def byte_run(tmp_path_factory, corpus):
    """A run that nothing interrupted, and what it printed."""
    return _finished(tmp_path_factory, corpus, "byte")


@pytest.fixture(scope="session")
def char_run(tmp_path_factory, corpus):
    return _finished(tmp_path_factory, corpus, "char")
