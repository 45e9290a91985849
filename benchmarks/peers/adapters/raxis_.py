"""raxis, which has PyTorch's names but no bfloat16, no recurrent layers and no fused optimizer steps."""

from __future__ import annotations

from typing import Any

import raxis
import raxis.nn.functional
from raxis import nn, optim

from benchmarks.peers import inputs
from benchmarks.peers.adapters.base import Call, float32_only
from benchmarks.peers.adapters.torch_names import TorchNames
from benchmarks.peers.inputs import Params


class Raxis(TorchNames):
    lib, nn, F, optim = raxis, nn, raxis.nn.functional, optim
    without = frozenset(("rnn", "train_charlstm"))

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        raxis.set_num_threads(threads)

    def info(self) -> dict[str, Any]:
        return {
            "version": raxis.__version__,
            "threads": raxis.get_num_threads(),
            "CPU": str(raxis.get_cpu_capability()),
            "with": ", ".join(name for name in ("MKL", "mimalloc") if name in raxis.get_build_config()),
        }

    def to_numpy(self, x: Any) -> Any:
        return x.detach().numpy() if hasattr(x, "detach") else x

    def matmul(self, p: Params) -> Call:
        float32_only(p)
        return super().matmul(p)

    def gpt_prefill(self, p: Params) -> Call:
        float32_only(p)
        return super().gpt_prefill(p)

    def gpt_decode(self, p: Params) -> Call:
        float32_only(p)
        sizes, model = inputs.GPT["gpt2"], self.frozen_gpt("fp32")
        start, end = p["T"], p["T"] + p["n"]
        cache = [[self.tensor(x) for x in layer] for layer in inputs.gpt_cache(sizes, end)]

        def step(token, t):
            x = model.wte(token) + model.wpe.weight[t]
            for layer, (keys, values) in zip(model.blocks, cache, strict=True):
                q, k, v = layer.heads(x)
                keys.narrow(2, t, 1).copy_(k)
                values.narrow(2, t, 1).copy_(v)
                filled = (kept.narrow(2, 0, t + 1) for kept in (keys, values))
                x = layer.rest(x, self.F.scaled_dot_product_attention(q, *filled))
            return model.logits(x).argmax(-1)

        def run():
            token = raxis.zeros((1, 1), dtype=raxis.int64)
            for t in range(start, end):
                token = step(token, t)
            return token

        return self.forward(run)
