"""dlcore, whichever is importable."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import dlcore
from benchmarks.peers import inputs
from benchmarks.peers.adapters.base import Call
from benchmarks.peers.adapters.torch_names import TorchNames
from benchmarks.peers.inputs import Params
from dlcore import nn, optim
from dlcore.models.gpt2 import GPT2, GPT2Cache, GPT2Config
from dlcore.nn import functional
from dlcore.nn.utils import fuse_conv_bn_eval, prepack

# Parameters of a block: ours and those of inputs.gpt_parameters.
LAYERS = {
    "ln_1": "ln1",
    "attn.c_attn": "qkv",
    "attn.c_proj": "proj",
    "ln_2": "ln2",
    "mlp.c_fc": "fc",
    "mlp.c_proj": "out",
}


class DLCore(TorchNames):
    lib, nn, F, optim = dlcore, nn, functional, optim

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        dlcore.set_num_threads(threads)

    def info(self) -> dict[str, Any]:
        with contextlib.redirect_stdout(io.StringIO()):
            lines = dlcore.show_config().splitlines()
        return {"version": dlcore.__version__, **dict(line.split(": ", 1) for line in lines[1:])}

    def release(self) -> None:
        dlcore.empty_cache()

    def linear_gelu(self, layer: Any, x: Any) -> Any:
        return dlcore.linear(x, layer.weight, layer.bias, "gelu_tanh")

    def norm_relu(self, conv: Any, x: Any, residual: Any = None) -> Any:
        layer, norm = conv
        if not isinstance(norm, nn.Identity):
            return super().norm_relu(conv, x, residual)
        sizes = layer.stride, layer.padding, layer.dilation, layer.groups
        return dlcore.conv2d(x, layer.weight, layer.bias, *sizes, activation="relu", residual=residual)

    def vision_model(self, kind: str) -> Any:
        """Batch norm folded and weights packed in advance, as ONNX Runtime and frozen compiled models have it."""
        model = super().vision_model(kind)
        for module in model.modules():
            if isinstance(module, nn.Sequential) and [type(m) for m in module] == [nn.Conv2d, nn.BatchNorm2d]:
                module[0], module[1] = fuse_conv_bn_eval(*module).requires_grad_(False), nn.Identity()
        return prepack(model)

    def frozen_gpt(self, dtype: str) -> Any:
        return prepack(super().frozen_gpt(dtype))

    def train_mlp(self, p: Params) -> Call:
        layers = [(nn.Parameter(self.tensor(w.T)), nn.Parameter(self.tensor(b))) for w, b in inputs.mlp_parameters()]
        x, y = (self.tensor(array) for array in inputs.labelled(p["B"], 784))

        def loss_of(x, y):
            for w, b in layers[:-1]:
                x = dlcore.linear(x, w, b, "relu")
            return dlcore.cross_entropy(dlcore.linear(x, *layers[-1]), y)

        optimizer = optim.Adam([parameter for layer in layers for parameter in layer], **inputs.ADAM)
        return self.training(loss_of, optimizer, x, y)

    def gpt(self, sizes: Params) -> GPT2:
        config = GPT2Config(
            vocab_size=sizes["V"],
            n_positions=sizes["Tmax"],
            n_embd=sizes["C"],
            n_layer=sizes["L"],
            n_head=sizes["H"],
            dropout=0.0,
        )
        model, parameters = GPT2(config), inputs.gpt_parameters(sizes)
        state = {"wte.weight": parameters["wte"], "wpe.weight": parameters["wpe"]}
        state |= {"ln_f.weight": parameters["lnf_w"], "ln_f.bias": parameters["lnf_b"]}
        for i, block in enumerate(parameters["blocks"]):
            for ours, theirs in LAYERS.items():
                state |= {f"h.{i}.{ours}.weight": block[f"{theirs}_w"], f"h.{i}.{ours}.bias": block[f"{theirs}_b"]}
        model.transformer.load_state_dict({name: self.tensor(array) for name, array in state.items()})
        return model

    def train_gpt(self, p: Params) -> Call:
        sizes = inputs.GPT[p["cfg"]]
        model = self.gpt(sizes)
        x, y = (self.tensor(array) for array in inputs.gpt_batch(sizes, p["B"], p["T"]))
        optimizer = optim.AdamW(model.parameters(), **inputs.ADAMW)
        return self.training(model.loss, optimizer, x, y)

    def gpt_prefill(self, p: Params) -> Call:
        model = self.frozen_gpt(p["dtype"])
        tokens, _ = inputs.gpt_batch(inputs.GPT["gpt2"], 1, p["T"])
        return self.forward(lambda tokens: model.lm_head(model.transformer(tokens)[:, -1:]), self.tensor(tokens))

    def gpt_decode(self, p: Params) -> Call:
        sizes, model = inputs.GPT["gpt2"], self.frozen_gpt(p["dtype"])
        start, end = p["T"], p["T"] + p["n"]
        dtype = model.lm_head.weight.dtype
        cache = GPT2Cache(model.config, 1, end, dtype)
        cache.layers = [tuple(self.tensor(x).to(dtype) for x in layer) for layer in inputs.gpt_cache(sizes, end)]

        def run():
            cache.length = start
            token = dlcore.zeros((1, 1), dtype=dlcore.int64)
            while cache.length < end:
                token = model.lm_head(model.transformer(token, cache)).argmax(-1)
            return token

        return self.forward(run)
