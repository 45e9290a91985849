"""Schedules by their closed formulas, their state, and errors. tests/parity compares them with PyTorch's."""

import json
import math

import pytest

import dlcore as dl
from dlcore import optim
from dlcore.optim import lr_scheduler as s


def optimizer(lr=0.1, groups=1):
    return optim.Adam([{"params": [dl.zeros((1,))]} for _ in range(groups)], lr=lr)


def cosine(t, T, low=0.0):
    return low + (0.1 - low) * (1 + math.cos(math.pi * t / T)) / 2


MADE = {
    "LambdaLR": (lambda o: s.LambdaLR(o, lambda t: 1 / (1 + t)), lambda t: 0.1 / (1 + t)),
    "StepLR": (lambda o: s.StepLR(o, 4, 0.5), lambda t: 0.1 * 0.5 ** (t // 4)),
    "MultiStepLR": (
        lambda o: s.MultiStepLR(o, [8, 3, 8], 0.5),
        lambda t: 0.1 * 0.5 ** ((t >= 3) + 2 * (t >= 8)),
    ),
    "ConstantLR": (lambda o: s.ConstantLR(o, 0.5, 6), lambda t: 0.05 if t < 6 else 0.1),
    "LinearLR": (lambda o: s.LinearLR(o, 0.2, 1.0, 10), lambda t: 0.1 * (0.2 + 0.8 * min(t, 10) / 10)),
    "ExponentialLR": (lambda o: s.ExponentialLR(o, 0.9), lambda t: 0.1 * 0.9**t),
    "CosineAnnealingLR": (lambda o: s.CosineAnnealingLR(o, 9, 0.01), lambda t: cosine(t, 9, 0.01)),
    "WarmupCosineLR": (
        lambda o: s.WarmupCosineLR(o, 5, 25, 0.02),
        lambda t: 0.1 * (t + 1) / 5 if t < 5 else cosine(min(t, 25) - 5, 20, 0.02),
    ),
    "SequentialLR": (
        lambda o: s.SequentialLR(o, [s.LinearLR(o, 0.5, 1.0, 4), s.CosineAnnealingLR(o, 10)], [4]),
        lambda t: 0.1 * (0.5 + 0.5 * t / 4) if t < 4 else cosine(t - 4, 10),
    ),
    "SequentialLR:nested": (
        lambda o: s.SequentialLR(
            o,
            [s.ConstantLR(o, 0.5, 100), s.SequentialLR(o, [s.StepLR(o, 2, 0.5), s.ExponentialLR(o, 0.9)], [6])],
            [3],
        ),
        lambda t: 0.05 if t < 3 else 0.1 * 0.5 ** ((t - 3) // 2) if t < 9 else 0.1 * 0.9 ** (t - 9),
    ),
    "OneCycleLR": (
        lambda o: s.OneCycleLR(o, 0.1, 40, pct_start=0.25, div_factor=10, final_div_factor=10),
        lambda t: (
            0.01 + 0.09 * (1 - math.cos(math.pi * t / 9)) / 2
            if t <= 9
            else 0.001 + 0.099 * (1 + math.cos(math.pi * (t - 9) / 30)) / 2
        ),
    ),
}


@pytest.mark.parametrize("name", MADE)
def test_formula(name):
    make, formula = MADE[name]
    o = optimizer()
    scheduler = make(o)
    for t in range(40):
        assert o.param_groups[0]["lr"] == pytest.approx(formula(t), rel=1e-12, abs=1e-15), f"t = {t}"
        assert scheduler.get_last_lr() == [o.param_groups[0]["lr"]]
        assert scheduler.last_epoch == t
        if t < 39:
            scheduler.step()


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("at", [0, 2, 7, 20])
def test_state_goes_on_bit_for_bit(name, at):
    make, _ = MADE[name]
    o = optimizer()
    scheduler = make(o)
    for _ in range(at):
        scheduler.step()
    saved = json.loads(json.dumps([o.state_dict(), scheduler.state_dict()]))
    other = optimizer()
    resumed = make(other)
    other.load_state_dict(saved[0])
    resumed.load_state_dict(saved[1])
    for _ in range(15):
        scheduler.step()
        resumed.step()
        assert other.param_groups[0]["lr"] == o.param_groups[0]["lr"]
        assert other.param_groups[0]["betas"] == o.param_groups[0]["betas"]


def test_groups_keep_their_own_rates():
    o = optim.SGD([{"params": [dl.zeros((1,))]}, {"params": [dl.zeros((1,))], "lr": 0.5}], lr=0.1)
    scheduler = s.ExponentialLR(o, 0.5)
    scheduler.step()
    assert scheduler.get_last_lr() == [0.05, 0.25]
    assert [g["initial_lr"] for g in o.param_groups] == [0.1, 0.5]


def test_one_cycle_moves_momentum_the_other_way():
    o = optimizer()
    scheduler = s.OneCycleLR(o, 0.1, 20, pct_start=0.5)
    assert o.param_groups[0]["betas"] == (0.95, 0.999)
    for _ in range(9):
        scheduler.step()
    assert o.param_groups[0]["betas"][0] == pytest.approx(0.85)
    for _ in range(11):
        scheduler.step()
    with pytest.raises(ValueError, match=r"\[OneCycleLR\] expected at most 20 steps, got step 21"):
        scheduler.step()


def test_plateau():
    o = optimizer()
    scheduler = s.ReduceLROnPlateau(o, patience=1, factor=0.5, cooldown=1)
    rates = []
    for measure in (dl.tensor(1.0), 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.1):
        scheduler.step(measure)
        rates.append(o.param_groups[0]["lr"])
    assert rates == [0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.025, 0.025]
    other = s.ReduceLROnPlateau(optimizer(), patience=1, factor=0.5, cooldown=1)
    other.load_state_dict(json.loads(json.dumps(scheduler.state_dict())))
    assert other.best == 0.1 and other.cooldown_counter == scheduler.cooldown_counter


BAD = [
    (lambda o: s.StepLR(o, 0), r"\[StepLR\] expected step_size > 0, got 0"),
    (lambda o: s.LinearLR(o, 0.0), r"\[LinearLR\] expected 0 < start_factor <= 1, got 0.0"),
    (lambda o: s.LinearLR(o, 0.5, 1.5), r"\[LinearLR\] expected 0 <= end_factor <= 1, got 1.5"),
    (lambda o: s.ConstantLR(o, 0), r"\[ConstantLR\] expected 0 < factor <= 1, got 0"),
    (lambda o: s.CosineAnnealingLR(o, 0), r"\[CosineAnnealingLR\] expected T_max > 0, got 0"),
    (
        lambda o: s.WarmupCosineLR(o, 9, 9),
        r"\[WarmupCosineLR\] expected 0 <= warmup_steps < total_steps, got warmup_steps=9 and total_steps=9",
    ),
    (lambda o: s.LambdaLR(o, [abs, abs]), r"\[LambdaLR\] expected one lr_lambda for each of 1 parameter groups, got 2"),
    (lambda o: s.SequentialLR(o, [], []), r"\[SequentialLR\] expected at least one scheduler, got none"),
    (
        lambda o: s.SequentialLR(o, [s.StepLR(o, 3)], [1]),
        r"\[SequentialLR\] expected one milestone fewer than schedulers, got 1 milestones for 1 schedulers",
    ),
    (
        lambda o: s.SequentialLR(o, [s.StepLR(optimizer(), 3)], []),
        r"\[SequentialLR\] expected schedules of the same optimizer, got a StepLR of another",
    ),
    (
        lambda o: s.SequentialLR(o, [s.ReduceLROnPlateau(o)], []),
        r"\[SequentialLR\] expected schedules without a measure, got ReduceLROnPlateau",
    ),
    (
        lambda o: s.OneCycleLR(o, 0.1),
        r"\[OneCycleLR\] expected total_steps, or epochs and steps_per_epoch, got neither",
    ),
    (lambda o: s.OneCycleLR(o, 0.1, 0), r"\[OneCycleLR\] expected total_steps > 0, got 0"),
    (lambda o: s.OneCycleLR(o, 0.1, 9, pct_start=2), r"\[OneCycleLR\] expected pct_start in \[0, 1\], got 2"),
    (lambda o: s.OneCycleLR(o, 0.1, 9, anneal_strategy="x"), r"expected anneal_strategy 'cos' or 'linear', got 'x'"),
    (lambda o: s.ReduceLROnPlateau(o, factor=1.5), r"\[ReduceLROnPlateau\] expected factor < 1, got 1.5"),
    (lambda o: s.ReduceLROnPlateau(o, mode="best"), r"\[ReduceLROnPlateau\] expected mode 'min' or 'max', got 'best'"),
    (lambda o: s.StepLR(o, 3, last_epoch=4), r"\[StepLR\] last_epoch=4 needs 'initial_lr' in group 0, which has none"),
    (
        lambda o: s.StepLR(o, 3).load_state_dict({"gamma": 1}),
        r"expected a state with the key 'last_epoch', got \['gamma'\]",
    ),
]


@pytest.mark.parametrize(("make", "text"), BAD)
def test_bad_values(make, text):
    with pytest.raises(ValueError, match=text):
        make(optimizer())


def test_not_an_optimizer():
    for make in (lambda o: s.StepLR(o, 3), s.ReduceLROnPlateau, lambda o: s.LambdaLR(o, abs)):
        with pytest.raises(TypeError, match="expected an Optimizer, got list"):
            make([])
