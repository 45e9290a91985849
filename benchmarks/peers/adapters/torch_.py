"""PyTorch: eager; by torch.compile; and the other way of writing things where there is one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional
from torch import nn

from benchmarks.peers import inputs
from benchmarks.peers.adapters import torch_unet
from benchmarks.peers.adapters.base import Call
from benchmarks.peers.adapters.torch_names import TorchNames
from benchmarks.peers.cases import FAMILIES
from benchmarks.peers.inputs import Array, Params


class Eager(TorchNames):
    lib, nn, F, optim = torch, nn, torch.nn.functional, torch.optim
    adam_options = {"fused": True}
    clip_options = {"foreach": False}

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        torch.set_num_threads(threads)
        torch.set_num_interop_threads(1)

    def info(self) -> dict[str, Any]:
        parts = [line.strip(" -") for line in torch.__config__.show().splitlines()]
        return {
            "version": torch.__version__,
            "threads": torch.get_num_threads(),
            "CPU": torch.backends.cpu.get_cpu_capability(),
            "with": "; ".join(part for part in parts if "oneAPI" in part or "MKL-DNN" in part),
        }

    def conv_bwd(self, p: Params) -> Call:
        x, w, dy = (self.image(array) for array in inputs.conv(p))
        stride, padding, mask = [p["s"]] * 2, [p["p"]] * 2, [True, True, False]
        backward = torch.ops.aten.convolution_backward
        return lambda: backward(dy, x, w, None, stride, padding, [1, 1], False, [0, 0], p["g"], mask)[:2]

    def gpt_decode(self, p: Params) -> Call:
        """A cache of fixed size, and a mask for each length of what is filled: one graph for every step."""
        sizes, model = inputs.GPT["gpt2"], self.frozen_gpt(p["dtype"])
        start, end = p["T"], p["T"] + p["n"]
        dtype = model.wte.weight.dtype
        cache = [[self.tensor(x).to(dtype) for x in layer] for layer in inputs.gpt_cache(sizes, end)]
        masks = torch.ones(end, end, dtype=torch.bool).tril()[:, None, None, None]
        places = torch.arange(end)

        def step(token, place, mask):
            x = model.wte(token) + model.wpe(place)[None]
            for layer, (keys, values) in zip(model.blocks, cache, strict=True):
                q, k, v = layer.heads(x)
                keys.index_copy_(2, place, k)
                values.index_copy_(2, place, v)
                x = layer.rest(x, self.F.scaled_dot_product_attention(q, keys, values, attn_mask=mask))
            return model.logits(x).argmax(-1)

        step = self.compiled(step, inference=True)

        def run():
            token = torch.zeros(1, 1, dtype=torch.long)
            for t in range(start, end):
                token = step(token, places[t : t + 1], masks[t])
            return token

        return self.forward(run)

    def train_unet(self, p: Params) -> Call:
        model = self.image_model(self.seeded(torch_unet.UNet(p["ch"])))
        x, noise = inputs.normal(*[(p["B"], 3, p["HW"], p["HW"])] * 2)
        times = self.tensor(inputs.rng("times").integers(0, 1000, p["B"])).float()

        def loss_of(x, times, noise):
            return self.F.mse_loss(model(x, times), noise)

        return self.training(loss_of, self.adam(model), self.image(x), times, self.tensor(noise))


class Alternative(Eager):
    """Channels-last images, attention by single operations, `foreach` optimizers, results into given tensors."""

    adam_options = {"foreach": True}
    clip_options = {"foreach": True}
    without = frozenset(FAMILIES) - {
        *("matmul", "conv_fwd", "conv_bwd", "batchnorm_fwdbwd", "maxpool_fwd", "maxpool_fwdbwd", "attn_fwd"),
        *("attn_fwdbwd", "attn_decode", "adamw", "clip_norm", "train_cnn", "train_resnet18", "train_unet"),
        "infer_resnet50",
    }

    def image(self, array: Array) -> Any:
        return self.tensor(array).contiguous(memory_format=torch.channels_last)

    def image_model(self, model: Any) -> Any:
        return model.to(memory_format=torch.channels_last)

    def adam(self, model: Any) -> Any:
        return torch.optim.Adam(model.parameters(), **inputs.ADAM, fused=True)

    def matmul(self, p: Params) -> Call:
        a, b = self.operands(p)
        out = torch.empty(*a.shape[:-1], b.shape[-1], dtype=a.dtype)
        return lambda: torch.matmul(a, b, out=out)

    def attention(self, q: Any, k: Any, v: Any, causal: bool) -> Any:
        return plain_attention(q, k, v, causal)


class Compiled(Eager):
    """By inductor; of attention the plain form. What takes minutes to compile is left out."""

    without = frozenset(("matmul", "conv_fwd", "conv_bwd", "adamw", "clip_norm", "rnn", "train_charlstm", "train_unet"))

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        import torch._inductor.config as config

        self.config = config
        config.compile_threads = 1
        config.cpp.threads = threads
        torch.compile(torch.neg)(torch.ones(8))  # what the first compilation sets up belongs to no case

    def compiled(self, f: Callable[..., Any], inference: bool = False) -> Callable[..., Any]:
        self.config.freezing = inference
        return torch.compile(f, dynamic=False)

    def attention(self, q: Any, k: Any, v: Any, causal: bool) -> Any:
        return plain_attention(q, k, v, causal)

    def release(self) -> None:
        torch._dynamo.reset()


def plain_attention(q: Any, k: Any, v: Any, causal: bool) -> Any:
    scores = (q @ k.mT) * q.shape[-1] ** -0.5
    if causal:
        T = q.shape[-2]
        scores = scores.masked_fill(torch.ones(T, T, dtype=torch.bool).triu(1), -math.inf)
    return scores.softmax(-1) @ v
