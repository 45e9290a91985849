"""Optimisers by their formulas in NumPy, their state, groups and errors; determinism of the flat block list."""

import json
import math

import numpy as np
import pytest

import dlcore as dl
from dlcore import _C, optim
from dlcore.nn.utils import clip_grad_norm_, clip_grad_value_, get_total_norm
from tests.opcases import EPS
from tests.ops.walk import bits

SHAPES = [(), (0,), (3,), (17, 5), (40_001,), (2, 16384)]


def parameters(dtype="float32", shapes=SHAPES):
    rng = np.random.default_rng(5)
    made = [dl.tensor(rng.standard_normal(s), dtype=dtype, requires_grad=True) for s in shapes]
    for p in made:
        p.grad = dl.tensor(rng.standard_normal(p.shape), dtype=dtype)
    return made


def wide(x):
    return x.detach().double().numpy().copy()


@pytest.mark.parametrize("target", _C.supported_targets())
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_adamw_formula(dtype, target):
    _C.set_target(target)
    params = parameters(dtype)
    w, g = [wide(p) for p in params], [wide(p.grad) for p in params]
    m, v = [np.zeros_like(x) for x in w], [np.zeros_like(x) for x in w]
    o = optim.AdamW(params, lr=0.01, weight_decay=0.1)
    for t in range(1, 4):
        o.step()
        for i, p in enumerate(params):
            w[i] *= 1 - 0.01 * 0.1
            m[i] = 0.9 * m[i] + (1 - 0.9) * g[i]
            v[i] = 0.999 * v[i] + (1 - 0.999) * g[i] ** 2
            w[i] -= 0.01 / (1 - 0.9**t) * m[i] / (np.sqrt(v[i]) / math.sqrt(1 - 0.999**t) + 1e-8)
            bound = 4 * EPS[dtype] * t * (np.abs(w[i]) + 0.1)
            assert (np.abs(wide(p) - w[i]) <= bound).all(), f"step {t}, shape {p.shape}"
            if dtype == "bfloat16":
                w[i] = wide(p)  # each step rounds anew
    for p, x, y in zip(params, m, v, strict=True):
        state_eps = EPS["float32" if dtype == "bfloat16" else dtype]
        assert (np.abs(wide(o.state[p]["exp_avg"]) - x) <= 8 * state_eps * np.abs(x)).all()
        assert (np.abs(wide(o.state[p]["exp_avg_sq"]) - y) <= 8 * state_eps * np.abs(y)).all()
        assert o.state[p]["exp_avg"].dtype is (dl.float32 if dtype == "bfloat16" else p.dtype)


@pytest.mark.parametrize("target", _C.supported_targets())
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_rmsprop_and_adagrad_formulas(dtype, target):
    """Two steps of each; errors are measured by what a step adds up: u is about 10 at first, momentum adds to it."""
    _C.set_target(target)
    for o, step in (
        (optim.RMSprop(parameters(dtype), lr=0.01, momentum=0.5, centered=True), 0.3),
        (optim.Adagrad(parameters(dtype), lr=0.01, lr_decay=0.5, initial_accumulator_value=0.1), 0.02),
    ):
        params, expected = o.param_groups[0]["params"], []
        for p in params:
            w, g = wide(p), wide(p.grad)
            v, mean, b = (0.1 if isinstance(o, optim.Adagrad) else 0.0), 0.0, 0.0
            for t in range(2):
                if isinstance(o, optim.Adagrad):
                    v = v + g**2
                    w = w - 0.01 / (1 + 0.5 * t) * g / (np.sqrt(v) + 1e-10)
                else:
                    v, mean = 0.99 * v + (1 - 0.99) * g**2, 0.99 * mean + (1 - 0.99) * g
                    b = 0.5 * b + g / (np.sqrt(v - mean**2) + 1e-8)
                    w = w - 0.01 * b
            expected.append(w)
        o.step()
        o.step()
        for p, w in zip(params, expected, strict=True):
            assert (np.abs(wide(p) - w) <= 8 * EPS[dtype] * (np.abs(w) + step)).all(), p.shape


def test_a_constant_gradient_has_no_negative_variance():
    """v - mean² is rounding alone after some thousand steps; PyTorch takes its root."""
    p = dl.zeros((64,), requires_grad=True)
    p.grad = dl.linspace(0.01, 1.0, 64)
    o = optim.RMSprop([p], alpha=0.9, centered=True, eps=1e-2)
    for _ in range(500):
        o.step()
    assert np.isfinite(p.detach().numpy()).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda p: optim.AdamW(p, amsgrad=True),
        lambda p: optim.SGD(p, 0.1, momentum=0.9),
        lambda p: optim.RMSprop(p, momentum=0.9, centered=True),
        optim.Adagrad,
    ],
)
def test_same_bits_for_any_number_of_threads(make):
    results = []
    for threads in (1, 2, 5):
        dl.set_num_threads(threads)
        params = parameters()
        o = make(params)
        norm = clip_grad_norm_(params, 1.0)
        o.step()
        o.step()
        results.append([bits(norm), *(bits(p) for p in params), *(bits(p.grad) for p in params)])
    assert results[0] == results[1] == results[2]


def test_writes_in_place_and_counts_versions():
    w = dl.ones((3,), requires_grad=True)
    y = (w * w).sum()
    w.grad = dl.ones((3,))
    address, version = w.data_ptr(), w._version
    optim.SGD([w], lr=0.5).step()
    assert w.data_ptr() == address and w._version > version and w.tolist() == [0.5, 0.5, 0.5]
    with pytest.raises(RuntimeError, match="was changed in place afterwards"):
        y.backward()


def test_strided_parameters_and_gradients():
    base = dl.zeros((6, 4))
    p = base.T
    p.requires_grad_()
    p.grad = dl.arange(48.0).reshape(6, 8)[:, ::2].T
    whole = dl.zeros((4, 6), requires_grad=True)
    whole.grad = p.grad.contiguous()
    for x in (p, whole):
        clip_grad_norm_([x], 1.0)
        optim.Adam([x], lr=0.1).step()
    assert bits(p) == bits(whole) and bits(base.T) == bits(whole)
    assert bits(p.grad) == bits(whole.grad)


def test_mixed_dtypes_in_a_group():
    params = [*parameters("float32"), *parameters("float64"), *parameters("bfloat16")]
    apart = [*parameters("float32"), *parameters("float64"), *parameters("bfloat16")]
    optim.AdamW(params).step()
    for p in apart:
        optim.AdamW([p]).step()
    assert [bits(p) for p in params] == [bits(p) for p in apart]


def test_read_only_parameters_are_refused():
    array = np.zeros(3, np.float32)
    array.flags.writeable = False
    p = dl.from_numpy(array)
    p.requires_grad_()
    p.grad = dl.ones((3,))
    o = optim.Adam([p])
    with pytest.raises(ValueError, match=r"\[Adam\] the tensor is a view of read-only memory"):
        o.step()
    assert o.state[p]["step"] == 0


def test_missing_gradients_are_skipped():
    p, q = dl.ones((2,), requires_grad=True), dl.ones((2,), requires_grad=True)
    p.grad = dl.ones((2,))
    o = optim.Adam([p, q], lr=0.5)
    o.step()
    assert p.tolist() == pytest.approx([0.5, 0.5]) and q.tolist() == [1.0, 1.0]
    assert q not in o.state and o.state[p]["step"] == 1
    o.zero_grad()
    o.step()
    assert p.grad is None and o.state[p]["step"] == 1


def test_zero_grad_in_place():
    p = dl.ones((2,), requires_grad=True)
    p.grad = g = dl.ones((2,))
    optim.SGD([p]).zero_grad(set_to_none=False)
    assert p.grad is g and g.tolist() == [0.0, 0.0]


def test_closure():
    w = dl.tensor([3.0], requires_grad=True)
    o = optim.SGD([w], lr=0.1)

    def closure():
        o.zero_grad()
        loss = (w * w).sum()
        loss.backward()
        return loss

    with dl.no_grad():
        assert o.step(closure).item() == 9.0
    assert w.item() == pytest.approx(2.4)


def test_state_dict_is_plain_and_loads():
    params = parameters(shapes=[(3,), (2, 2)])
    o = optim.AdamW([{"params": params[:1], "lr": 0.5}, {"params": params[1:], "name": "rest"}], amsgrad=True)
    o.step()
    state = o.state_dict()
    assert list(state["state"]) == [0, 1] and [g["params"] for g in state["param_groups"]] == [[0], [1]]
    assert state["param_groups"][1]["name"] == "rest"
    for s in state["state"].values():
        assert {k: type(v) for k, v in s.items()} == {
            "step": int,
            "exp_avg": dl.Tensor,
            "exp_avg_sq": dl.Tensor,
            "max_exp_avg_sq": dl.Tensor,
        }
    # As a file would give it back: text keys, lists for tuples.
    groups = json.loads(json.dumps(state["param_groups"]))
    other = optim.AdamW([{"params": parameters(shapes=[(3,)])}, {"params": parameters(shapes=[(2, 2)])}])
    other.load_state_dict({"state": {str(k): v for k, v in state["state"].items()}, "param_groups": groups})
    assert other.param_groups[0]["lr"] == 0.5 and other.param_groups[0]["betas"] == (0.9, 0.999)
    assert other.param_groups[1]["amsgrad"] is True
    mine, loaded = state["state"][0]["exp_avg"], other.state_dict()["state"][0]["exp_avg"]
    assert bits(mine) == bits(loaded) and mine.data_ptr() != loaded.data_ptr()


def test_bad_states():
    o = optim.Adam(parameters(shapes=[(3,), (2, 2)]))
    o.step()
    state = o.state_dict()
    with pytest.raises(ValueError, match=r"\[Adam\] expected parameter groups of sizes \[1\], got \[2\]"):
        optim.Adam([dl.zeros((3,))]).load_state_dict(state)
    with pytest.raises(ValueError, match=r"\[Adam\] expected 'exp_avg' of shape \(4,\), got \(3,\)"):
        optim.Adam([dl.zeros((4,)), dl.zeros((2, 2))]).load_state_dict(state)
    with pytest.raises(ValueError, match=r"\[Adam\] there is state for parameter 7, but there are 2 parameters"):
        o.load_state_dict({**state, "state": {7: {}}})


P = dl.zeros((2,))
BAD = [
    (lambda: optim.Adam([P], lr=-1), r"\[Adam\] expected lr >= 0, got -1"),
    (lambda: optim.Adam([P], lr=math.nan), r"\[Adam\] expected lr >= 0, got nan"),
    (lambda: optim.AdamW([P], betas=(0.9, 1.0)), r"\[AdamW\] expected two betas in \[0, 1\), got \(0.9, 1.0\)"),
    (lambda: optim.AdamW([P], betas=(-0.1, 0.9)), r"\[AdamW\] expected two betas in \[0, 1\), got \(-0.1, 0.9\)"),
    (lambda: optim.Adam([P], eps=-1e-8), r"\[Adam\] expected eps >= 0, got -1e-08"),
    (lambda: optim.Adam([P], weight_decay=-0.1), r"\[Adam\] expected weight_decay >= 0, got -0.1"),
    (lambda: optim.SGD([P], lr=-0.1), r"\[SGD\] expected lr >= 0, got -0.1"),
    (lambda: optim.SGD([P], momentum=-0.1), r"\[SGD\] expected momentum >= 0, got -0.1"),
    (
        lambda: optim.SGD([P], nesterov=True),
        r"\[SGD\] expected momentum > 0 and dampening 0 for nesterov, got momentum=0",
    ),
    (lambda: optim.RMSprop([P], alpha=1.5), r"\[RMSprop\] expected alpha in \[0, 1\], got 1.5"),
    (lambda: optim.RMSprop([P], momentum=-0.1), r"\[RMSprop\] expected momentum >= 0, got -0.1"),
    (lambda: optim.Adagrad([P], lr_decay=-1), r"\[Adagrad\] expected lr_decay >= 0, got -1"),
    (
        lambda: optim.Adagrad([P], initial_accumulator_value=math.nan),
        r"\[Adagrad\] expected initial_accumulator_value >= 0, got nan",
    ),
    (lambda: optim.Adam([]), r"\[Adam\] got an empty parameter list"),
    (lambda: optim.Adam([P, P]), r"\[Adam\] the parameter of shape \(2,\) at position 1 appears twice"),
    (
        lambda: optim.Adam([{"params": [P]}, {"params": [P]}]),
        r"\[Adam\] the parameter of shape \(2,\) at position 0 appears twice",
    ),
    (lambda: optim.Adam([{"params": [P], "lrr": 1}]), r"\[Adam\] unknown options \['lrr'\]; there are \["),
    (lambda: optim.Adam([{"params": [P], "lr": -1}]), r"\[Adam\] expected lr >= 0, got -1"),
    (lambda: optim.SGD([P]).step(max_norm=-1), r"\[SGD\] expected max_norm >= 0, got -1"),
    (lambda: optim.SGD([P]).step(max_norm=math.nan), r"\[SGD\] expected max_norm >= 0, got nan"),
    (lambda: clip_grad_value_([P], -1), r"\[clip_grad_value_\] expected clip_value >= 0, got -1"),
    (lambda: get_total_norm([P], 0), r"\[global_norm\] expected norm_type > 0, got 0"),
]


@pytest.mark.parametrize(("call", "text"), BAD)
def test_bad_values(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_bad_types():
    for call, text in (
        (lambda: optim.Adam(P), r"\[Adam\] expected an iterable of parameters, got a Tensor; put it into a list"),
        (lambda: optim.Adam([3]), r"\[Adam\] expected parameters to be tensors, got int at position 0"),
        (
            lambda: optim.Adam([dl.arange(3)]),
            r"\[Adam\] expected floating parameters, got dlcore.int64 of shape \(3,\)",
        ),
        (lambda: optim.Adam([{"lr": 1}]), r"\[Adam\] a parameter group must be a dict with the key 'params'"),
        (lambda: get_total_norm([dl.arange(3)]), r"\[global_norm\] expected a floating dtype, got int64"),
    ):
        with pytest.raises(TypeError, match=text):
            call()
    y = dl.ones((2,), requires_grad=True) * 2
    with pytest.raises(ValueError, match=r"\[Adam\] expected leaves, got the result of an operation of shape \(2,\)"):
        optim.Adam([y])


def test_bad_gradients():
    p = dl.ones((2,), requires_grad=True)
    for o in (optim.Adam([p]), optim.SGD([p], momentum=0.9), optim.RMSprop([p]), optim.Adagrad([p])):
        name = type(o).__name__
        p.grad = dl.ones((3,))
        with pytest.raises(
            ValueError, match=rf"\[{name}\] expected a gradient of shape \(2,\) for parameter 0, got \(3,\)"
        ):
            o.step()
        p.grad = dl.ones((2,), dtype="float64")
        with pytest.raises(
            TypeError, match=rf"\[{name}\] expected a gradient of float32 for parameter 0 of float32, got float64"
        ):
            o.step()
        assert "momentum_buffer" not in o.state[p]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
@pytest.mark.parametrize("order", [1.0, 2.0, 2.5, math.inf])
@pytest.mark.parametrize("target", _C.supported_targets())
def test_total_norm(dtype, order, target):
    _C.set_target(target)
    tensors = [p.grad for p in parameters(dtype)]
    values = np.concatenate([wide(t).ravel() for t in tensors])
    expected = np.abs(values).max() if order == math.inf else (np.abs(values) ** order).sum() ** (1 / order)
    # Summed in double: the result's own rounding is what remains.
    result = "float64" if dtype == "float64" else "float32"
    assert abs(get_total_norm(tensors, order).item() - expected) <= 16 * EPS[result] * expected


def test_norm_does_not_overflow():
    assert get_total_norm([dl.full((4,), 1e30)]).item() == pytest.approx(2e30, rel=1e-6)
    assert get_total_norm([]).item() == 0.0


def test_norm_reports_what_is_not_finite():
    p = dl.zeros((2,), requires_grad=True)
    p.grad = dl.tensor([1.0, math.nan])
    with pytest.raises(RuntimeError, match=r"the norm of order 2.0 of 1 tensors is nan"):
        clip_grad_norm_([p], 1.0, error_if_nonfinite=True)
    assert p.grad.tolist()[0] == 1.0
    assert math.isnan(get_total_norm([p.grad], math.inf).item())


def test_clipping_leaves_small_gradients_alone():
    p = dl.zeros((2,), requires_grad=True)
    p.grad = dl.tensor([0.3, 0.4])
    before = bits(p.grad)
    assert clip_grad_norm_(p, 1.0).item() == pytest.approx(0.5)
    assert bits(p.grad) == before
    clip_grad_norm_([p, dl.zeros((3,), requires_grad=True)], 0.05)
    assert get_total_norm([p.grad]).item() == pytest.approx(0.05, rel=1e-4)


def test_repr():
    text = repr(optim.SGD([P], lr=0.25))
    assert text.startswith("SGD (\n  group 0: 1 parameters, lr=0.25, momentum=0.0")


MAKES = {
    "AdamW": lambda p: optim.AdamW(p, lr=0.1),
    "Adam": lambda p: optim.Adam(p, lr=0.1, amsgrad=True, weight_decay=0.1, maximize=True),
    "SGD": lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
    "RMSprop": lambda p: optim.RMSprop(p, lr=0.01, momentum=0.5, centered=True),
    "Adagrad": lambda p: optim.Adagrad(p, lr=0.1),
}


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("max_norm", [0.0, 0.5, 1e6])
def test_a_step_that_clips(make, dtype, max_norm):
    """As clip_grad_norm_ before the step: there the scaled gradient is rounded once more, to half a unit of its last
    place, and two steps of at most 0.1 carry that on."""
    ours, apart = parameters(dtype), parameters(dtype)
    given = [bits(p.grad) for p in ours]
    groups = [{"params": ours[:1]}, {"params": ours[1:]}]
    a, b = MAKES[make](groups), MAKES[make](apart)
    assert a.grad_norm is None
    for _ in range(2):
        a.step(max_norm=max_norm)
        for p, q in zip(ours, apart, strict=True):
            q.grad = p.grad.clone()
        norm = clip_grad_norm_(apart, max_norm)
        b.step()
        assert a.grad_norm == pytest.approx(float(norm), rel=EPS[dtype])
    assert [bits(p.grad) for p in ours] == given
    for p, q in zip(ours, apart, strict=True):
        assert (np.abs(wide(p) - wide(q)) <= 8 * EPS[dtype] * (np.abs(wide(q)) + 0.2)).all()


def test_a_step_that_clips_what_is_not_a_number():
    w = dl.ones((3,), requires_grad=True)
    w.grad = dl.tensor([1.0, math.nan, 2.0])
    o = optim.SGD([w], lr=0.1)
    o.step(max_norm=1.0)
    assert math.isnan(o.grad_norm) and all(math.isnan(x) for x in w.tolist())
