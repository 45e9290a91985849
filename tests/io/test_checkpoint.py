"""Checkpoints: what goes in comes out, and a crash at any moment leaves a whole one."""

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import dlcore as dl
from dlcore import io
from dlcore.io import checkpoint as checkpoint_module


def save(directory, step, **more):
    x = dl.full((500,), float(step))
    io.save_checkpoint(directory, model={"w": x}, optimizer={"state": {0: {"m": x}}}, extra={"step": step}, **more)


def whole_step(directory):
    """The step of a checkpoint after checking that all its parts are of that step."""
    c = io.load_checkpoint(directory)
    step = c.extra["step"]
    assert (c.model["w"].numpy() == step).all() and (c.optimizer["state"][0]["m"].numpy() == step).all()
    return step


def test_states_come_back_as_they_were(tmp_path):
    state = {
        "param_groups": [{"lr": 0.1, "betas": (0.9, 0.999), "params": [0, 1]}],
        "state": {0: {"m": dl.arange(3), "step": 7}, 1: {}},
        "$tensor": None,
        "nothing": [None, True, -(2**70), float("inf"), 0.1 + 0.2, "é"],
    }
    path = tmp_path / "run" / "checkpoint"
    model = {"w": dl.ones((2,)).bfloat16()}
    more = {"scheduler": {"last": 3}, "generator": (1, 2**64 - 1), "data": {"at": 5}}
    io.save_checkpoint(path, model=model, optimizer=state, **more)
    c = io.load_checkpoint(path)
    moment = c.optimizer["state"][0].pop("m")
    assert moment.tolist() == [0, 1, 2] and moment.dtype is dl.int64
    state["state"][0].pop("m")
    assert c.optimizer == state
    assert c.scheduler == {"last": 3} and c.generator == (1, 2**64 - 1) and c.data == {"at": 5} and c.extra == {}
    assert c.model["w"].dtype is dl.bfloat16 and c.model["w"].tolist() == [1.0, 1.0]
    assert sorted(os.listdir(path)) == ["model.safetensors", "optimizer.safetensors", "state.json"]
    assert os.listdir(tmp_path / "run") == ["checkpoint"]


def test_tensors_whose_paths_are_spelled_alike_stay_apart(tmp_path):
    a, b, c = (dl.full((1,), float(i)) for i in range(3))
    io.save_checkpoint(tmp_path / "c", optimizer={"x.y": a, "x": {"y": b}, 0: c, "0": a})
    back = io.load_checkpoint(tmp_path / "c").optimizer
    assert (back["x.y"].item(), back["x"]["y"].item(), back[0].item(), back["0"].item()) == (0.0, 1.0, 2.0, 0.0)


def test_shared_parameters_are_stored_once(tmp_path):
    w = dl.ones((1000,))
    io.save_checkpoint(tmp_path / "c", model={"a": w, "b": w})
    assert list(io.load_checkpoint(tmp_path / "c").model) == ["a"]


class Holder:
    def __init__(self, value=None):
        self.value = value

    def state_dict(self):
        return {"value": self.value}

    def load_state_dict(self, state):
        self.value = state["value"]


class Random:
    state = 0

    def get_state(self):
        return self.state

    def set_state(self, state):
        self.state = state


def test_restore_fills_the_objects(tmp_path):
    generator = Random()
    generator.state = 11
    io.save_checkpoint(tmp_path / "c", optimizer=Holder(1), scheduler=Holder(2), data=Holder(3), generator=generator)
    optimizer, scheduler, data, fresh = Holder(), Holder(), Holder(), Random()
    io.load_checkpoint(tmp_path / "c").restore(optimizer=optimizer, scheduler=scheduler, data=data, generator=fresh)
    assert (optimizer.value, scheduler.value, data.value, fresh.state) == (1, 2, 3, 11)
    io.load_checkpoint(tmp_path / "c", optimizer=data, data=optimizer)
    assert (data.value, optimizer.value) == (1, 3)


def test_the_default_generator_continues(tmp_path):
    io.save_checkpoint(tmp_path / "c", generator=dl.default_generator)
    expected = dl.rand(3).tolist()
    dl.manual_seed(0)
    io.load_checkpoint(tmp_path / "c", generator=dl.default_generator)
    assert dl.rand(3).tolist() == expected


def test_reading_only_what_was_said(tmp_path):
    extra = {"config": {"layers": 2, "shape": (1, 2)}, "step": 3}
    io.save_checkpoint(tmp_path / "c", optimizer={"m": dl.ones((2,))}, extra=extra)
    assert io.read_checkpoint_state(tmp_path / "c") == {"extra": extra}
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        io.read_checkpoint_state(tmp_path / "d")
    with pytest.raises(TypeError, match=r"\[save_checkpoint\] extra holds a tensor"):
        io.save_checkpoint(tmp_path / "c", extra={"w": dl.ones((2,))})


def test_restore_of_what_is_not_there(tmp_path):
    save(tmp_path / "c", 1)
    with pytest.raises(ValueError, match="holds no state of the scheduler"):
        io.load_checkpoint(tmp_path / "c").restore(scheduler=Holder())
    with pytest.raises(TypeError, match="a checkpoint has no part 'optimiser'"):
        io.load_checkpoint(tmp_path / "c", optimiser=Holder())


def test_values_that_cannot_be_saved(tmp_path):
    with pytest.raises(TypeError, match=r"extra.a.1 is a ndarray; a checkpoint holds"):
        io.save_checkpoint(tmp_path / "c", extra={"a": [1, np.zeros(3)]})
    assert os.listdir(tmp_path) == []


def test_a_directory_that_is_not_a_checkpoint_is_left_alone(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("precious")
    with pytest.raises(ValueError, match="is not a checkpoint and not empty: refusing to replace it"):
        save(tmp_path / "home", 1)
    (tmp_path / "file").write_text("precious")
    with pytest.raises(ValueError, match="is a file, expected a directory or nothing"):
        save(tmp_path / "file", 1)
    assert (tmp_path / "home" / "thesis.tex").read_text() == (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize("has_exchange", [True, False])
def test_files_of_others_in_a_checkpoint_are_kept(tmp_path, monkeypatch, has_exchange):
    if not has_exchange:
        monkeypatch.setattr(checkpoint_module, "exchange", lambda a, b: False)
    save(tmp_path / "c", 1)
    (tmp_path / "c" / "notes.txt").write_text("mine")
    for step in (2, 3):
        save(tmp_path / "c", step)
        assert whole_step(tmp_path / "c") == step
        assert (tmp_path / "c" / "notes.txt").read_text() == "mine"
    assert os.listdir(tmp_path) == ["c"]


def test_no_checkpoint(tmp_path):
    for path in (tmp_path, tmp_path / "none", tmp_path / "none" / "deeper"):
        with pytest.raises(FileNotFoundError, match=r"\[load_checkpoint\] no checkpoint at"):
            io.load_checkpoint(path)


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors"])
@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing"])
def test_damage_is_found(tmp_path, name, damage):
    save(tmp_path / "c", 1)
    path = tmp_path / "c" / name
    data = bytearray(path.read_bytes())
    if damage == "truncated":
        del data[-4:]
    else:
        data[-4] ^= 1
    path.write_bytes(data)
    if damage == "missing":
        path.unlink()
    with pytest.raises(ValueError, match=rf"{name}: (expected \d+ bytes|its content is not|the file is missing)"):
        io.load_checkpoint(tmp_path / "c")


@pytest.mark.parametrize(
    "text, message",
    [
        ("{", "not valid JSON"),
        ("[]", "not the state of a checkpoint"),
        ('{"files": {}, "format": 99}', "expected checkpoint format 1, got 99"),
        ('{"files": {}, "format": 1}', "its content is not what was saved: expected sha256 None"),
    ],
)
def test_a_damaged_state_is_named(tmp_path, text, message):
    save(tmp_path / "c", 1)
    (tmp_path / "c" / "state.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        io.load_checkpoint(tmp_path / "c")


def test_a_changed_number_in_the_state_is_found(tmp_path):
    save(tmp_path / "c", 1)
    path = tmp_path / "c" / "state.json"
    path.write_text(path.read_text().replace('"step": 1', '"step": 2'))
    for read in (io.load_checkpoint, io.read_checkpoint_state):
        with pytest.raises(ValueError, match=r"state.json: its content is not what was saved: expected sha256"):
            read(tmp_path / "c")


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("optimizer.state.0.m", "optimizer.state.0.v", "the state of the optimizer is damaged"),
        ('"model.safetensors":', '"weights":', "model.safetensors: state.json does not describe it"),
    ],
)
def test_a_state_that_points_to_nothing(tmp_path, old, new, message):
    """Whoever makes up a state can make up its sum."""
    save(tmp_path / "c", 1)
    path = tmp_path / "c" / "state.json"
    state = json.loads(path.read_text().replace(old, new))
    del state["sha256"]
    path.write_text(json.dumps({**state, "sha256": checkpoint_module._digest(state)}))
    with pytest.raises(ValueError, match=message):
        io.load_checkpoint(tmp_path / "c")


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    save(tmp_path / "c", 1)
    real, left = os.write, [3000]

    def write(fd, data):
        left[0] -= len(data)
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data)

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError, match="No space left"):
        save(tmp_path / "c", 2)
    assert whole_step(tmp_path / "c") == 1 and os.listdir(tmp_path) == ["c"]


SYSTEM_CALLS = ("open", "write", "fsync", "close", "replace", "rename", "mkdir", "unlink", "rmdir")


def in_child(body):
    """Runs `body` in a forked process; returns its exit status."""
    pid = os.fork()
    if pid == 0:
        try:
            body()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("has_exchange", [True, False])
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_every_system_call(tmp_path, has_exchange, when):
    """A save dies before (after) its n-th system call, for every n: the old or the new checkpoint is there, and a
    later save works and leaves nothing behind."""
    directory = tmp_path / "c"
    save(directory, 0)
    seen, step, n, code = set(), 0, 0, 9
    while code == 9:
        n += 1

        def die_at(number=n, step=step):
            count = 0

            def counted(call):
                def wrapped(*args, **kwargs):
                    nonlocal count
                    count += 1
                    if count == number and when == "before":
                        os._exit(9)
                    try:
                        return call(*args, **kwargs)
                    finally:
                        if count == number:
                            os._exit(9)

                return wrapped

            for name in SYSTEM_CALLS:
                setattr(os, name, counted(getattr(os, name)))
            real = checkpoint_module.exchange
            checkpoint_module.exchange = counted(real if has_exchange else lambda a, b: False)
            save(directory, step + 1)

        code = in_child(die_at)
        assert code in (0, 9)
        found = whole_step(directory)
        assert found in (step, step + 1)
        seen.add(found - step)
        step = found
        if n % 5 == 0:  # and life goes on
            step += 10
            save(directory, step)
            assert whole_step(directory) == step and os.listdir(tmp_path) == ["c"]
    assert n > 20 and seen == {0, 1}


ROOT = Path(__file__).parents[2]
SAVER = """
import sys
from tests.io.test_checkpoint import save
for step in range(int(sys.argv[2]), 1 << 30):
    save(sys.argv[1], step)
    print(step, flush=True)
"""


def start_saver(directory, step):
    command = [sys.executable, "-c", SAVER, str(directory), str(step)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(os.path.abspath(p) for p in [ROOT, *sys.path])}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)


def test_kill_9_at_random_moments(tmp_path):
    rng = random.Random(0)
    directory, last = tmp_path / "c", 0
    for _ in range(6):
        child = start_saver(directory, last + 1)
        child.stdout.readline()  # it is saving now
        time.sleep(rng.uniform(0.0, 0.05))
        child.send_signal(signal.SIGKILL)
        reported = [last + 1] + [int(line) for line in child.stdout.read().split()]
        child.wait()
        found = whole_step(directory)
        assert found >= max(reported)  # what was reported as saved is not lost
        last = found


def test_reading_while_another_process_saves(tmp_path):
    directory = tmp_path / "c"
    save(directory, 0)
    child = start_saver(directory, 1)
    try:
        child.stdout.readline()
        steps = [whole_step(directory) for _ in range(30)]
    finally:
        child.kill()
        child.communicate()
    assert steps == sorted(steps) and steps[-1] > 0
