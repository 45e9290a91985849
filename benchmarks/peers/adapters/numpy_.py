"""NumPy: the plain way. The environment sets the threads of its BLAS."""

from __future__ import annotations

import numpy as np

from benchmarks.peers import inputs
from benchmarks.peers.adapters.base import Adapter, Call, chain, float32_only
from benchmarks.peers.inputs import Params


class NumPy(Adapter):
    def info(self) -> dict[str, str]:
        return {"version": np.__version__}

    def matmul(self, p: Params) -> Call:
        float32_only(p)
        a, b = inputs.matmul(p)
        a = a.swapaxes(-1, -2) if p["ta"] else a
        b = b.swapaxes(-1, -2) if p["tb"] else b
        return lambda: a @ b

    def add(self, p: Params) -> Call:
        a, b = inputs.normal((p["n"],), (p["n"],))
        return lambda: a + b

    def sum(self, p: Params) -> Call:
        (a,) = inputs.normal((p["n"],))
        return lambda: a.sum()

    def softmax_fwd(self, p: Params) -> Call:
        (x,) = inputs.rows(p)

        def run():
            e = np.exp(x - x.max(-1, keepdims=True))
            return e / e.sum(-1, keepdims=True)

        return run

    def layernorm_fwd(self, p: Params) -> Call:
        (x,) = inputs.rows(p)
        w, b = np.ones(p["C"], np.float32), np.zeros(p["C"], np.float32)
        return lambda: (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * w + b

    def gelu_fwd(self, p: Params) -> Call:
        (x,) = inputs.rows(p)
        return lambda: 0.5 * x * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x * x * x)))

    def embedding_fwd(self, p: Params) -> Call:
        w, indices, _ = inputs.table(p)
        return lambda: w[indices]

    def adamw(self, p: Params) -> Call:
        parameters, grads = inputs.optimized()
        means, squares = ([np.zeros_like(x) for x in parameters] for _ in range(2))
        h, (beta1, beta2), step = inputs.ADAMW, inputs.ADAMW["betas"], 0

        def run():
            nonlocal step
            step += 1
            rate, root = np.float32(h["lr"] / (1 - beta1**step)), np.float32((1 - beta2**step) ** 0.5)
            for x, g, m, v in zip(parameters, grads, means, squares, strict=True):
                x *= np.float32(1 - h["lr"] * h["weight_decay"])
                m *= np.float32(beta1)
                m += np.float32(1 - beta1) * g
                v *= np.float32(beta2)
                v += np.float32(1 - beta2) * g * g
                x -= rate * m / (np.sqrt(v) / root + np.float32(h["eps"]))
            return parameters[0]

        return run

    def clip_norm(self, p: Params) -> Call:
        _, grads = inputs.optimized()
        most = 1.0

        def run():
            nonlocal most
            norm = np.sqrt(sum(float(np.vdot(g, g)) for g in grads))
            factor = np.float32(min(1.0, most / (norm + 1e-6)))
            for g in grads:
                g *= factor
            most *= inputs.CLIPPED
            return norm

        return run

    def tiny_add(self, p: Params) -> Call:
        a, b = np.ones(8, np.float32), np.ones(8, np.float32)
        return lambda: a + b

    def tiny_chain(self, p: Params) -> Call:
        a, b = np.full(8, 0.5, np.float32), np.ones(8, np.float32)
        return lambda: chain(a, b)
