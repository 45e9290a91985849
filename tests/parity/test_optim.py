"""Optimisers, schedules and clipping against PyTorch's, step by step, from the same gradients."""

import itertools

import numpy as np
import pytest

import dlcore as dl
from dlcore import optim
from dlcore.nn import utils
from dlcore.optim import lr_scheduler
from tests.opcases import EPS

torch = pytest.importorskip("torch")

torch.set_num_threads(1)  # on tensors as small as these its threads would only wait for each other

SHAPES = [(3,), (17, 5), (), (20_000,), (2, 3, 4)]
STEPS = 100


def gradients(step, dtype="float32", shapes=SHAPES):
    rng = np.random.default_rng(step)
    # Some elements are exactly 0 for long: the second moment starts at 0 there, and eps matters.
    return [(rng.standard_normal(s) * (rng.random(s) < 0.7) * 10.0 ** (step % 3 - 1)).astype(dtype) for s in shapes]


def compare(
    make,
    make_torch,
    dtype="float32",
    skip=lambda step, i: False,
    each_step=lambda step, a, b: None,
    steps=STEPS,
    shapes=SHAPES,
):
    """`steps` updates on both sides. Each step's rounding is at most a few eps of the parameter and of the update,
    which is at most a few lr; the differences of all steps add up."""
    start = [np.random.default_rng(9).standard_normal(s).astype(dtype) for s in shapes]
    ours = [dl.tensor(p, requires_grad=True) for p in start]
    theirs = [torch.tensor(p, requires_grad=True) for p in start]
    a, b = make(ours), make_torch(theirs)
    for step in range(steps):
        for i, g in enumerate(gradients(step, dtype, shapes)):
            ours[i].grad = None if skip(step, i) else dl.tensor(g)
            theirs[i].grad = None if skip(step, i) else torch.tensor(g)
        a.step()
        b.step()
        each_step(step, a, b)
        for x, y in zip(ours, theirs, strict=True):
            y = y.detach().numpy().astype(np.float64)
            bound = 8 * EPS[dtype] * (step + 1) * (np.abs(y) + 1)
            assert (np.abs(np.asarray(x.detach()).astype(np.float64) - y) <= bound).all(), (
                f"step {step}, shape {x.shape}"
            )
    return a, b


ADAM = [
    {},
    {"lr": 3e-2, "betas": (0.8, 0.95), "eps": 1e-6},
    {"weight_decay": 0.1},
    {"amsgrad": True, "lr": 1e-2},
    {"maximize": True, "weight_decay": 0.01, "amsgrad": True},
    {"betas": (0.0, 0.0)},
]


@pytest.mark.parametrize("options", ADAM, ids=str)
@pytest.mark.parametrize("name", ["Adam", "AdamW"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_adam(name, options, dtype):
    compare(
        lambda p: getattr(optim, name)(p, **options), lambda p: getattr(torch.optim, name)(p, **options), dtype=dtype
    )


SGD = [
    {"lr": 0.1},
    {"lr": 0.01, "momentum": 0.9},
    {"lr": 0.01, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1},
    {"lr": 0.01, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    {"lr": 0.01, "momentum": 0.5, "maximize": True},
]


@pytest.mark.parametrize("options", SGD, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sgd(options, dtype):
    compare(lambda p: optim.SGD(p, **options), lambda p: torch.optim.SGD(p, **options), dtype=dtype)


OTHERS = [
    ("RMSprop", {}),
    ("RMSprop", {"lr": 1e-3, "alpha": 0.9, "eps": 1e-6, "weight_decay": 0.1}),
    ("RMSprop", {"lr": 1e-3, "momentum": 0.9, "maximize": True}),
    ("RMSprop", {"lr": 1e-3, "momentum": 0.5, "centered": True}),
    ("Adagrad", {}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.01, "weight_decay": 0.1, "initial_accumulator_value": 0.5}),
    ("Adagrad", {"eps": 1e-3, "maximize": True}),
]


@pytest.mark.parametrize(("name", "options"), OTHERS, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rmsprop_and_adagrad(name, options, dtype):
    compare(
        lambda p: getattr(optim, name)(p, **options), lambda p: getattr(torch.optim, name)(p, **options), dtype=dtype
    )


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad"])
def test_a_thousand_steps(name):
    options = {"SGD": {"momentum": 0.9}, "RMSprop": {"momentum": 0.5, "lr": 1e-3}}.get(name, {})
    compare(
        lambda p: getattr(optim, name)(p, **options),
        lambda p: getattr(torch.optim, name)(p, **options),
        steps=1000,
        shapes=[(3,), (17, 5)],
    )


def test_missing_gradients():
    """Each parameter counts its own steps; one without a gradient stays as it is."""
    options = {"skip": lambda step, i: (step + i) % 3 == 0 or i == 1}
    compare(lambda p: optim.AdamW(p, lr=0.01), lambda p: torch.optim.AdamW(p, lr=0.01), **options)
    sgd = {"lr": 0.01, "momentum": 0.9}
    compare(lambda p: optim.SGD(p, **sgd), lambda p: torch.optim.SGD(p, **sgd), **options)


def groups(params):
    return [{"params": params[:2], "lr": 0.02, "weight_decay": 0.0}, {"params": params[2:]}]


def test_groups_and_schedules_together():
    schedules = {}

    def each_step(step, a, b):
        if step == 0:
            schedules["ours"] = lr_scheduler.StepLR(a, 20, 0.5)
            schedules["theirs"] = torch.optim.lr_scheduler.StepLR(b, 20, 0.5)
            return
        schedules["ours"].step()
        schedules["theirs"].step()
        assert [g["lr"] for g in a.param_groups] == [g["lr"] for g in b.param_groups]

    options = {"lr": 0.01, "weight_decay": 0.1}
    compare(
        lambda p: optim.AdamW(groups(p), **options),
        lambda p: torch.optim.AdamW(groups(p), **options),
        each_step=each_step,
    )


def test_state_from_pytorch():
    """A state_dict of PyTorch's continues here."""
    a, b = compare(lambda p: optim.AdamW(p, amsgrad=True), lambda p: torch.optim.AdamW(p, amsgrad=True))
    state = b.state_dict()
    converted = {
        "state": {
            i: {k: dl.from_numpy(np.array(v.numpy(), ndmin=v.ndim)) for k, v in s.items()}
            for i, s in state["state"].items()
        },
        "param_groups": [{k: g[k] for k in (*a.defaults, "params")} for g in state["param_groups"]],
    }
    a.load_state_dict(converted)
    for i, (s, t) in enumerate(zip(a.state_dict()["state"].values(), state["state"].values(), strict=True)):
        assert s["step"] == STEPS == t["step"], i
        for key in ("exp_avg", "exp_avg_sq", "max_exp_avg_sq"):
            assert np.array_equal(s[key].numpy(), t[key].numpy())


def schedules(m):
    """Every schedule, made the same way from either library's module."""
    return {
        "lambda": lambda o: m.LambdaLR(o, lambda t: 0.95**t),
        "lambdas": lambda o: m.LambdaLR(o, [lambda t: 1 / (t + 1), lambda t: 0.5]),
        "step": lambda o: m.StepLR(o, 7, 0.3),
        "multistep": lambda o: m.MultiStepLR(o, [5, 9, 9, 30], 0.5),
        "constant": lambda o: m.ConstantLR(o, 0.25, 6),
        "linear": lambda o: m.LinearLR(o, 0.1, 0.8, 12),
        "exponential": lambda o: m.ExponentialLR(o, 0.9),
        "cosine": lambda o: m.CosineAnnealingLR(o, 15, 1e-3),
        "cosine to zero": lambda o: m.CosineAnnealingLR(o, 20),
        "one cycle": lambda o: m.OneCycleLR(o, 0.5, 60),
        "one cycle linear": lambda o: m.OneCycleLR(
            o, [0.5, 0.1], epochs=6, steps_per_epoch=10, anneal_strategy="linear", pct_start=0.4, three_phase=True
        ),
        "sequential": lambda o: m.SequentialLR(o, [m.LinearLR(o, 0.1, 1.0, 5), m.CosineAnnealingLR(o, 30)], [5]),
        "sequential of three": lambda o: m.SequentialLR(
            o, [m.ConstantLR(o, 0.5, 4), m.ExponentialLR(o, 0.9), m.StepLR(o, 3, 0.5)], [6, 20]
        ),
    }


@pytest.mark.parametrize("name", schedules(lr_scheduler))
@pytest.mark.parametrize("optimizer", ["Adam", "SGD"])
def test_schedules(name, optimizer):
    options = {"momentum": 0.9} if optimizer == "SGD" else {}
    sides = []
    for o, s, tensor in (
        (optim, lr_scheduler, dl.zeros((1,))),
        (torch.optim, torch.optim.lr_scheduler, torch.zeros(1)),
    ):
        other = tensor.clone()
        made = getattr(o, optimizer)([{"params": [tensor]}, {"params": [other], "lr": 0.02}], lr=0.1, **options)
        sides.append((made, schedules(s)[name](made)))
    (a, ours), (b, theirs) = sides
    b.step()  # or PyTorch warns of the wrong order
    for t in range(60):
        assert ours.get_last_lr() == pytest.approx(theirs.get_last_lr(), rel=1e-12, abs=1e-15), f"t = {t}"
        for g, h in zip(a.param_groups, b.param_groups, strict=True):
            assert g["lr"] == pytest.approx(h["lr"], rel=1e-12, abs=1e-15)
            for key in ("betas", "momentum"):
                assert key not in g or g[key] == pytest.approx(h[key], rel=1e-12)
        ours.step()
        theirs.step()


def test_schedules_side_by_side():
    """Two at once multiply."""
    sides = []
    for o, s, tensor in (
        (optim, lr_scheduler, dl.zeros((1,))),
        (torch.optim, torch.optim.lr_scheduler, torch.zeros(1)),
    ):
        made = o.SGD([tensor], lr=0.1)
        sides.append((made, s.LinearLR(made, 0.2, 1.0, 6), s.ExponentialLR(made, 0.9), s.CosineAnnealingLR(made, 9)))
    sides[1][0].step()
    for _ in range(40):
        for side in sides:
            for scheduler in side[1:]:
                scheduler.step()
        assert sides[0][0].param_groups[0]["lr"] == pytest.approx(
            sides[1][0].param_groups[0]["lr"], rel=1e-11, abs=1e-16
        )


@pytest.mark.parametrize(
    "options",
    [
        {"patience": 2},
        {"mode": "max", "patience": 1, "threshold_mode": "abs", "threshold": 0.05, "cooldown": 3},
        {"patience": 0, "factor": 0.5, "min_lr": 0.01, "cooldown": 1},
        {"patience": 1, "eps": 0.05, "mode": "max"},
    ],
    ids=str,
)
def test_plateau(options):
    a, b = optim.SGD([dl.zeros((1,))], lr=0.1), torch.optim.SGD([torch.zeros(1)], lr=0.1)
    ours = lr_scheduler.ReduceLROnPlateau(a, **options)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(b, **options)
    for measure in [*np.random.default_rng(4).standard_normal(60), float("nan"), float("inf"), -3.0, -3.0, -3.0]:
        ours.step(measure)
        theirs.step(measure)
        assert ours.get_last_lr() == theirs.get_last_lr()
        assert (ours.num_bad_epochs, ours.cooldown_counter) == (theirs.num_bad_epochs, theirs.cooldown_counter)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("norm_type", [2.0, 1.0, 3.0, float("inf")])
@pytest.mark.parametrize("max_norm", [0.5, 1e6])
def test_clip_grad_norm(dtype, norm_type, max_norm):
    grads = gradients(1, dtype)
    ours = [dl.zeros(s, dtype=dtype, requires_grad=True) for s in SHAPES]
    theirs = [torch.tensor(np.zeros(s, dtype), requires_grad=True) for s in SHAPES]
    for p, q, g in zip(ours, theirs, grads, strict=True):
        p.grad, q.grad = dl.tensor(g), torch.tensor(g)
    n = utils.clip_grad_norm_(ours, max_norm, norm_type)
    m = torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type)
    # PyTorch sums in the gradients' dtype, we in double: what separates us is its error, of the order of sqrt(n) eps.
    bound = 250 * EPS[dtype]
    assert float(n) == pytest.approx(float(m), rel=bound)
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=bound, atol=0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_clip_grad_norm_of_what_is_not_finite(bad):
    ours, theirs = dl.zeros((3,), requires_grad=True), torch.zeros(3, requires_grad=True)
    values = np.array([1.0, bad, 2.0], np.float32)
    ours.grad, theirs.grad = dl.tensor(values), torch.tensor(values)
    n, m = utils.clip_grad_norm_([ours], 1.0), torch.nn.utils.clip_grad_norm_([theirs], 1.0)
    assert np.array_equal(n.numpy(), m.numpy(), equal_nan=True)
    assert np.array_equal(ours.grad.numpy(), theirs.grad.numpy(), equal_nan=True)


def test_clip_grad_value():
    ours, theirs = dl.zeros((5,), requires_grad=True), torch.zeros(5, requires_grad=True)
    values = np.array([1.0, -3.0, 0.25, np.nan, -np.inf], np.float32)
    ours.grad, theirs.grad = dl.tensor(values), torch.tensor(values)
    utils.clip_grad_value_([ours], 0.5)
    torch.nn.utils.clip_grad_value_([theirs], 0.5)
    assert np.array_equal(ours.grad.numpy(), theirs.grad.numpy(), equal_nan=True)


def test_every_option_is_pytorchs():
    """Defaults agree for every option that both have."""
    for name in ("Adam", "AdamW", "SGD", "RMSprop", "Adagrad"):
        ours, theirs = getattr(optim, name)([dl.zeros((1,))]), getattr(torch.optim, name)([torch.zeros(1)])
        shared = set(ours.defaults) & set(theirs.defaults)
        assert shared == set(ours.defaults)
        assert {k: ours.defaults[k] for k in shared} == {k: theirs.defaults[k] for k in shared}, name


def test_sequences_of_steps_equal_one_state():
    """Saving and loading in the middle changes nothing, bit for bit."""
    for make in (
        lambda p: optim.AdamW(p, amsgrad=True),
        lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
        lambda p: optim.RMSprop(p, momentum=0.9, centered=True),
        lambda p: optim.Adagrad(p, lr_decay=0.1),
    ):
        runs = []
        for reload in (False, True):
            params = [dl.ones(s, requires_grad=True) for s in SHAPES]
            o = make(params)
            for step in range(20):
                if reload and step == 10:
                    state = o.state_dict()
                    o = make(params)
                    o.load_state_dict(state)
                for p, g in zip(params, gradients(step), strict=True):
                    p.grad = dl.tensor(g)
                o.step()
            runs.append([p.detach().numpy().tobytes() for p in params])
        assert all(a == b for a, b in itertools.pairwise(runs))
