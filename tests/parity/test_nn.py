"""Every module against PyTorch's: state_dict both ways, printing, values, gradients of inputs and parameters."""

import copy

import numpy as np
import pytest
import torch

import dlcore as dl
from dlcore import nn
from tests.parity.compare import assert_as_good

rng = np.random.default_rng(0)


def normal(*shape):
    return rng.standard_normal(shape).astype(np.float32)


@pytest.fixture(autouse=True)
def same_numbers_in_any_order():
    global rng
    rng = np.random.default_rng(1)


def to_torch(x, dtype=None):
    t = torch.from_numpy(np.array(x))
    return t.to(dtype) if dtype is not None and t.is_floating_point() else t


def load_into_torch(ours, theirs):
    theirs.load_state_dict({k: to_torch(v.numpy()) for k, v in ours.state_dict().items()})
    return theirs


def check(ours, theirs, *inputs, call=lambda module, *args: module(*args), products=1):
    """Values and gradients of one call, with a random gradient of the output."""
    load_into_torch(ours, theirs)
    runs = {}
    for name, dtype in (("theirs", torch.float32), ("truth", torch.float64)):
        module = copy.deepcopy(theirs).to(dtype)
        args = [to_torch(x, dtype) for x in inputs]
        leaves = [a.requires_grad_() for a in args if a.is_floating_point()]
        runs[name] = (module, leaves, call(module, *args))
    args = [dl.tensor(x) for x in inputs]
    leaves = [a.requires_grad_() for a in args if a.dtype.is_floating_point]
    runs["ours"] = (ours, leaves, call(ours, *args))
    dy = normal(*runs["ours"][2].shape)
    runs["ours"][2].backward(dl.tensor(dy))
    for name in ("theirs", "truth"):
        runs[name][2].backward(to_torch(dy, runs[name][2].dtype))

    def compare(select, what):
        if select(runs["theirs"]) is None:  # a parameter that the output does not depend on
            assert select(runs["ours"]) is None
            return
        assert_as_good(select(runs["ours"]), select(runs["theirs"]), select(runs["truth"]), what, products)

    compare(lambda run: run[2], "output")
    for i in range(len(leaves)):
        compare(lambda run, i=i: run[1][i].grad, f"gradient of input {i}")
    for name, p in theirs.named_parameters():
        if p.requires_grad:
            compare(lambda run, name=name: dict(run[0].named_parameters())[name].grad, f"gradient of {name}")
    ours.zero_grad()


MODULES = {
    "Linear": (lambda m: m.Linear(13, 7), normal(5, 13)),
    "Linear batched": (lambda m: m.Linear(13, 7, bias=False), normal(2, 3, 13)),
    "Conv2d": (lambda m: m.Conv2d(4, 6, 3), normal(2, 4, 9, 8)),
    "Conv2d strided": (lambda m: m.Conv2d(4, 6, (3, 2), stride=2, padding=1, bias=False), normal(2, 4, 9, 8)),
    "Conv2d dilated": (lambda m: m.Conv2d(4, 6, 3, dilation=2, padding=(2, 0)), normal(2, 4, 9, 8)),
    "Conv2d grouped": (lambda m: m.Conv2d(4, 6, 3, groups=2, padding="same"), normal(2, 4, 9, 8)),
    "Conv2d depthwise": (lambda m: m.Conv2d(4, 8, 3, groups=4, padding="valid"), normal(4, 9, 8)),
    "Conv2d reflected": (lambda m: m.Conv2d(4, 6, 3, padding=(1, 2), padding_mode="reflect"), normal(2, 4, 9, 8)),
    "Conv2d circular": (lambda m: m.Conv2d(4, 6, 4, padding="same", padding_mode="circular"), normal(2, 4, 9, 8)),
    "Conv1d": (lambda m: m.Conv1d(4, 6, 3, stride=2, padding=1), normal(2, 4, 17)),
    "Conv1d same": (lambda m: m.Conv1d(4, 6, 4, padding="same", groups=2, bias=False), normal(4, 17)),
    "Conv1d replicated": (lambda m: m.Conv1d(4, 6, 5, padding=2, padding_mode="replicate"), normal(2, 4, 17)),
    "Conv3d": (lambda m: m.Conv3d(2, 4, 3, padding=1), normal(2, 2, 4, 5, 6)),
    "Conv3d strided": (
        lambda m: m.Conv3d(2, 4, (2, 3, 1), (2, 1, 2), (1, 0, 1), dilation=(1, 2, 1)),
        normal(2, 4, 7, 6),
    ),
    "ConvTranspose2d": (lambda m: m.ConvTranspose2d(4, 6, 4, 2, 1), normal(2, 4, 5, 6)),
    "ConvTranspose2d more": (
        lambda m: m.ConvTranspose2d(4, 6, (3, 2), (2, 3), 1, (1, 2), groups=2, bias=False, dilation=2),
        normal(4, 5, 6),
    ),
    "ConvTranspose1d": (lambda m: m.ConvTranspose1d(4, 6, 4, 2, 1, output_padding=1), normal(2, 4, 9)),
    "LayerNorm": (lambda m: m.LayerNorm(13), normal(5, 13)),
    "LayerNorm two": (lambda m: m.LayerNorm((3, 13), eps=1e-3), normal(2, 3, 13)),
    "LayerNorm plain": (lambda m: m.LayerNorm(13, elementwise_affine=False), normal(5, 13)),
    "LayerNorm shifted": (lambda m: m.LayerNorm(64), 1e4 + normal(5, 64)),
    "RMSNorm": (lambda m: m.RMSNorm(13), normal(5, 13)),
    "RMSNorm two": (lambda m: m.RMSNorm((3, 13), eps=1e-3), normal(2, 3, 13)),
    "RMSNorm plain": (lambda m: m.RMSNorm(13, elementwise_affine=False), normal(5, 13)),
    "RMSNorm shifted": (lambda m: m.RMSNorm(64), 1e4 + normal(5, 64)),
    "GroupNorm": (lambda m: m.GroupNorm(2, 6), normal(3, 6, 9, 8)),
    "GroupNorm one": (lambda m: m.GroupNorm(1, 6, eps=1e-3), normal(3, 6)),
    "GroupNorm unlearned": (lambda m: m.GroupNorm(3, 6, affine=False), normal(3, 6, 17)),
    "GroupNorm shifted": (lambda m: m.GroupNorm(3, 6), 1e4 + normal(2, 6, 9, 8)),
    "BatchNorm1d": (lambda m: m.BatchNorm1d(13), normal(5, 13)),
    "BatchNorm1d runs": (lambda m: m.BatchNorm1d(13, eps=1e-3, momentum=None), normal(5, 13, 17)),
    "BatchNorm1d untracked": (lambda m: m.BatchNorm1d(13, track_running_stats=False), normal(5, 13)),
    "BatchNorm2d": (lambda m: m.BatchNorm2d(4, momentum=0.3), normal(3, 4, 9, 8)),
    "BatchNorm2d unlearned": (lambda m: m.BatchNorm2d(4, affine=False), normal(3, 4, 9, 8)),
    "BatchNorm2d unbiased": (lambda m: m.BatchNorm2d(4, bias=False), normal(3, 4, 9, 8)),
    "BatchNorm2d shifted": (lambda m: m.BatchNorm2d(4), 1e4 + normal(3, 4, 9, 8)),
    "BatchNorm2d evaluated": (lambda m: m.BatchNorm2d(4).eval(), normal(3, 4, 9, 8)),
    "MaxPool2d": (lambda m: m.MaxPool2d(3, 2, padding=1), normal(2, 3, 9, 8)),
    "MaxPool2d ceil": (lambda m: m.MaxPool2d((2, 3), ceil_mode=True, dilation=(2, 1)), normal(2, 3, 9, 8)),
    "AvgPool2d": (lambda m: m.AvgPool2d(3, 2, padding=1), normal(2, 3, 9, 8)),
    "AvgPool2d inside": (lambda m: m.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False), normal(2, 3, 9, 8)),
    "AdaptiveAvgPool2d": (lambda m: m.AdaptiveAvgPool2d((4, 3)), normal(2, 3, 9, 8)),
    "MaxPool1d": (lambda m: m.MaxPool1d(3, 2, padding=1, ceil_mode=True), normal(2, 3, 16)),
    "MaxPool3d": (lambda m: m.MaxPool3d((2, 3, 2), (1, 2, 2), 1), normal(2, 3, 5, 6, 7)),
    "AvgPool1d": (lambda m: m.AvgPool1d(3, 2, 1, count_include_pad=False), normal(3, 16)),
    "AvgPool2d divided": (lambda m: m.AvgPool2d(3, divisor_override=4), normal(2, 3, 9, 8)),
    "AvgPool3d": (lambda m: m.AvgPool3d(3, 2, 1, ceil_mode=True), normal(2, 3, 5, 6, 7)),
    "AdaptiveAvgPool1d": (lambda m: m.AdaptiveAvgPool1d(4), normal(2, 3, 9)),
    "AdaptiveAvgPool3d": (lambda m: m.AdaptiveAvgPool3d((2, None, 3)), normal(2, 3, 5, 4, 7)),
    "AdaptiveMaxPool1d": (lambda m: m.AdaptiveMaxPool1d(4), normal(2, 3, 9)),
    "AdaptiveMaxPool2d": (lambda m: m.AdaptiveMaxPool2d((4, 3)), normal(2, 3, 9, 8)),
    "AdaptiveMaxPool3d": (lambda m: m.AdaptiveMaxPool3d((2, 3, 3)), normal(3, 5, 4, 7)),
    "Flatten": (lambda m: m.Flatten(), normal(2, 3, 4)),
    "Unflatten": (lambda m: m.Unflatten(1, (2, -1)), normal(3, 8, 5)),
    "Identity": (lambda m: m.Identity(), normal(2, 3)),
    "ReLU": (lambda m: m.ReLU(), normal(5, 13)),
    "LeakyReLU": (lambda m: m.LeakyReLU(0.2), normal(5, 13)),
    "ELU": (lambda m: m.ELU(0.7), normal(5, 13)),
    "GELU": (lambda m: m.GELU(), 3 * normal(5, 13)),
    "GELU tanh": (lambda m: m.GELU(approximate="tanh"), 3 * normal(5, 13)),
    "SiLU": (lambda m: m.SiLU(), 3 * normal(5, 13)),
    "Tanh": (lambda m: m.Tanh(), normal(5, 13)),
    "Sigmoid": (lambda m: m.Sigmoid(), normal(5, 13)),
    "Softplus": (lambda m: m.Softplus(2.0, 3.0), 3 * normal(5, 13)),
    "Softmax": (lambda m: m.Softmax(dim=1), normal(5, 13)),
    "LogSoftmax": (lambda m: m.LogSoftmax(dim=0), normal(5, 13)),
    "Sequential": (lambda m: m.Sequential(m.Linear(13, 8), m.Tanh(), m.Linear(8, 3)), normal(5, 13)),
}


@pytest.mark.parametrize("name", MODULES)
def test_modules(name):
    make, x = MODULES[name]
    dl.manual_seed(0)
    check(make(nn), make(torch.nn), x)


@pytest.mark.parametrize("name", [n for n in MODULES if "plain" not in n])
def test_printing_and_keys(name):
    make, _ = MODULES[name]
    ours, theirs = make(nn), make(torch.nn)
    # PyTorch has words for what does not exist here, and leaves LayerNorm's bias out.
    expected = str(theirs).replace(", inplace=False", "").replace(", bias=True", "")
    assert str(ours).replace(", bias=True", "") == expected
    assert [(k, v.shape) for k, v in ours.state_dict().items()] == [
        (k, tuple(v.shape)) for k, v in theirs.state_dict().items()
    ]


def test_their_state_into_ours():
    theirs = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.LayerNorm(5))
    ours = nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5))
    ours.load_state_dict({k: dl.from_dlpack(v.detach()) for k, v in theirs.state_dict().items()})
    x = normal(3, 4)
    assert_as_good(ours(dl.tensor(x)), theirs(to_torch(x)), theirs.double()(to_torch(x, torch.float64)))


BATCHES = {"1d": lambda: normal(6, 5), "runs": lambda: normal(3, 5, 7), "2d": lambda: normal(3, 5, 4, 6)}


@pytest.mark.parametrize(
    "options", [{}, {"momentum": None}, {"momentum": 0.0}, {"track_running_stats": False}], ids=str
)
@pytest.mark.parametrize("kind", BATCHES)
def test_batch_norm_over_several_steps(kind, options):
    """Training, then evaluation, then the state there and back; the running statistics after each step."""
    name = "BatchNorm2d" if kind == "2d" else "BatchNorm1d"
    ours = getattr(nn, name)(5, **options)
    nn.init.uniform_(ours.weight, 0.5, 1.5)
    nn.init.uniform_(ours.bias, -1.0, 1.0)
    theirs = load_into_torch(ours, getattr(torch.nn, name)(5, **options))
    truth = copy.deepcopy(theirs).double()

    def compare_states():
        for key, value in truth.state_dict().items():
            assert_as_good(ours.state_dict()[key], theirs.state_dict()[key], value, key)

    for training in (True, True, True, False, True, False):
        for module in (ours, theirs, truth):
            module.train(training)
        x = 2 * BATCHES[kind]() + 3
        assert_as_good(ours(dl.tensor(x)), theirs(to_torch(x)), truth(to_torch(x, torch.float64)), "output")
        compare_states()
    again = getattr(nn, name)(5, **options).eval()
    again.load_state_dict({k: dl.from_dlpack(v.detach()) for k, v in theirs.state_dict().items()})
    assert_as_good(again(dl.tensor(x)), theirs(to_torch(x)), truth(to_torch(x, torch.float64)), "their state in ours")
    back = load_into_torch(ours, copy.deepcopy(theirs))
    assert_as_good(ours(dl.tensor(x)), back(to_torch(x)), truth(to_torch(x, torch.float64)), "our state in theirs")


@pytest.mark.parametrize("shape", [(0, 5, 4, 6), (3, 5, 0, 6)])
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_of_nothing(shape, training):
    ours, theirs = nn.BatchNorm2d(5).train(training), torch.nn.BatchNorm2d(5).train(training)
    x, y = dl.zeros(shape).requires_grad_(), torch.zeros(shape).requires_grad_()
    ours(x).sum().backward()
    theirs(y).sum().backward()
    assert x.grad.shape == shape
    for a, b in ((ours.weight, theirs.weight), (ours.bias, theirs.bias)):
        assert a.grad.tolist() == b.grad.tolist()
    for key, value in theirs.state_dict().items():
        assert ours.state_dict()[key].tolist() == value.tolist(), key


@pytest.mark.parametrize("shape", [(1, 5), (1, 5, 1)])
def test_batch_norm_of_one_value(shape):
    for module, zeros in ((nn.BatchNorm1d(5), dl.zeros), (torch.nn.BatchNorm1d(5), torch.zeros)):
        with pytest.raises(ValueError, match="xpected more than (1|one) value per channel"):
            module(zeros(shape))
        assert module.eval()(zeros(shape)).shape == shape


def test_batch_norm_of_bfloat16():
    """The parameters and running statistics may stay in float32, or become bfloat16 too."""
    x = normal(4, 5, 6)
    for dtype in ("float32", "bfloat16"):
        ours, theirs = nn.BatchNorm1d(5), torch.nn.BatchNorm1d(5)
        ours.to(getattr(dl, dtype))
        theirs.to(getattr(torch, dtype))
        y, z = ours(dl.tensor(x).to(dl.bfloat16)), theirs(to_torch(x).bfloat16())
        assert y.dtype is dl.bfloat16 and ours.running_mean.dtype.name == dtype
        assert np.abs(y.float().numpy() - z.detach().float().numpy()).max() <= 2**-7 * 4
        for name in ("running_mean", "running_var"):
            a, b = getattr(ours, name).float().numpy(), getattr(theirs, name).float().numpy()
            assert np.abs(a - b).max() <= 2**-8


def test_embedding():
    tokens = rng.integers(0, 11, (3, 7))
    check(nn.Embedding(11, 5), torch.nn.Embedding(11, 5), tokens)
    check(nn.Embedding(11, 5, padding_idx=2), torch.nn.Embedding(11, 5, padding_idx=2), tokens)


ATTENTION_PRODUCTS = 4  # projections, scores, weighted values, output
ATTENTION = [
    {},
    {"bias": False},
    {"kdim": 6, "vdim": 10},
    {"batch_first": True},
]
MASKS = {
    "none": {},
    "bool": {"attn_mask": rng.random((5, 7)) > 0.7},
    "float": {"attn_mask": normal(5, 7)},
    "heads": {"attn_mask": normal(2 * 3, 5, 7)},
    "padding": {"key_padding_mask": np.arange(7) >= np.array([[5], [7]])},
    "both": {
        "attn_mask": np.triu(np.ones((5, 7), bool), 2),
        "key_padding_mask": np.arange(7) >= np.array([[5], [7]]),
    },
}


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("options", ATTENTION, ids=str)
def test_attention(options, mask, need_weights):
    ours, theirs = nn.MultiheadAttention(12, 3, **options), torch.nn.MultiheadAttention(12, 3, **options)
    first = options.get("batch_first", False)
    q, k, v = (
        normal(*((2, n, c) if first else (n, 2, c)))
        for n, c in ((5, 12), (7, options.get("kdim", 12)), (7, options.get("vdim", 12)))
    )

    def call(module, q, k, v):
        convert = dl.tensor if module is ours else lambda m: to_torch(m, q.dtype)
        masks = {name: convert(m) for name, m in MASKS[mask].items()}
        y, w = module(q, k, v, need_weights=need_weights, **masks)
        # The weights take part, so that their gradient is compared as well.
        return y if w is None else y + (w * w).sum()

    check(ours, theirs, q, k, v, call=call, products=ATTENTION_PRODUCTS)


@pytest.mark.parametrize("average", [True, False])
def test_attention_weights(average):
    ours, theirs = nn.MultiheadAttention(12, 3), torch.nn.MultiheadAttention(12, 3)
    x = normal(5, 2, 12)
    check(ours, theirs, x, call=lambda m, x: m(x, x, x, average_attn_weights=average)[1], products=2)
    single = normal(5, 12)
    check(ours, theirs, single, call=lambda m, x: m(x, x, x, average_attn_weights=average)[1], products=2)


RECURRENT = {
    "RNN": lambda m, **options: m.RNN(7, 10, **options),
    "RNN relu": lambda m, **options: m.RNN(7, 10, nonlinearity="relu", **options),
    "LSTM": lambda m, **options: m.LSTM(7, 10, **options),
    "GRU": lambda m, **options: m.GRU(7, 10, **options),
}
RECURRENT_OPTIONS = [
    {},
    {"bias": False, "batch_first": True},
    {"num_layers": 3, "bidirectional": True},
    {"num_layers": 2, "dropout": 0.0, "batch_first": True, "bidirectional": True},
]
LENGTHS = {"even": None, "sorted": [6, 4, 4, 1], "unsorted": [2, 6, 1, 4]}


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("options", RECURRENT_OPTIONS, ids=str)
@pytest.mark.parametrize("kind", RECURRENT)
def test_recurrent(kind, options, lengths):
    dl.manual_seed(0)
    ours, theirs = RECURRENT[kind](nn, **options), RECURRENT[kind](torch.nn, **options)
    assert str(ours) == str(theirs)
    assert [(k, v.shape) for k, v in ours.state_dict().items()] == [
        (k, tuple(v.shape)) for k, v in theirs.state_dict().items()
    ]
    first, layers = options.get("batch_first", False), len(theirs.all_weights)
    x, h0, c0 = normal(*((4, 6, 7) if first else (6, 4, 7))), normal(layers, 4, 10), normal(layers, 4, 10)

    def call(module, x, h0, c0):
        tools = nn.utils.rnn if module is ours else torch.nn.utils.rnn
        if lengths != "even":
            x = tools.pack_padded_sequence(x, LENGTHS[lengths], first, enforce_sorted=lengths == "sorted")
        y, last = module(x, (h0, c0) if kind == "LSTM" else h0)
        if lengths != "even":
            y, n = tools.pad_packed_sequence(y, first, 0.5)
            assert n.tolist() == LENGTHS[lengths]
        h_n, c_n = last if kind == "LSTM" else (last, last + 0 * c0)
        ends = (h_n.reshape(-1), c_n.reshape(-1), y.reshape(-1))
        return dl.cat(ends, 0) if module is ours else torch.cat(ends, 0)

    check(ours, theirs, x, h0, c0, call=call)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", ["RNNCell", "LSTMCell", "GRUCell"])
def test_recurrent_cells(kind, bias):
    dl.manual_seed(0)
    ours, theirs = getattr(nn, kind)(7, 10, bias), getattr(torch.nn, kind)(7, 10, bias)
    assert str(ours) == str(theirs)

    def call(module, x, h, c):
        if kind == "LSTMCell":
            y, c = module(x, (h, c))
            return y + 2 * c
        return module(x, h) + 0 * c

    check(ours, theirs, normal(4, 7), normal(4, 10), normal(4, 10), call=call)
    check(ours, theirs, normal(7), normal(10), normal(10), call=call)


A, B = normal(6, 4), normal(6, 4)
PROBABILITIES = rng.uniform(0.01, 0.99, (6, 4)).astype(np.float32)
TRUTHS = (rng.random((6, 4)) < 0.5).astype(np.float32)
LABELS = np.array([0, 3, 1, 1, -100, 2])
DISTRIBUTION = PROBABILITIES / PROBABILITIES.sum(1, keepdims=True)
LOGS = np.log(DISTRIBUTION)
W = np.array([0.5, 1.0, 2.0, 0.25], np.float32)
LOSSES = {
    "MSELoss": ({}, A, B),
    "L1Loss": ({}, A, B),
    "SmoothL1Loss": ({"beta": 0.4}, A, B),
    "HuberLoss": ({"delta": 0.4}, A, B),
    "CrossEntropyLoss": ({}, A, LABELS),
    "CrossEntropyLoss weighted": ({"weight": W, "label_smoothing": 0.2}, A, LABELS),
    "CrossEntropyLoss ignoring": ({"ignore_index": 1}, A, np.maximum(LABELS, 0)),
    "CrossEntropyLoss probabilities": ({"label_smoothing": 0.1, "weight": W}, A, DISTRIBUTION),
    "CrossEntropyLoss large": ({}, 1e4 * A, LABELS),
    "CrossEntropyLoss images": ({"weight": W}, normal(2, 4, 3, 5), rng.integers(0, 4, (2, 3, 5))),
    "NLLLoss": ({"weight": W}, LOGS, LABELS),
    "BCELoss": ({"weight": W}, PROBABILITIES, TRUTHS),
    "BCEWithLogitsLoss": ({"weight": W, "pos_weight": 2 * W}, A, TRUTHS),
    "BCEWithLogitsLoss large": ({}, 1e4 * A, TRUTHS),
    "KLDivLoss": ({}, LOGS[::-1].copy(), DISTRIBUTION),
    "KLDivLoss logs": ({"log_target": True}, LOGS[::-1].copy(), LOGS),
}


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")
@pytest.mark.parametrize("reduction", ["mean", "sum", "none", "batchmean"])
@pytest.mark.parametrize("name", LOSSES)
def test_losses(name, reduction):
    kind = name.split()[0]
    if reduction == "batchmean" and kind != "KLDivLoss":
        with pytest.raises(ValueError, match="expected reduction to be one of"):
            getattr(nn, kind)(reduction=reduction)
        return
    options, x, target = LOSSES[name]
    weights = {k: v for k, v in options.items() if isinstance(v, np.ndarray)}
    plain = {k: v for k, v in options.items() if k not in weights}
    ours = getattr(nn, kind)(reduction=reduction, **plain, **{k: dl.tensor(v) for k, v in weights.items()})
    theirs = getattr(torch.nn, kind)(reduction=reduction, **plain, **{k: to_torch(v) for k, v in weights.items()})

    def call(module, x):
        return module(x, dl.tensor(target) if module is ours else to_torch(target, x.dtype))

    check(ours, theirs, x, call=call)


def test_default_values_have_the_same_ranges():
    """Statistics of the initial values against PyTorch's own draws."""
    dl.manual_seed(0)
    torch.manual_seed(0)
    for make in (
        lambda m: m.Linear(300, 200),
        lambda m: m.Conv2d(16, 32, 5, groups=2),
        lambda m: m.Embedding(300, 100),
        lambda m: m.MultiheadAttention(96, 4),
        lambda m: m.MultiheadAttention(96, 4, kdim=40, vdim=60),
        lambda m: m.LayerNorm(30),
        lambda m: m.LSTM(60, 50),
        lambda m: m.GRUCell(60, 50),
        lambda m: m.BatchNorm1d(30),
    ):
        ours, theirs = make(nn).state_dict(), make(torch.nn).state_dict()
        for key, t in theirs.items():
            a, b = ours[key].numpy(), t.numpy()
            n = a.size
            assert abs(a.std() - b.std()) <= 7 * max(b.std(), 1e-12) / np.sqrt(n), key
            assert abs(a.mean() - b.mean()) <= 7 * max(b.std(), 1e-12) / np.sqrt(n), key
            if n > 10_000 and np.abs(b).max() < 2 * b.std():  # a uniform distribution: the same ends
                assert abs(np.abs(a).max() / np.abs(b).max() - 1) < 0.01, key


@pytest.mark.parametrize(
    "name, kwargs",
    [
        ("xavier_uniform_", {"gain": 2.0}),
        ("xavier_normal_", {}),
        ("kaiming_uniform_", {"a": 0.3}),
        ("kaiming_normal_", {"mode": "fan_out", "nonlinearity": "relu"}),
        ("trunc_normal_", {"std": 0.5, "a": -0.7, "b": 0.4}),
        ("orthogonal_", {"gain": 1.5}),
        ("normal_", {"mean": 0.3}),
        ("uniform_", {"a": -1.0}),
    ],
)
def test_init(name, kwargs):
    ours, theirs = dl.empty((60, 30, 3, 3)), torch.empty(60, 30, 3, 3)
    getattr(nn.init, name)(ours, generator=dl.Generator(0), **kwargs)
    getattr(torch.nn.init, name)(theirs, generator=torch.Generator().manual_seed(0), **kwargs)
    a, b = ours.numpy(), theirs.numpy()
    assert abs(a.std() - b.std()) <= 7 * b.std() / np.sqrt(a.size)
    assert abs(a.mean() - b.mean()) <= 7 * b.std() / np.sqrt(a.size)


@pytest.mark.parametrize("name", ["linear", "conv2d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"])
def test_gain(name):
    assert nn.init.calculate_gain(name) == torch.nn.init.calculate_gain(name)


@pytest.mark.parametrize("bias", [True, False])
def test_fused_convolution(bias):
    ours, bn = nn.Conv2d(5, 7, 3, bias=bias).eval(), nn.BatchNorm2d(7).eval()
    nn.init.uniform_(bn.running_var, 0.5, 2.0)
    for t in (bn.running_mean, bn.weight, bn.bias):
        nn.init.normal_(t)
    theirs = load_into_torch(ours, torch.nn.Conv2d(5, 7, 3, bias=bias).eval())
    their_bn = load_into_torch(bn, torch.nn.BatchNorm2d(7).eval())
    fused, expected = nn.utils.fuse_conv_bn_eval(ours, bn), torch.nn.utils.fuse_conv_bn_eval(theirs, their_bn)
    for name, value in fused.state_dict().items():
        # Square root, quotient and products, once in another order: eight roundings.
        np.testing.assert_allclose(
            value.numpy(), expected.state_dict()[name].numpy(), rtol=8 * 2.0**-24, atol=4 * 2.0**-24
        )
