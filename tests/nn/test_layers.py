"""Layers against NumPy in float64, their gradients reaching every parameter, and their errors."""

import math

import numpy as np
import pytest

import dlcore as dl
from dlcore import nn
from dlcore.gradcheck import gradcheck
from tests.opcases import EPS

EPS32 = EPS["float32"]


def rand(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def close(ours, expected, magnitude):
    """|ours - expected| in units of float32's eps times the sum of magnitudes behind each element."""
    error = np.abs(ours.numpy().astype(np.float64) - expected)
    return bool((error <= 8 * EPS32 * np.broadcast_to(magnitude, expected.shape)).all())


def value(p):
    return p.numpy().astype(np.float64)


@pytest.mark.parametrize("shape", [(3,), (5, 3), (2, 4, 3), (0, 3)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear(shape, bias):
    layer, x = nn.Linear(3, 4, bias=bias), rand(*shape).astype(np.float32)
    w, b = value(layer.weight), value(layer.bias) if bias else np.zeros(4)
    y = layer(dl.tensor(x))
    assert y.shape == (*shape[:-1], 4)
    assert close(y, x.astype(np.float64) @ w.T + b, np.abs(x) @ np.abs(w).T + np.abs(b))


def test_linear_learns():
    layer = nn.Linear(3, 2)
    layer(dl.tensor(rand(5, 3), dtype=dl.float32)).sum().backward()
    assert layer.weight.grad.shape == (2, 3) and layer.bias.grad.tolist() == [5.0, 5.0]
    layer.double()
    x = dl.tensor(rand(5, 3), requires_grad=True)
    assert gradcheck(lambda x, w, b: dl.linear(x, w, b), (x, *layer.parameters()))


def test_embedding():
    layer = nn.Embedding(5, 3, padding_idx=1)
    tokens = dl.tensor([[0, 1], [4, 4]])
    y = layer(tokens)
    assert np.array_equal(y.numpy(), layer.weight.numpy()[tokens.numpy()])
    y.sum().backward()
    assert layer.weight.grad.numpy()[:, 0].tolist() == [1.0, 0.0, 0.0, 0.0, 2.0]


def test_layer_norm():
    x = rand(4, 2, 3).astype(np.float32)
    for shape in ((3,), (2, 3)):
        layer = nn.LayerNorm(shape if len(shape) > 1 else 3)
        nn.init.normal_(layer.weight)
        nn.init.normal_(layer.bias)
        axes = tuple(range(3 - len(shape), 3))
        x64 = x.astype(np.float64)
        mean, var = x64.mean(axes, keepdims=True), x64.var(axes, keepdims=True)
        expected = (x64 - mean) / np.sqrt(var + 1e-5) * value(layer.weight) + value(layer.bias)
        magnitude = 4 * (np.abs(x64) + np.abs(mean)) / np.sqrt(var + 1e-5) * np.abs(value(layer.weight)) + 1
        assert close(layer(dl.tensor(x)), expected, magnitude)
    plain = nn.LayerNorm(3, elementwise_affine=False)
    assert list(plain.parameters()) == [] and plain(dl.tensor(x)).shape == x.shape
    assert [n for n, _ in nn.LayerNorm(3, bias=False).named_parameters()] == ["weight"]


def test_batch_norm_follows_the_batches():
    layer, x = nn.BatchNorm1d(3), rand(6, 3, 4).astype(np.float32)
    mean, var = x.astype(np.float64).mean((0, 2)), x.astype(np.float64).var((0, 2), ddof=1)
    y = layer(dl.tensor(x))
    assert close(layer.running_mean, 0.1 * mean, 1) and close(layer.running_var, 0.9 + 0.1 * var, 1)
    assert layer.num_batches_tracked.item() == 1
    assert close(y.mean((0, 2)), np.zeros(3), 1) and not layer.running_mean.requires_grad
    layer.eval()
    shifted = (x - value(layer.running_mean)[:, None]) / np.sqrt(value(layer.running_var)[:, None] + 1e-5)
    assert close(layer(dl.tensor(x)), shifted, np.abs(shifted) + 1)
    assert layer.num_batches_tracked.item() == 1

    average = nn.BatchNorm1d(3, momentum=None)
    batches = [rand(5, 3, seed=i).astype(np.float32) for i in range(4)]
    for batch in batches:
        average(dl.tensor(batch))
    assert close(average.running_mean, np.mean([b.mean(0) for b in batches], 0), 1)
    average.reset_running_stats()
    assert average.running_mean.tolist() == [0.0] * 3 and average.running_var.tolist() == [1.0] * 3
    assert average.num_batches_tracked.item() == 0


def test_batch_norm_changes_what_it_was_given():
    """The same memory: a buffer that is shared, or was handed out by state_dict, goes on showing the statistics."""
    layer = nn.BatchNorm2d(2)
    state = layer.state_dict()
    assert list(state) == ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    layer(dl.tensor(rand(2, 2, 3, 3), dtype=dl.float32))
    assert state["running_mean"].tolist() == layer.running_mean.tolist() != [0.0, 0.0]
    assert state["num_batches_tracked"].item() == 1
    strided = dl.zeros((2, 3))[:, 1]
    dl.nn.functional.batch_norm(
        dl.tensor([[1.0, 2.0], [3.0, 6.0]]), strided, dl.ones((2,)), training=True, momentum=0.5
    )
    assert strided.tolist() == [1.0, 2.0]


def test_batch_norm_gradient_outlives_a_later_step():
    """In evaluation too: the statistics that a result was made with, not those that a later step left."""
    layer = nn.BatchNorm1d(2).eval()
    x = dl.tensor(rand(4, 2), dtype=dl.float32, requires_grad=True)
    y = layer(x)
    layer.train()(dl.tensor(5 * rand(4, 2), dtype=dl.float32))
    y.sum().backward()
    assert close(x.grad, np.full((4, 2), 1 / np.sqrt(1 + 1e-5)), 1)
    assert list(nn.BatchNorm1d(2, affine=False).parameters()) == []
    assert list(nn.BatchNorm1d(2, track_running_stats=False).state_dict()) == ["weight", "bias"]


@pytest.mark.parametrize(
    "make, shape, text",
    [
        (lambda: nn.BatchNorm1d(3), (3,), "[BatchNorm1d] expected (N, C) or (N, C, L), got 1 dimensions (input (3,))"),
        (lambda: nn.BatchNorm1d(3), (2, 3, 4, 5), "[BatchNorm1d] expected (N, C) or (N, C, L), got 4 dimensions"),
        (lambda: nn.BatchNorm2d(3), (2, 3), "[BatchNorm2d] expected (N, C, H, W), got 2 dimensions (input (2, 3))"),
        (lambda: nn.BatchNorm2d(3), (2, 4, 1, 2), "[BatchNorm2d] expected 3 channels, got 4 (input (2, 4, 1, 2))"),
        (lambda: nn.BatchNorm1d(3), (1, 3), "[batch_norm] expected more than one value per channel in training"),
        (lambda: nn.BatchNorm1d(0), (1, 3), "[BatchNorm1d] num_features must be an integer of at least 1, got 0"),
    ],
)
def test_batch_norm_errors(make, shape, text):
    with pytest.raises(ValueError) as caught:
        make()(dl.zeros(shape))
    assert text in str(caught.value)


def test_batch_norm_refuses_statistics_it_cannot_change():
    x, plain = dl.ones((2, 3)), dl.zeros((3,))
    for mean, text in (
        (dl.zeros((3,), requires_grad=True), "[batch_norm] expected running_mean that requires no gradient"),
        (dl.zeros((1,)).expand((3,)), "[batch_norm] the target of shape (3,) is an expanded view"),
    ):
        with pytest.raises(ValueError) as caught:
            dl.nn.functional.batch_norm(x, mean, plain, training=True)
        assert text in str(caught.value)
    with pytest.raises(TypeError) as caught_type:
        nn.BatchNorm1d(3)(np.zeros((2, 3)))
    assert "[BatchNorm1d] expected a Tensor, got ndarray" in str(caught_type.value)


def test_dropout():
    layer = nn.Dropout(0.25)
    x = dl.ones((10_000,))
    dl.manual_seed(0)
    y = layer(x).numpy()
    assert set(np.unique(y)) == {0.0, np.float32(1 / 0.75)}
    assert abs((y == 0).mean() - 0.25) < 5 * math.sqrt(0.25 * 0.75 / 10_000)
    assert layer.eval()(x) is x


def conv_reference(x, w, b, stride, padding, dilation, groups):
    """The definition, by loops over the kernel."""
    N, C, _, _ = x.shape
    K, _, kh, kw = w.shape
    x = np.pad(x, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2))
    H = (x.shape[2] - dilation[0] * (kh - 1) - 1) // stride[0] + 1
    W = (x.shape[3] - dilation[1] * (kw - 1) - 1) // stride[1] + 1
    y = np.zeros((N, K, H, W)) + b[:, None, None]
    for k in range(K):
        channels = slice(k // (K // groups) * (C // groups), (k // (K // groups) + 1) * (C // groups))
        for u in range(kh):
            for v in range(kw):
                rows = slice(u * dilation[0], u * dilation[0] + stride[0] * (H - 1) + 1, stride[0])
                cols = slice(v * dilation[1], v * dilation[1] + stride[1] * (W - 1) + 1, stride[1])
                y[:, k] += np.einsum("nchw,c->nhw", x[:, channels, rows, cols], w[k, :, u, v])
    return y


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 2, "padding": 1},
        {"stride": (1, 2), "padding": (2, 0), "dilation": (1, 2)},
        {"groups": 2, "bias": False},
        {"padding": "valid"},
        {"padding": "same", "dilation": 2},
    ],
    ids=str,
)
def test_conv2d(options):
    layer, x = nn.Conv2d(4, 6, 3, **options), rand(2, 4, 9, 8).astype(np.float32)
    padding = {"valid": (0, 0), "same": layer.dilation}.get(layer.padding, layer.padding)
    w, b = value(layer.weight), value(layer.bias) if layer.bias is not None else np.zeros(6)
    args = (layer.stride, padding, layer.dilation, layer.groups)
    y = layer(dl.tensor(x))
    magnitude = conv_reference(np.abs(x), np.abs(w), np.abs(b), *args)
    assert close(y, conv_reference(x.astype(np.float64), w, b, *args), magnitude)
    if options.get("padding") == "same":
        assert y.shape == (2, 6, 9, 8)
    single = layer(dl.tensor(x[0]))
    assert single.shape == y.shape[1:] and np.array_equal(single.numpy(), layer(dl.tensor(x[:1])).numpy()[0])
    y.sum().backward()
    assert layer.weight.grad.shape == layer.weight.shape


def test_pools():
    x = rand(2, 3, 6, 8).astype(np.float32)
    t = dl.tensor(x)
    blocks = x.reshape(2, 3, 3, 2, 4, 2)
    assert np.array_equal(nn.MaxPool2d(2)(t).numpy(), blocks.max((3, 5)))
    mean = blocks.astype(np.float64).mean((3, 5))
    assert close(nn.AvgPool2d(2)(t), mean, np.abs(blocks).mean((3, 5)))
    assert close(nn.AdaptiveAvgPool2d((3, 4))(t), mean, np.abs(blocks).mean((3, 5)))
    whole = nn.AdaptiveAvgPool2d(1)(t)
    assert whole.shape == (2, 3, 1, 1)
    assert close(whole, x.astype(np.float64).mean((2, 3), keepdims=True), np.abs(x).mean((2, 3), keepdims=True))
    assert nn.MaxPool2d(3, stride=2, padding=1)(t).shape == (2, 3, 3, 4)
    assert nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False)(dl.ones((1, 1, 5, 5))).tolist() == [
        [[[1.0] * 3] * 3]
    ]


def test_output_size():
    layer, x = nn.ConvTranspose2d(3, 4, 3, stride=2), dl.zeros((2, 3, 5, 5))
    assert layer(x).shape == (2, 4, 11, 11)
    assert layer(x, (12, 11)).shape == (2, 4, 12, 11)
    assert layer(x, (2, 4, 11, 12)).shape == (2, 4, 11, 12)


def test_pools_with_indices():
    x = rand(2, 3, 6, 8).astype(np.float32)
    y, index = nn.MaxPool2d(2, return_indices=True)(dl.tensor(x))
    assert np.array_equal(
        np.take_along_axis(x.reshape(2, 3, -1), index.numpy().reshape(2, 3, -1), -1).ravel(), y.numpy().ravel()
    )
    y, index = nn.MaxPool1d(3, return_indices=True)(dl.tensor(x[:, 0]))
    assert np.array_equal(np.take_along_axis(x[:, 0], index.numpy(), -1), y.numpy())


def test_flatten_and_identity():
    x = dl.zeros((2, 3, 4, 5))
    assert nn.Flatten()(x).shape == (2, 60) and nn.Flatten(0, 1)(x).shape == (6, 4, 5)
    assert nn.Identity(3, unused="anything")(x) is x


X = np.array([-30.0, -2.5, -1.0, -0.0, 0.0, 0.3, 1.0, 4.0, 30.0])
erf = np.vectorize(math.erf)
# What the error of a plain formula goes with besides the result: 1 + erf nearly cancels, the logarithm is of a sum of
# order 1, and exp multiplies the rounding of its argument by the result.
MORE = {
    nn.GELU: np.abs,
    nn.LogSoftmax: np.ones_like,
    nn.Softmax: lambda x: np.exp(x - x.max()) * (x.max() - x),
}
ACTIVATIONS = [
    (nn.ReLU(), lambda x: np.maximum(x, 0)),
    (nn.LeakyReLU(0.2), lambda x: np.where(x > 0, x, 0.2 * x)),
    (nn.ELU(1.5), lambda x: np.where(x > 0, x, 1.5 * np.expm1(x))),
    (nn.GELU(), lambda x: x * (1 + erf(x / math.sqrt(2))) / 2),
    (nn.GELU("tanh"), lambda x: x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2),
    (nn.SiLU(), lambda x: x / (1 + np.exp(-x))),
    (nn.Sigmoid(), lambda x: 1 / (1 + np.exp(-x))),
    (nn.Tanh(), np.tanh),
    (nn.Softplus(2.0, 10.0), lambda x: np.where(2 * x > 10, x, np.log1p(np.exp(2 * np.minimum(x, 20))) / 2)),
    (nn.Softmax(0), lambda x: np.exp(x - x.max()) / np.exp(x - x.max()).sum()),
    (nn.LogSoftmax(0), lambda x: x - x.max() - np.log(np.exp(x - x.max()).sum())),
]


@pytest.mark.parametrize("layer, reference", ACTIVATIONS, ids=lambda v: str(v) if isinstance(v, nn.Module) else "")
def test_activations(layer, reference):
    x = X.astype(np.float32).astype(np.float64)
    y = layer(dl.tensor(X, dtype=dl.float32))
    assert close(y, reference(x), np.abs(reference(x)) + MORE.get(type(layer), np.zeros_like)(x))
    leaf = dl.tensor(X, dtype=dl.float32, requires_grad=True)
    layer(leaf).sum().backward()
    assert np.isfinite(leaf.grad.numpy()).all()


LAYER_ERRORS = [
    (lambda: nn.Linear(3, 4)(dl.zeros((2, 5))), ValueError, "[Linear] expected last dimension 3, got 5 (input (2, 5))"),
    (
        lambda: nn.Linear(3, 4)(dl.zeros(())),
        ValueError,
        "[Linear] expected last dimension 3, got a single number (input ())",
    ),
    (lambda: nn.Linear(3, 4)([1.0]), TypeError, "[Linear] expected a Tensor, got list"),
    (lambda: nn.Linear(0, 4), ValueError, "[Linear] in_features must be an integer of at least 1, got 0"),
    (lambda: nn.Linear(3, 2.5), ValueError, "[Linear] out_features must be an integer of at least 1, got 2.5"),
    (
        lambda: nn.Embedding(3, 4, padding_idx=3),
        ValueError,
        "[Embedding] padding_idx 3 is out of range for 3 embeddings",
    ),
    (
        lambda: nn.LayerNorm(3)(dl.zeros((3, 4))),
        ValueError,
        "[LayerNorm] expected last dimension 3, got 4 (input (3, 4))",
    ),
    (
        lambda: nn.LayerNorm((2, 3))(dl.zeros((3, 4))),
        ValueError,
        "[LayerNorm] expected last dimensions (2, 3), got (3, 4) (input (3, 4))",
    ),
    (lambda: nn.LayerNorm(3)(None), TypeError, "[LayerNorm] expected a Tensor, got NoneType"),
    (lambda: nn.RMSNorm(3)(dl.zeros((3, 4))), ValueError, "[RMSNorm] expected last dimension 3, got 4 (input (3, 4))"),
    (lambda: nn.RMSNorm(0), ValueError, "[RMSNorm] expected sizes of at least 1, got normalized_shape 0"),
    (lambda: nn.RMSNorm(3)(None), TypeError, "[RMSNorm] expected a Tensor, got NoneType"),
    (
        lambda: nn.GroupNorm(4, 6),
        ValueError,
        "[GroupNorm] num_channels must be a multiple of num_groups, got 6 channels and 4 groups",
    ),
    (lambda: nn.GroupNorm(2, 6)(dl.zeros((3, 4))), ValueError, "[GroupNorm] expected (N, 6, ...), got input (3, 4)"),
    (lambda: nn.GroupNorm(2, 6)(None), TypeError, "[GroupNorm] expected a Tensor, got NoneType"),
    (lambda: nn.LayerNorm(()), ValueError, "[LayerNorm] expected sizes of at least 1, got normalized_shape ()"),
    (
        lambda: nn.Unflatten(1, (2, 3))(dl.zeros((4, 5))),
        ValueError,
        "[Unflatten] cannot show dimension 1 of (4, 5) as (2, 3)",
    ),
    (lambda: nn.Dropout(1.5), ValueError, "[Dropout] expected a probability p in [0, 1], got 1.5"),
    (
        lambda: nn.Conv2d(3, 4, 3)(dl.zeros((1, 2, 5, 5))),
        ValueError,
        "[Conv2d] expected 3 channels, got 2 (input (1, 2, 5, 5))",
    ),
    (
        lambda: nn.Conv2d(3, 4, 3)(dl.zeros((2, 5))),
        ValueError,
        "[Conv2d] expected (N, C, H, W) or (C, H, W), got 2 dimensions (input (2, 5))",
    ),
    (lambda: nn.Conv2d(3, 4, 3)("image"), TypeError, "[Conv2d] expected a Tensor, got str"),
    (
        lambda: nn.Conv2d(3, 4, 3, groups=2),
        ValueError,
        "[Conv2d] in_channels and out_channels must be multiples of groups, got 3, 4 and 2 groups",
    ),
    (
        lambda: nn.Conv2d(3, 4, 3, padding="half"),
        ValueError,
        "[Conv2d] expected padding as numbers, 'same' or 'valid', got 'half'",
    ),
    (
        lambda: nn.Conv2d(3, 4, 3, stride=2, padding="same"),
        ValueError,
        "[Conv2d] padding 'same' needs stride 1, got (2, 2)",
    ),
    (
        lambda: nn.Conv2d(3, 4, 3, padding_mode="mirror"),
        ValueError,
        "[Conv2d] expected padding_mode of ('zeros', 'reflect', 'replicate', 'circular'), got 'mirror'",
    ),
    (
        lambda: nn.Conv1d(3, 4, 3)(dl.zeros((1, 2, 5))),
        ValueError,
        "[Conv1d] expected 3 channels, got 2 (input (1, 2, 5))",
    ),
    (
        lambda: nn.Conv3d(3, 4, 3)(dl.zeros((2, 5))),
        ValueError,
        "[Conv3d] expected (N, C, D, H, W) or (C, D, H, W), got 2 dimensions (input (2, 5))",
    ),
    (
        lambda: nn.Conv1d(3, 4, (3, 3)),
        ValueError,
        "[Conv1d] kernel_size must be a number or one in a tuple, got (3, 3)",
    ),
    (
        lambda: nn.ConvTranspose2d(3, 4, 3, padding="same"),
        ValueError,
        "[ConvTranspose2d] expected padding as numbers, got 'same'",
    ),
    (
        lambda: nn.ConvTranspose2d(3, 4, 3, stride=2)(dl.zeros((3, 5, 5)), (11, 13)),
        ValueError,
        "[ConvTranspose2d] expected output_size between (11, 11) and (12, 12), got (11, 13)",
    ),
    (
        lambda: nn.MaxPool3d(2, return_indices=True),
        ValueError,
        "[MaxPool3d] indices are not available, got return_indices=True",
    ),
    (
        lambda: nn.MaxPool2d(2)(dl.zeros((5, 5))),
        ValueError,
        "[MaxPool2d] expected (N, C, H, W) or (C, H, W), got 2 dimensions (input (5, 5))",
    ),
    (lambda: nn.GELU("fast"), ValueError, "[GELU] expected approximate='none' or 'tanh', got 'fast'"),
]


@pytest.mark.parametrize("call, error, text", LAYER_ERRORS, ids=[text for _, _, text in LAYER_ERRORS])
def test_errors(call, error, text):
    with pytest.raises(error) as e:
        call()
    assert str(e.value) == text


def test_from_parameters():
    embedding = nn.Embedding(7, 3)
    head = nn.Linear.from_parameters(embedding.weight)
    assert head.weight is embedding.weight and head.bias is None
    assert repr(head) == "Linear(in_features=3, out_features=7, bias=False)"
    assert head(dl.ones((2, 3))).shape == (2, 7)


def test_summary_counts():
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 10))
    summary = net.summary(dl.zeros((2, 3, 8, 8)))
    conv, relu, pool, flat, linear = summary.layers[1:]
    assert conv.output_shape == (2, 8, 8, 8) and conv.parameters == 8 * 27 + 8
    assert conv.multiply_adds == 2 * 8 * 64 * 27 and conv.activation_bytes == 4 * 2 * 8 * 64
    assert relu.activation_bytes == conv.activation_bytes and pool.output_shape == (2, 8, 4, 4)
    assert flat.activation_bytes == 0  # a view
    assert linear.multiply_adds == 2 * 128 * 10 and linear.parameters == 1290
    assert summary.parameters == 224 + 1290 and summary.multiply_adds == 27648 + 2560
    lines = str(summary).splitlines()
    assert lines[0].split() == ["layer", "type", "output", "shape", "parameters", "multiply-adds", "activations"]
    assert lines[3].split() == ["0", "Conv2d", "(2,", "8,", "8,", "8)", "224", "27,648", "4.0", "KiB"]
    assert lines[-1].split()[:3] == ["total", "1,514", "30,208"]
    assert len({len(line) for line in lines}) == 1
