"""Inputs and model parameters, the same for every peer: seeded NumPy arrays, and the work that follows from the sizes.

Letters: B sequences or images, T tokens, C width, H heads, L layers, V words; "Tmax" is the longest context.
"""

from __future__ import annotations

import math
import zlib
from typing import Any

import numpy as np

Array = Any  # numpy.ndarray
Params = dict[str, Any]

ADAM = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8}
ADAMW = {"lr": 3e-4, "betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.1}
CLIPPED = 0.999  # of the norm before: each call has to clip anew, a library may pass over what is small enough already

GPT = {
    "gpt2": {"V": 50257, "C": 768, "L": 12, "H": 12, "Tmax": 1024},
    "small": {"V": 65, "C": 384, "L": 6, "H": 6, "Tmax": 256},
}


def rng(key: str = "0") -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(key.encode()))


def randn(random: np.random.Generator, *shape: int, scale: float = 1.0) -> Array:
    x = random.standard_normal(shape, dtype=np.float32)
    return x if scale == 1.0 else x * np.float32(scale)


def normal(*shapes: tuple[int, ...], scale: float = 1.0) -> list[Array]:
    """One array for each shape, in this order from one stream."""
    random = rng()
    return [randn(random, *shape, scale=scale) for shape in shapes]


# ---------------------------------------------------------------- operations
def matmul(p: Params) -> list[Array]:
    """Both matrices as they lie in memory; ta and tb say which are to be transposed. A batch of one has no axis."""
    a = (p["K"], p["M"]) if p["ta"] else (p["M"], p["K"])
    b = (p["N"], p["K"]) if p["tb"] else (p["K"], p["N"])
    batch = (p["batch"],) if p["batch"] > 1 else ()
    return normal(batch + a, batch + b)


def conv(p: Params) -> list[Array]:
    """Images, kernels and the gradient of the result."""
    random = rng()
    x = randn(random, p["N"], p["Ci"], p["HW"], p["HW"])
    w = randn(random, p["Co"], p["Ci"] // p["g"], p["k"], p["k"], scale=0.05)
    return [x, w, randn(random, p["N"], p["Co"], p["O"], p["O"])]


def rows(p: Params, count: int = 1) -> list[Array]:
    return normal(*[(p["R"], p["C"])] * count)


def images(p: Params) -> list[Array]:
    """(N, C, HW, HW), and a gradient of this shape."""
    return normal(*[(p["N"], p["C"], p["HW"], p["HW"])] * 2)


def pooled(p: Params) -> list[Array]:
    """Images, and the gradient of 3 x 3 windows that move by two."""
    return normal((p["N"], p["C"], p["HW"], p["HW"]), (p["N"], p["C"], p["HW"] // 2, p["HW"] // 2))


def logits(p: Params) -> tuple[Array, Array]:
    """Logits and classes."""
    random = rng()
    return randn(random, p["R"], p["C"]), random.integers(0, p["C"], p["R"])


def table(p: Params) -> tuple[Array, Array, Array]:
    """An embedding's weight, indices, and the gradient of what is looked up."""
    random = rng()
    w = randn(random, p["V"], p["C"])
    indices = random.integers(0, p["V"], p["n"])
    return w, indices, randn(random, p["n"], p["C"])


def attention(p: Params) -> list[Array]:
    """q, k, v and the gradient of the result; one query a head where there is a Tk."""
    B, H, D = p["B"], p["H"], p["D"]
    if "Tk" in p:
        return normal((B, H, 1, D), (B, H, p["Tk"], D), (B, H, p["Tk"], D))
    return normal(*[(B, H, p["T"], D)] * 4)


def recurrent(p: Params) -> tuple[list[Array], Array, Array]:
    """For each layer w_ih, w_hh, b_ih and b_hh with PyTorch's order of gates; the input and the result's gradient."""
    random, H = rng(), p["H"]
    gates = 4 if p["kind"] == "lstm" else 3
    shapes = [(gates * H, H), (gates * H, H), (gates * H,), (gates * H,)] * p["layers"]
    weights = [randn(random, *shape, scale=0.05) for shape in shapes]
    return weights, randn(random, p["T"], p["B"], H), randn(random, p["T"], p["B"], H)


# ---------------------------------------------------------------- models
def weight(name: str, shape: tuple[int, ...]) -> Array:
    """The parameter of this name: biases 0, scales of norms 1, else normal with a standard deviation of 1 / √fan-in."""
    if "bias" in name:
        return np.zeros(shape, np.float32)
    if len(shape) == 1:
        return np.ones(shape, np.float32)
    return randn(rng(name), *shape, scale=1 / math.sqrt(math.prod(shape[1:])))


def gpt_parameters(sizes: Params) -> Params:
    """GPT-2 with a tied head and biases everywhere; matrices are (in, out)."""
    random, C = rng("gpt"), sizes["C"]

    def matrix(*shape: int) -> Array:
        return randn(random, *shape, scale=0.02)

    def block() -> Params:
        parameters = {}
        for name, n_in, n_out in (("qkv", C, 3 * C), ("proj", C, C), ("fc", C, 4 * C), ("out", 4 * C, C)):
            parameters |= {f"{name}_w": matrix(n_in, n_out), f"{name}_b": np.zeros(n_out, np.float32)}
        for name in ("ln1", "ln2"):
            parameters |= {f"{name}_w": np.ones(C, np.float32), f"{name}_b": np.zeros(C, np.float32)}
        return parameters

    return {
        "blocks": [block() for _ in range(sizes["L"])],
        "wte": matrix(sizes["V"], C),
        "wpe": matrix(sizes["Tmax"], C),
        "lnf_w": np.ones(C, np.float32),
        "lnf_b": np.zeros(C, np.float32),
    }


def gpt_shapes(sizes: Params) -> list[tuple[int, ...]]:
    C = sizes["C"]
    block = [(C,), (C,), (C, 3 * C), (3 * C,), (C, C), (C,), (C,), (C,), (C, 4 * C), (4 * C,), (4 * C, C), (C,)]
    return [(sizes["V"], C), (sizes["Tmax"], C), *block * sizes["L"], (C,), (C,)]


def gpt_parameter_count(sizes: Params) -> int:
    return sum(math.prod(shape) for shape in gpt_shapes(sizes))


def gpt_flops(sizes: Params, B: int, T: int, predicted: int | None = None) -> float:
    """Of a forward pass with causal attention; `predicted` of the T tokens get logits, all by default."""
    C, L = sizes["C"], sizes["L"]
    linear = 2 * B * T * L * 12 * C * C + 2 * B * (T if predicted is None else predicted) * C * sizes["V"]
    return linear + 4 * B * L * T * T * C / 2


def gpt_batch(sizes: Params, B: int, T: int) -> tuple[Array, Array]:
    """Tokens and the ones after them."""
    tokens = rng("batch").integers(0, sizes["V"], (B, T + 1))
    return tokens[:, :-1].copy(), tokens[:, 1:].copy()


def gpt_cache(sizes: Params, capacity: int) -> list[tuple[Array, Array]]:
    """Keys and values of each layer, (1, H, capacity, D)."""
    shape = (1, sizes["H"], capacity, sizes["C"] // sizes["H"])
    arrays = normal(*[shape] * 2 * sizes["L"])
    return list(zip(arrays[::2], arrays[1::2], strict=True))


def optimized() -> tuple[list[Array], list[Array]]:
    """Parameters of GPT-2's shapes and their gradients."""
    random = rng("adam")
    parameters = [randn(random, *shape, scale=0.02) for shape in gpt_shapes(GPT["gpt2"])]
    return parameters, [p * np.float32(0.01) for p in parameters]


def mlp_parameters() -> list[tuple[Array, Array]]:
    """Matrices (in, out) and biases of 784-512-512-10."""
    random, sizes = rng("mlp"), [784, 512, 512, 10]
    return [
        (randn(random, a, b, scale=(2 / a) ** 0.5), np.zeros(b, np.float32))
        for a, b in zip(sizes, sizes[1:], strict=False)
    ]


def cnn_parameters() -> list[tuple[Array, Array]]:
    """Two convolutions, (out, in, 3, 3), and two matrices, (in, out), with their biases."""
    random = rng("cnn")
    shapes = [((32, 1, 3, 3), 32, 0.3), ((64, 32, 3, 3), 64, 0.08), ((3136, 128), 128, 0.025), ((128, 10), 10, 0.1)]
    return [(randn(random, *shape, scale=scale), np.zeros(out, np.float32)) for shape, out, scale in shapes]


def labelled(B: int, *shape: int) -> tuple[Array, Array]:
    """Inputs (B, …) and one of ten classes for each."""
    random = rng("images")
    return randn(random, B, *shape), random.integers(0, 10, B)
