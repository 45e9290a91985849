"""Dtypes under autocast, operation by operation, against torch.autocast on the CPU."""

import pytest
import torch
import torch.nn.functional as F

import dlcore as dl

X, W, V = (4, 8), (8, 8), (8,)
IMAGE, KERNEL, HEADS = (2, 4, 6, 6), (4, 4, 3, 3), (1, 2, 4, 8)
f32, b16, f64 = "float32", "bfloat16", "float64"

# name: (PyTorch's function, ours, arguments as (shape, dtype) or plain values)
PRODUCTS = {
    "matmul": (torch.matmul, dl.matmul, (X, f32), (W, f32)),
    "matmul of vectors": (torch.matmul, dl.matmul, (V, f32), (V, f32)),
    "matmul, mixed": (torch.matmul, dl.matmul, (X, b16), (W, f32)),
    "matmul, float64": (torch.matmul, dl.matmul, (X, f64), (W, f64)),
    "@": (lambda a, b: a @ b, lambda a, b: a @ b, (X, f32), (W, f32)),
    "mm": (torch.mm, dl.mm, (X, f32), (W, f32)),
    "bmm": (torch.bmm, dl.bmm, ((3, *X), f32), ((3, *W), f32)),
    "mv": (torch.mv, dl.mv, (X, f32), (V, f32)),
    "dot": (torch.dot, dl.dot, (V, f32), (V, f32)),
    "outer": (torch.outer, dl.outer, (V, f32), (V, f32)),
    "addmm": (torch.addmm, dl.addmm, (V, f32), (X, f32), (W, f32)),
    "einsum": (
        lambda a, b: torch.einsum("ij,jk->ik", a, b),
        lambda a, b: dl.einsum("ij,jk->ik", a, b),
        (X, f32),
        (W, f32),
    ),
    "linear": (F.linear, dl.linear, (X, f32), (W, f32), (V, f32)),
    "linear, float64": (F.linear, dl.linear, (X, f64), (W, f64)),
    "conv2d": (F.conv2d, dl.conv2d, (IMAGE, f32), (KERNEL, f32)),
    "conv_transpose2d": (F.conv_transpose2d, dl.conv_transpose2d, (IMAGE, f32), (KERNEL, f32)),
    "attention": (
        F.scaled_dot_product_attention,
        dl.scaled_dot_product_attention,
        (HEADS, f32),
        (HEADS, f32),
        (HEADS, f32),
    ),
}
LOSSES = {
    name: (getattr(F, name), getattr(dl, name), (X, b16), (X, b16))
    for name in (
        "mse_loss",
        "l1_loss",
        "smooth_l1_loss",
        "huber_loss",
        "binary_cross_entropy_with_logits",
        "binary_cross_entropy",
        "cross_entropy",
    )
}
LOSSES["kl_div"] = (
    lambda a, b: F.kl_div(a, b, reduction="sum"),
    lambda a, b: dl.kl_div(a, b, reduction="sum"),
    (X, b16),
    (X, b16),
)
OTHERS = {
    "softmax": (lambda x: F.softmax(x, -1), lambda x: dl.softmax(x, -1), (X, b16)),
    "log_softmax": (lambda x: F.log_softmax(x, -1), lambda x: dl.log_softmax(x, -1), (X, b16)),
    "layer_norm": (
        lambda x, w, b: F.layer_norm(x, V, w, b),
        lambda x, w, b: dl.layer_norm(x, V, w, b),
        (X, b16),
        (V, f32),
        (V, f32),
    ),
    "layer_norm, float32": (lambda x: F.layer_norm(x, V), lambda x: dl.layer_norm(x, V), (X, f32)),
    "batch_norm": (
        lambda x, w, b: F.batch_norm(x, None, None, w, b, True),
        lambda x, w, b: dl.batch_norm(x, None, None, w, b, True),
        (IMAGE, b16),
        ((4,), f32),
        ((4,), f32),
    ),
    "sum": (torch.sum, dl.sum, (X, b16)),
    "mean": (torch.mean, dl.mean, (X, b16)),
    "var": (torch.var, dl.var, (X, b16)),
    "prod": (torch.prod, dl.prod, (X, b16)),
    "logsumexp": (lambda x: torch.logsumexp(x, -1), lambda x: dl.logsumexp(x, -1), (X, b16)),
    "cumsum": (lambda x: torch.cumsum(x, 0), lambda x: dl.cumsum(x, 0), (X, b16)),
    "gelu": (F.gelu, dl.gelu, (X, b16)),
    "relu": (F.relu, dl.relu, (X, b16)),
    "exp": (torch.exp, dl.exp, (X, b16)),
    "pow": (lambda x: x**2, lambda x: x**2, (X, b16)),
    "add, mixed": (torch.add, dl.add, (X, b16), (X, f32)),
    "mul, mixed": (torch.mul, dl.mul, (X, b16), (X, f32)),
    "cat, mixed": (lambda a, b: torch.cat([a, b]), lambda a, b: dl.cat([a, b]), (X, b16), (X, f32)),
    "stack, mixed": (lambda a, b: torch.stack([a, b]), lambda a, b: dl.stack([a, b]), (X, b16), (X, f32)),
    "max_pool2d": (lambda x: F.max_pool2d(x, 2), lambda x: dl.max_pool2d(x, 2), (IMAGE, b16)),
    "avg_pool2d": (lambda x: F.avg_pool2d(x, 2), lambda x: dl.avg_pool2d(x, 2), (IMAGE, b16)),
    "dropout": (F.dropout, dl.dropout, (X, b16)),
    "GRU": (lambda x: torch.nn.GRU(8, 8)(x)[0], lambda x: dl.nn.GRU(8, 8)(x)[0], ((3, *X), f32)),
}


def dtype_of(library, function, arguments):
    # Positive and below 1, so that they are probabilities too.
    tensors = [library.rand(shape).to(getattr(library, dtype)) for shape, dtype in arguments]
    with library.autocast("cpu", dtype=library.bfloat16):
        return str(function(*tensors).dtype).split(".")[-1]


@pytest.mark.parametrize("name", [*PRODUCTS, *LOSSES, *OTHERS])
def test_dtypes(name):
    theirs, ours, *arguments = (PRODUCTS | LOSSES | OTHERS)[name]
    assert dtype_of(dl, ours, arguments) == dtype_of(torch, theirs, arguments)


def test_class_indices():
    x, target = torch.rand(X).bfloat16(), torch.arange(4)
    with torch.autocast("cpu", torch.bfloat16), dl.autocast("cpu"):
        for name in ("cross_entropy", "nll_loss"):
            assert getattr(F, name)(x, target).dtype is torch.float32
            ours = getattr(dl, name)(dl.rand(X).bfloat16(), dl.arange(4))
            assert ours.dtype is dl.float32


def test_lstm_computes_in_float32():
    """Here we mean to differ: PyTorch's LSTM gives bfloat16 through oneDNN, and its GRU float32."""
    for dtype in (dl.float32, dl.bfloat16):
        with dl.autocast("cpu"):
            assert dl.nn.LSTM(8, 8)(dl.rand((3, *X)).to(dtype))[0].dtype is dl.float32
