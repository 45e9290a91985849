"""Layers and models for JAX: plain functions of arrays."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

gelu = functools.partial(jax.nn.gelu, approximate=True)


def conv(x: Any, w: Any, stride: int, padding: int, groups: int = 1) -> Any:
    order = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        x, w, (stride,) * 2, [(padding,) * 2] * 2, dimension_numbers=order, feature_group_count=groups
    )


def layer_norm(x: Any, w: Any, b: Any) -> Any:
    centred = x - x.mean(-1, keepdims=True)
    return centred * lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * w + b


def batch_norm(x: Any, w: Any, b: Any) -> Any:
    centred = x - x.mean((0, 2, 3), keepdims=True)
    variance = (centred**2).mean((0, 2, 3), keepdims=True)
    return centred * lax.rsqrt(variance + 1e-5) * w[:, None, None] + b[:, None, None]


def max_pool(x: Any) -> Any:
    """3 x 3 windows that move by two, over (N, C, H, W) padded by one."""
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 3, 3), (1, 1, 2, 2), ((0, 0), (0, 0), (1, 1), (1, 1)))


def mean_loss(logits: Any, classes: Any) -> Any:
    """The mean cross-entropy."""
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), classes[..., None], -1).mean()


def attention(q: Any, k: Any, v: Any, causal: bool) -> Any:
    scores = (q @ k.mT) * q.shape[-1] ** -0.5
    if causal:
        scores = jnp.where(jnp.tril(jnp.ones(scores.shape[-2:], bool)), scores, -jnp.inf)
    return jax.nn.softmax(scores) @ v


def adam_state(parameters: Any) -> Any:
    zeros = [jax.tree.map(jnp.zeros_like, parameters) for _ in range(2)]
    return *zeros, jnp.zeros((), jnp.float32)


def adam(
    parameters: Any,
    grads: Any,
    state: Any,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float = 0.0,
) -> Any:
    """New parameters, and the new state."""
    (means, squares, step), (beta1, beta2) = state, betas
    step = step + 1
    means = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, means, grads)
    squares = jax.tree.map(lambda v, g: beta2 * v + (1 - beta2) * g * g, squares, grads)

    def new(p: Any, m: Any, v: Any) -> Any:
        return p * (1 - lr * weight_decay) - lr * (m / (1 - beta1**step)) / (jnp.sqrt(v / (1 - beta2**step)) + eps)

    return jax.tree.map(new, parameters, means, squares), (means, squares, step)


def cnn_loss(layers: Any, x: Any, y: Any) -> Any:
    """Two convolutions and two matrices over images (N, H, W, C)."""
    *convs, (w3, b3), (w4, b4) = layers
    for w, b in convs:
        x = jax.nn.relu(conv(x, w, 1, 1) + b)
        B, H, W, C = x.shape
        x = x.reshape(B, H // 2, 2, W // 2, 2, C).max((2, 4))
    x = x.reshape(x.shape[0], -1)
    return mean_loss(jax.nn.relu(x @ w3 + b3) @ w4 + b4, y)


def heads(block: Any, x: Any, H: int) -> list[Any]:
    """q, k and v, (B, H, T, D)."""
    B, T, C = x.shape
    parts = jnp.split(layer_norm(x, block["ln1_w"], block["ln1_b"]) @ block["qkv_w"] + block["qkv_b"], 3, -1)
    return [part.reshape(B, T, H, C // H).transpose(0, 2, 1, 3) for part in parts]


def after_attention(block: Any, x: Any, y: Any) -> Any:
    x = x + y.transpose(0, 2, 1, 3).reshape(x.shape) @ block["proj_w"] + block["proj_b"]
    hidden = gelu(layer_norm(x, block["ln2_w"], block["ln2_b"]) @ block["fc_w"] + block["fc_b"])
    return x + hidden @ block["out_w"] + block["out_b"]


def gpt(parameters: Any, tokens: Any, H: int, last: bool = False) -> Any:
    """Logits of every token, or of the last one."""
    x = parameters["wte"][tokens] + parameters["wpe"][: tokens.shape[1]]
    for block in parameters["blocks"]:
        x = after_attention(block, x, attention(*heads(block, x, H), True))
    x = x[:, -1:] if last else x
    return layer_norm(x, parameters["lnf_w"], parameters["lnf_b"]) @ parameters["wte"].T


def gpt_decode(parameters: Any, cache: Any, start: int, end: int, H: int) -> Any:
    """The last of the tokens that follow token 0 at `start`, each the likeliest."""

    def step(carry: Any, place: Any) -> Any:
        token, cache = carry
        x, kept = parameters["wte"][token] + parameters["wpe"][place], []
        visible = jnp.arange(end) <= place
        for block, (keys, values) in zip(parameters["blocks"], cache, strict=True):
            q, k, v = heads(block, x, H)
            keys = lax.dynamic_update_slice(keys, k, (0, 0, place, 0))
            values = lax.dynamic_update_slice(values, v, (0, 0, place, 0))
            kept.append([keys, values])
            scores = jnp.where(visible, (q @ keys.mT) * q.shape[-1] ** -0.5, -jnp.inf)
            x = after_attention(block, x, jax.nn.softmax(scores) @ values)
        logits = layer_norm(x, parameters["lnf_w"], parameters["lnf_b"]) @ parameters["wte"].T
        return (logits.argmax(-1), kept), None

    first = jnp.zeros((1, 1), jnp.int32)
    return lax.scan(step, (first, cache), jnp.arange(start, end))[0][0]


def recurrent_layer(kind: str, x: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any) -> Any:
    """Outputs (T, B, H) of an LSTM or a GRU with PyTorch's order of gates."""
    zeros = jnp.zeros((x.shape[1], w_hh.shape[1]))

    def lstm(state: Any, gates: Any) -> Any:
        h, c = state
        i, f, u, o = jnp.split(gates + h @ w_hh.T + b_hh, 4, -1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(u)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    def gru(h: Any, gates: Any) -> Any:
        (ri, zi, ni), (rh, zh, nh) = jnp.split(gates, 3, -1), jnp.split(h @ w_hh.T + b_hh, 3, -1)
        r, z = jax.nn.sigmoid(ri + rh), jax.nn.sigmoid(zi + zh)
        h = (1 - z) * jnp.tanh(ni + r * nh) + z * h
        return h, h

    gates = x @ w_ih.T + b_ih
    return lax.scan(lstm, (zeros, zeros), gates)[1] if kind == "lstm" else lax.scan(gru, zeros, gates)[1]
