"""JAX: everything jitted but two of the dispatch cases. XLA sizes its pool by the cores that the process may use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.peers import inputs
from benchmarks.peers.adapters import jax_models
from benchmarks.peers.adapters.base import Adapter, Call, chain
from benchmarks.peers.adapters.jax_models import attention, conv, gelu, layer_norm, max_pool, mean_loss
from benchmarks.peers.inputs import Params


def jitted(f: Callable[..., Any], *xs: Any) -> Call:
    f = jax.jit(f)
    return lambda: f(*xs)


def pulled_back(f: Callable[..., Any], xs: list[Any], dy: Any) -> Call:
    """f(*xs), then the gradient of each of xs."""
    return jitted(lambda dy, *xs: jax.vjp(f, *xs)[1](dy), dy, *xs)


def arrays(given: Any) -> Any:
    return jax.tree.map(jnp.asarray, given)


class Jax(Adapter):
    def info(self) -> dict[str, Any]:
        return {"version": jax.__version__, "devices": str(jax.devices())}

    def wait(self, result: Any) -> Any:
        return jax.block_until_ready(result)

    def to_numpy(self, x: Any) -> Any:
        return np.asarray(x, dtype=np.float32)

    def release(self) -> None:
        jax.clear_caches()

    # ------------------------------------------------------------ products and convolutions
    def matmul(self, p: Params) -> Call:
        a, b = arrays(inputs.matmul(p))
        if p["dtype"] == "bf16":
            a, b = a.astype(jnp.bfloat16), b.astype(jnp.bfloat16)

        def product(a: Any, b: Any) -> Any:
            return (a.mT if p["ta"] else a) @ (b.mT if p["tb"] else b)

        return jitted(product, a, b)

    def conv_arrays(self, p: Params) -> tuple[Callable[..., Any], list[Any]]:
        """Channels last, which XLA's convolution wants; the kernels (height, width, in, out)."""
        x, w, dy = inputs.conv(p)
        laid_out = x.transpose(0, 2, 3, 1), w.transpose(2, 3, 1, 0), dy.transpose(0, 2, 3, 1)
        return lambda x, w: conv(x, w, p["s"], p["p"], p["g"]), [jnp.asarray(array.copy()) for array in laid_out]

    def conv_fwd(self, p: Params) -> Call:
        f, (x, w, _) = self.conv_arrays(p)
        return jitted(f, x, w)

    def conv_bwd(self, p: Params) -> Call:
        f, (x, w, dy) = self.conv_arrays(p)
        return pulled_back(f, [x, w], dy)

    # ------------------------------------------------------------ operations
    def add(self, p: Params) -> Call:
        return jitted(lambda a, b: a + b, *arrays(inputs.normal((p["n"],), (p["n"],))))

    def sum(self, p: Params) -> Call:
        return jitted(jnp.sum, *arrays(inputs.normal((p["n"],))))

    def softmax_fwd(self, p: Params) -> Call:
        return jitted(jax.nn.softmax, *arrays(inputs.rows(p)))

    def softmax_fwdbwd(self, p: Params) -> Call:
        x, dy = arrays(inputs.rows(p, 2))
        return pulled_back(jax.nn.softmax, [x], dy)

    def xent_fwdbwd(self, p: Params) -> Call:
        return jitted(jax.grad(mean_loss), *arrays(inputs.logits(p)))

    def layernorm_fwd(self, p: Params) -> Call:
        return jitted(layer_norm, *arrays(inputs.rows(p)), jnp.ones(p["C"]), jnp.zeros(p["C"]))

    def layernorm_fwdbwd(self, p: Params) -> Call:
        x, dy = arrays(inputs.rows(p, 2))
        return pulled_back(layer_norm, [x, jnp.ones(p["C"]), jnp.zeros(p["C"])], dy)

    def gelu_fwd(self, p: Params) -> Call:
        return jitted(gelu, *arrays(inputs.rows(p)))

    def gelu_fwdbwd(self, p: Params) -> Call:
        x, dy = arrays(inputs.rows(p, 2))
        return pulled_back(gelu, [x], dy)

    def batchnorm_fwdbwd(self, p: Params) -> Call:
        x, dy = arrays(inputs.images(p))
        return pulled_back(jax_models.batch_norm, [x, jnp.ones(p["C"]), jnp.zeros(p["C"])], dy)

    def maxpool_fwd(self, p: Params) -> Call:
        return jitted(max_pool, jnp.asarray(inputs.pooled(p)[0]))

    def maxpool_fwdbwd(self, p: Params) -> Call:
        x, dy = arrays(inputs.pooled(p))
        return pulled_back(max_pool, [x], dy)

    def embedding_fwd(self, p: Params) -> Call:
        w, indices, _ = arrays(inputs.table(p))
        return jitted(lambda w, indices: w[indices], w, indices)

    def embedding_grad(self, p: Params) -> Call:
        w, indices, dy = arrays(inputs.table(p))
        return pulled_back(lambda w: w[indices], [w], dy)

    def dropout_fwdbwd(self, p: Params) -> Call:
        x, dy = arrays(inputs.rows(p, 2))

        def both(x: Any, dy: Any, key: Any) -> Any:
            def dropout(x: Any) -> Any:
                return jnp.where(jax.random.bernoulli(key, 0.9, x.shape), x / 0.9, 0)

            return jax.vjp(dropout, x)[1](dy)

        return jitted(both, x, dy, jax.random.key(0))

    # ------------------------------------------------------------ attention
    def attn_fwd(self, p: Params) -> Call:
        q, k, v, _ = arrays(inputs.attention(p))
        return jitted(lambda q, k, v: attention(q, k, v, p["causal"]), q, k, v)

    def attn_fwdbwd(self, p: Params) -> Call:
        q, k, v, dy = arrays(inputs.attention(p))
        return pulled_back(lambda q, k, v: attention(q, k, v, p["causal"]), [q, k, v], dy)

    def attn_decode(self, p: Params) -> Call:
        return jitted(lambda q, k, v: attention(q, k, v, False), *arrays(inputs.attention(p)))

    # ------------------------------------------------------------ optimizers
    def adamw(self, p: Params) -> Call:
        parameters, grads = arrays(inputs.optimized())
        moments = jax_models.adam_state(parameters)
        update = jax.jit(lambda P, G, S: jax_models.adam(P, G, S, **inputs.ADAMW), donate_argnums=(0, 2))

        def run():
            nonlocal parameters, moments
            parameters, moments = update(parameters, grads, moments)
            return parameters[0]

        return run

    def clip_norm(self, p: Params) -> Call:
        _, grads = arrays(inputs.optimized())
        most = 1.0

        def clipped(grads: Any, most: Any) -> Any:
            norm = jnp.sqrt(sum(jnp.vdot(g, g) for g in grads))
            factor = jnp.minimum(1.0, most / (norm + 1e-6))
            return [g * factor for g in grads], norm

        clipped = jax.jit(clipped, donate_argnums=0)

        def run():
            nonlocal grads, most
            grads, norm = clipped(grads, most)
            most *= inputs.CLIPPED
            return norm

        return run

    # ------------------------------------------------------------ training
    def training(self, parameters: Any, loss_of: Callable[..., Any], options: Params, *batch: Any) -> Call:
        parameters, batch = arrays(parameters), arrays(batch)
        moments = jax_models.adam_state(parameters)

        def step(parameters: Any, moments: Any, *batch: Any) -> Any:
            loss, grads = jax.value_and_grad(loss_of)(parameters, *batch)
            return *jax_models.adam(parameters, grads, moments, **options), loss

        step = jax.jit(step, donate_argnums=(0, 1))

        def run():
            nonlocal parameters, moments
            parameters, moments, loss = step(parameters, moments, *batch)
            return loss

        return run

    def train_mlp(self, p: Params) -> Call:
        def loss_of(layers: Any, x: Any, y: Any) -> Any:
            for w, b in layers[:-1]:
                x = jax.nn.relu(x @ w + b)
            w, b = layers[-1]
            return mean_loss(x @ w + b, y)

        return self.training(inputs.mlp_parameters(), loss_of, inputs.ADAM, *inputs.labelled(p["B"], 784))

    def train_cnn(self, p: Params) -> Call:
        (w1, b1), (w2, b2), (w3, b3), last = inputs.cnn_parameters()
        w1, w2 = w1.transpose(2, 3, 1, 0), w2.transpose(2, 3, 1, 0)
        w3 = w3.reshape(64, 7, 7, 128).transpose(1, 2, 0, 3).reshape(3136, 128)
        x, y = inputs.labelled(p["B"], 1, 28, 28)
        parameters = [(w1, b1), (w2, b2), (w3, b3), last]
        return self.training(parameters, jax_models.cnn_loss, inputs.ADAM, x.transpose(0, 2, 3, 1).copy(), y)

    def train_gpt(self, p: Params) -> Call:
        sizes = inputs.GPT[p["cfg"]]

        def loss_of(parameters: Any, x: Any, y: Any) -> Any:
            return mean_loss(jax_models.gpt(parameters, x, sizes["H"]), y)

        batch = inputs.gpt_batch(sizes, p["B"], p["T"])
        return self.training(inputs.gpt_parameters(sizes), loss_of, inputs.ADAMW, *batch)

    # ------------------------------------------------------------ inference
    def frozen_gpt(self, dtype: str) -> Any:
        wanted = jnp.bfloat16 if dtype == "bf16" else jnp.float32
        return jax.tree.map(lambda x: jnp.asarray(x).astype(wanted), inputs.gpt_parameters(inputs.GPT["gpt2"]))

    def gpt_prefill(self, p: Params) -> Call:
        sizes = inputs.GPT["gpt2"]
        tokens, _ = inputs.gpt_batch(sizes, 1, p["T"])
        f = jax.jit(lambda parameters, tokens: jax_models.gpt(parameters, tokens, sizes["H"], last=True))
        parameters, tokens = self.frozen_gpt(p["dtype"]), jnp.asarray(tokens)
        return lambda: f(parameters, tokens)

    def gpt_decode(self, p: Params) -> Call:
        sizes, parameters = inputs.GPT["gpt2"], self.frozen_gpt(p["dtype"])
        start, end = p["T"], p["T"] + p["n"]
        cache = [[jnp.asarray(x).astype(parameters["wte"].dtype) for x in kv] for kv in inputs.gpt_cache(sizes, end)]
        f = jax.jit(lambda parameters, cache: jax_models.gpt_decode(parameters, cache, start, end, sizes["H"]))
        return lambda: f(parameters, cache)

    # ------------------------------------------------------------ recurrent
    def rnn(self, p: Params) -> Call:
        weights, x, dy = arrays(inputs.recurrent(p))
        layers = [weights[i : i + 4] for i in range(0, len(weights), 4)]

        def forward(x: Any, layers: Any) -> Any:
            for layer in layers:
                x = jax_models.recurrent_layer(p["kind"], x, *layer)
            return x

        if not p["bwd"]:
            return jitted(forward, x, layers)
        return jitted(lambda dy, x, layers: jax.tree.leaves(jax.vjp(forward, x, layers)[1](dy)), dy, x, layers)

    # ------------------------------------------------------------ dispatch
    def tiny_add(self, p: Params) -> Call:
        a, b = jnp.ones(8), jnp.ones(8)
        return lambda: a + b

    def tiny_fwdbwd(self, p: Params) -> Call:
        """Jitted: tracing at each call would take milliseconds."""
        return jitted(jax.grad(lambda x, y: jax.nn.relu(x + y).sum()), jnp.ones(8), jnp.ones(8))

    def tiny_chain(self, p: Params) -> Call:
        a, b = jnp.full(8, 0.5), jnp.ones(8)
        return lambda: chain(a, b)
