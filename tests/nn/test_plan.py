"""Module.plan: what it predicts is what happens, and it leaves no trace."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dlcore
from dlcore import _C, nn, optim
from dlcore.models import GPT2, GPT2Config
from dlcore.nn import functional as F

ROOT = Path(__file__).resolve().parents[2]
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


class CharLSTM(nn.Module):
    def __init__(self, width: int) -> None:
        self.embedding = nn.Embedding(50, width)
        self.lstm = nn.LSTM(width, width, 2, batch_first=True)
        self.head = nn.Linear(width, 50)

    def forward(self, tokens: dlcore.Tensor) -> dlcore.Tensor:
        return self.head(self.lstm(self.embedding(tokens))[0])


def mlp(scale: int) -> tuple[nn.Module, tuple[Any, ...], Callable[[Any], Any] | None]:
    model = nn.Sequential(nn.Linear(64 * scale, 128 * scale), nn.ReLU(), nn.Dropout(0.1), nn.Linear(128 * scale, 10))
    targets = dlcore.randint(0, 10, (256,))
    return model, (dlcore.randn(256, 64 * scale),), lambda logits: F.cross_entropy(logits, targets)


def cnn(scale: int) -> tuple[nn.Module, tuple[Any, ...], Callable[[Any], Any] | None]:
    model = nn.Sequential(
        nn.Conv2d(3, 8 * scale, 3, padding=1),
        nn.BatchNorm2d(8 * scale),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8 * scale, 16 * scale, 3, padding=1),
        nn.BatchNorm2d(16 * scale),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16 * scale, 10),
    )
    targets = dlcore.randint(0, 10, (16,))
    return model, (dlcore.randn(16, 3, 32, 32),), lambda logits: F.cross_entropy(logits, targets)


def gpt2(scale: int) -> tuple[nn.Module, tuple[Any, ...], Callable[[Any], Any] | None]:
    config = GPT2Config(vocab_size=1000 * scale, n_positions=64, n_embd=32 * scale, n_layer=2, n_head=4, dropout=0.1)
    tokens = dlcore.randint(0, 1000 * scale, (4, 65))
    return GPT2(config), (tokens[:, :-1], tokens[:, 1:]), None


def lstm(scale: int) -> tuple[nn.Module, tuple[Any, ...], Callable[[Any], Any] | None]:
    tokens = dlcore.randint(0, 50, (8, 33))
    targets = tokens[:, 1:].reshape(-1)
    return CharLSTM(64 * scale), (tokens[:, :-1],), lambda logits: F.cross_entropy(logits.reshape(-1, 50), targets)


MODELS = [mlp, cnn, gpt2, lstm]


def train(model: Any, inputs: tuple[Any, ...], loss: Any, optimizer: Any, steps: int = 4) -> None:
    """The loop that a plan is about."""
    for _ in range(steps):
        optimizer.zero_grad()
        output = model(*inputs)
        number = loss(output) if loss is not None else output[1]
        number.backward()
        optimizer.step()


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    dlcore.manual_seed(0)
    gc.collect()  # what earlier tests left behind must not go in between a plan and its run
    dlcore.empty_cache()
    yield


def measured(step: Callable[[], Any]) -> int:
    """The allocator's peak."""
    dlcore.reset_peak_memory()
    step()
    return dlcore.memory_stats()["peak"]


@pytest.mark.parametrize("make", MODELS)
def test_predicts_the_allocators_peak(make: Any) -> None:
    model, inputs, loss = make(2)
    optimizer = optim.AdamW(model.parameters(), lr=1e-3)
    plan = model.plan(*inputs, loss=loss, optimizer=optimizer)
    assert measured(lambda: train(model, inputs, loss, optimizer)) == plan.live
    # With gradients, moments and free blocks of earlier steps.
    again = model.plan(*inputs, loss=loss, optimizer=optimizer)
    assert again.live == plan.live
    assert measured(lambda: train(model, inputs, loss, optimizer)) == again.live


def test_predicts_a_step_that_calls_a_method() -> None:
    model, inputs, _ = gpt2(2)
    optimizer = optim.AdamW(model.parameters(), lr=1e-3)
    plan = model.plan(*inputs, call=model.loss, optimizer=optimizer)

    def steps() -> None:
        for _ in range(4):
            optimizer.zero_grad()
            loss = model.loss(*inputs)
            loss.backward()
            optimizer.step()

    assert measured(steps) == plan.live < model.plan(*inputs, optimizer=optimizer).live


@pytest.mark.parametrize("make", MODELS)
def test_predicts_inference(make: Any) -> None:
    model, inputs, _ = make(2)
    model.eval()
    with dlcore.no_grad():
        plan = model.plan(*inputs)
        assert measured(lambda: model(*inputs)) == plan.live
    assert plan.gradients == plan.optimizer_state == 0
    assert plan.phase == "forward"


@pytest.mark.parametrize("make", [mlp, gpt2])
def test_predicts_mixed_precision(make: Any) -> None:
    model, inputs, loss = make(2)
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    # Casts of parameters live as long as the autocast.
    with dlcore.autocast("cpu"):
        plan = model.plan(*inputs, loss=loss, optimizer=optimizer)
        assert measured(lambda: train(model, inputs, loss, optimizer)) == plan.live


SCRIPT = """
import json, sys
sys.path.insert(0, {root!r})
from tests.nn import test_plan as cases
from dlcore import optim

def status(name):
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith(name))

model, inputs, loss = cases.{case}({scale})
optimizer = optim.AdamW(model.parameters(), lr=1e-3)
plan = model.plan(*inputs, loss=loss, optimizer=optimizer)
cases.train(model, inputs, loss, optimizer)
print(json.dumps([plan.resident, plan.peak, status("VmHWM")]))
"""


@linux
@pytest.mark.parametrize(("case", "scale"), [("mlp", 40), ("cnn", 48), ("gpt2", 14), ("lstm", 18)])
def test_predicts_resident_memory(case: str, scale: int) -> None:
    script = textwrap.dedent(SCRIPT).format(root=str(ROOT), case=case, scale=scale)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    before, predicted, peak = json.loads(done.stdout)
    assert peak - before > 150 << 20
    assert abs(predicted - peak) <= 0.05 * peak
    assert abs(predicted - peak) <= 0.05 * (peak - before)


def state_of(model: Any, optimizer: Any) -> dict[str, Any]:
    """All that a step changes, values and identities."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {
        "values": {name: t.numpy().tobytes() for name, t in tensors.items()},
        "fields": {name: (id(t), id(t.grad), t._version, t.requires_grad, id(t._node)) for name, t in tensors.items()},
        "gradients": {n: None if t.grad is None else t.grad.numpy().tobytes() for n, t in tensors.items()},
        "attributes": [{k: id(v) for k, v in vars(m).items()} for m in model.modules()],
        "modes": [m.training for m in model.modules()],
        "state": [(id(p), list(s)) for p, s in optimizer.state.items()],
        "moments": [
            v if isinstance(v, int) else v.numpy().tobytes() for s in optimizer.state.values() for v in s.values()
        ],
        "groups": [dict(g) for g in optimizer.param_groups],
        "generator": dlcore.get_rng_state(),
        "live": dlcore.memory_stats()["live"],
        "cached": dlcore.memory_stats()["cached"],
    }


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize("steps", [0, 2])
def test_leaves_no_trace(make: Any, steps: int) -> None:
    model, inputs, loss = make(1)
    optimizer = optim.AdamW(model.parameters(), lr=1e-3)
    train(model, inputs, loss, optimizer, steps)
    before = state_of(model, optimizer)
    model.plan(*inputs, loss=loss, optimizer=optimizer)
    assert state_of(model, optimizer) == before


class Moody(nn.Module):
    """Changes itself in all ways that a forward pass may, and then fails where it is told to."""

    def __init__(self) -> None:
        self.linear = nn.Linear(4, 4)
        self.average = dlcore.zeros((4,))
        self.calls = 0
        self.seen: list[Any] = []
        self.by_name: dict[str, Any] = {"first": 1}
        self.fails = False

    def forward(self, x: dlcore.Tensor) -> dlcore.Tensor:
        y = self.linear(x)
        self.calls += 1
        self.average = 0.9 * self.average + 0.1 * y.detach().mean(0)
        self.seen.append(y)
        self.by_name["last"] = y
        self.latest = y
        self.linear.weight.requires_grad = False
        self.eval()
        self.register_forward_hook(lambda *args: None)
        if self.fails:
            raise LookupError("told to fail")
        return y.sum()


@pytest.mark.parametrize("fails", [False, True])
def test_puts_back_what_the_model_does_to_itself(fails: bool) -> None:
    model = Moody()
    model.fails = fails
    x, average = dlcore.randn(2, 4), model.average
    attributes = dict(vars(model))
    if fails:
        with pytest.raises(LookupError, match="told to fail"):
            model.plan(x)
    else:
        model.plan(x)
    assert vars(model) == attributes
    assert (model.calls, model.seen, model.by_name) == (0, [], {"first": 1})
    assert model.average is average and not average.numpy().any()
    assert model.linear.weight.requires_grad and model.training and not _C.planning()


def test_a_recorded_graph_survives_a_plan_of_its_model() -> None:
    model, inputs, loss = mlp(1)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    assert loss is not None
    number = loss(model(*inputs))
    model.plan(*inputs, loss=loss, optimizer=optimizer)
    number.backward()  # raises if a plan had counted writes to the weights
    assert all(np.isfinite(p.grad.numpy()).all() for p in model.parameters())


def test_casts_of_a_plan_stay_in_it() -> None:
    model, inputs, _ = mlp(1)
    model.eval()
    with dlcore.autocast("cpu"):
        expected = model(*inputs).float().numpy()
    with dlcore.autocast("cpu"), dlcore.no_grad():
        model.plan(*inputs)
        assert (model(*inputs).float().numpy() == expected).all()


def test_numbers_read_as_zero_and_kernels_do_not_run() -> None:
    found: list[Any] = []

    class Reads(nn.Module):
        def forward(self, x: dlcore.Tensor) -> dlcore.Tensor:
            y = x + 1
            rows = dlcore.cat([y, y])
            found.extend([y.sum().item(), rows.tolist(), dlcore.nonzero(y).shape, dlcore.ones((3,)).tolist()])
            found.append(dlcore.arange(10)[y.argmax() % dlcore.ones((1,), dtype=dlcore.int64)].shape)
            return y

    x = dlcore.ones((2, 2))
    with dlcore.no_grad():
        Reads().plan(x)
    assert found == [0.0, [[0.0, 0.0]] * 4, (0, 2), [0.0] * 3, (1,)]
    assert x.tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_tensors_of_a_plan_may_outlive_it() -> None:
    kept: list[Any] = []

    class Keeps(nn.Module):
        def forward(self, x: dlcore.Tensor) -> dlcore.Tensor:
            kept.append(x * 2)
            return x

    before = dlcore.memory_stats()
    with dlcore.no_grad():
        Keeps().plan(dlcore.ones((1000,)))
    assert kept[0].shape == (1000,) and not kept[0].numpy().any()
    assert (kept[0] + 1).numpy().all()
    kept.clear()
    assert dlcore.memory_stats()["live"] == before["live"]


def test_a_plan_needs_no_memory() -> None:
    model = nn.Sequential(nn.Linear(8, 1 << 14), nn.ReLU(), nn.Linear(1 << 14, 1))
    with dlcore.no_grad():
        plan = model.plan(dlcore.zeros((1, 8)).expand((1 << 23, 8)))
    assert plan.temporaries >= 1 << 39  # half a TiB
    assert plan.peak > plan.growth >= 1 << 39


def test_only_the_planning_thread_is_dry() -> None:
    inside, outside = threading.Event(), threading.Event()
    results: list[Any] = []

    class Waits(nn.Module):
        def forward(self, x: dlcore.Tensor) -> dlcore.Tensor:
            inside.set()
            assert outside.wait(60)
            return x * 3

    def compute() -> None:
        assert inside.wait(60)
        results.append((dlcore.ones((3,)) * 2).tolist())
        results.append(_C.planning())
        outside.set()

    thread = threading.Thread(target=compute)
    thread.start()
    with dlcore.no_grad():
        Waits().plan(dlcore.ones((3,)))
    thread.join()
    assert results == [[2.0, 2.0, 2.0], False]


def test_refuses_a_plan_within_a_plan() -> None:
    class Plans(nn.Module):
        def forward(self, x: dlcore.Tensor) -> dlcore.Tensor:
            self.plan(x)
            return x

    with pytest.raises(RuntimeError, match=r"\[plan\] this thread is making a plan already"):
        Plans().plan(dlcore.ones((3,)))
    assert not _C.planning()


def test_refuses_what_it_cannot_plan() -> None:
    model, inputs, loss = mlp(1)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match=r"\[plan\] backward starts from one number .* \[\(256, 10\)\]: pass loss="):
        model.plan(*inputs)
    with pytest.raises(TypeError, match=r"\[plan\] expected loss to be a function of the model's output, got Tensor"):
        model.plan(*inputs, loss=dlcore.ones(()))
    with pytest.raises(TypeError, match=r"\[plan\] expected call to be a method of the model, got str"):
        model.plan(*inputs, call="loss")
    with pytest.raises(TypeError, match=r"\[plan\] expected an optimizer, got list"):
        model.plan(*inputs, loss=loss, optimizer=[optimizer])
    with dlcore.no_grad(), pytest.raises(ValueError, match=r"\[plan\] without gradients there is no training"):
        model.plan(*inputs, optimizer=optimizer)
    with pytest.raises(ValueError, match=r"expected last dimension 64"):  # an error of the model is the model's
        model.plan(dlcore.ones((2, 3)), loss=loss)


def test_is_a_table() -> None:
    model, inputs, loss = cnn(4)
    optimizer = optim.AdamW(model.parameters(), lr=1e-3)
    plan = model.plan(*inputs, loss=loss, optimizer=optimizer)
    sizes = [plan.parameters, plan.buffers, plan.gradients, plan.optimizer_state, plan.others, plan.temporaries]
    assert sum(sizes) == plan.live and all(size > 0 for size in sizes)
    assert plan.optimizer_state == 2 * plan.parameters
    assert plan.peak == plan.resident + plan.growth
    lines = str(plan).splitlines()
    assert [line.split("  ")[0] for line in lines if "---" not in line] == [
        "parameters",
        "buffers",
        "gradients",
        "optimizer state",
        "other tensors",
        "activations and temporaries",
        "tensors at their peak, in the backward",
        "the process now",
        "the process at its peak",
    ]
    assert all(line.endswith(" MiB") for line in lines if "---" not in line)


def test_weights_of_others_count_as_parameters() -> None:
    model = nn.Linear(64, 64)
    model.weight = nn.Parameter(dlcore.from_numpy(np.zeros((64, 64), np.float32)))
    with dlcore.no_grad():
        plan = model.plan(dlcore.ones((2, 64)))
    assert plan.parameters == 64 * 64 * 4 + 256
