"""The cases as users of PyTorch write them, once for the libraries that share its names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.peers import inputs
from benchmarks.peers.adapters import torch_models
from benchmarks.peers.adapters.base import Adapter, Call, chain
from benchmarks.peers.inputs import Array, Params


class TorchNames(Adapter):
    """Eager code on `lib`, `nn`, `F` and `optim`. Subclasses replace what their users would write differently."""

    lib: Any
    nn: Any
    F: Any
    optim: Any
    adam_options: Params = {}
    clip_options: Params = {}

    # ------------------------------------------------------------ what differs
    def tensor(self, array: Array) -> Any:
        return self.lib.tensor(np.ascontiguousarray(array))

    def image(self, array: Array) -> Any:
        """A tensor (N, C, H, W), in the layout in which this library is fed images."""
        return self.tensor(array)

    def image_model(self, model: Any) -> Any:
        return model

    def compiled(self, f: Callable[..., Any], inference: bool = False) -> Callable[..., Any]:
        return f

    def norm_relu(self, conv: Any, x: Any, residual: Any = None) -> Any:
        """A convolution and its norm, with what is added to them, and ReLU."""
        return self.F.relu(conv(x) if residual is None else conv(x) + residual)

    def linear_gelu(self, layer: Any, x: Any) -> Any:
        return self.F.gelu(layer(x), approximate="tanh")

    def to_numpy(self, x: Any) -> Any:
        return x.detach().float().numpy() if hasattr(x, "detach") else x

    # ------------------------------------------------------------ helpers
    def forward(self, f: Callable[..., Any], *xs: Any) -> Call:
        """f(*xs), recording nothing."""

        def run():
            with self.lib.no_grad():
                return f(*xs)

        return run

    def op(self, f: Callable[..., Any], *xs: Any) -> Call:
        return self.forward(self.compiled(f), *xs)

    def both(self, f: Callable[..., Any], xs: list[Any], dy: Any) -> Call:
        """f(*xs), then the gradient of each of xs."""
        f, grad = self.compiled(f), self.lib.autograd.grad
        leaves = [x.requires_grad_() for x in xs]
        return lambda: grad(f(*xs), leaves, dy)

    def training(self, loss_of: Callable[..., Any], optimizer: Any, *batch: Any) -> Call:
        loss_of = self.compiled(loss_of)

        def run():
            optimizer.zero_grad()
            loss = loss_of(*batch)
            loss.backward()
            optimizer.step()
            return loss.detach()

        return run

    def classify(self, model: Any, optimizer: Any, x: Any, y: Any) -> Call:
        """Training by cross-entropy; y has a class for each row of logits."""

        def loss_of(x: Any, y: Any) -> Any:
            logits = model(x)
            return self.F.cross_entropy(logits.flatten(0, -2), y.flatten())

        return self.training(loss_of, optimizer, x, y)

    def assign(self, parameter: Any, array: Array) -> None:
        with self.lib.no_grad():
            parameter.copy_(self.tensor(array))

    def seeded(self, model: Any) -> Any:
        """The model with the parameters that inputs.weight has for their names."""
        for name, parameter in model.named_parameters():
            self.assign(parameter, inputs.weight(name, tuple(parameter.shape)))
        return model

    def adam(self, model: Any) -> Any:
        return self.optim.Adam(model.parameters(), **inputs.ADAM, **self.adam_options)

    # ------------------------------------------------------------ products and convolutions
    def operands(self, p: Params) -> tuple[Any, Any]:
        a, b = (self.tensor(x) for x in inputs.matmul(p))
        if p["dtype"] == "bf16":
            a, b = a.to(self.lib.bfloat16), b.to(self.lib.bfloat16)
        return a.mT if p["ta"] else a, b.mT if p["tb"] else b

    def matmul(self, p: Params) -> Call:
        return self.forward(self.lib.matmul, *self.operands(p))

    def conv_fwd(self, p: Params) -> Call:
        x, w, _ = (self.image(array) for array in inputs.conv(p))
        return self.forward(lambda x, w: self.F.conv2d(x, w, None, p["s"], p["p"], 1, p["g"]), x, w)

    def conv_bwd(self, p: Params) -> Call:
        """The graph is kept, so that a call is the backward alone."""
        x, w, dy = (self.image(array) for array in inputs.conv(p))
        y = self.F.conv2d(x.requires_grad_(), w.requires_grad_(), None, p["s"], p["p"], 1, p["g"])
        return lambda: self.lib.autograd.grad(y, (x, w), dy, retain_graph=True)

    # ------------------------------------------------------------ operations
    def add(self, p: Params) -> Call:
        a, b = (self.tensor(x) for x in inputs.normal((p["n"],), (p["n"],)))
        return self.op(lambda a, b: a + b, a, b)

    def sum(self, p: Params) -> Call:
        (a,) = inputs.normal((p["n"],))
        return self.op(lambda a: a.sum(), self.tensor(a))

    def rows(self, p: Params, count: int = 1) -> list[Any]:
        return [self.tensor(x) for x in inputs.rows(p, count)]

    def softmax_fwd(self, p: Params) -> Call:
        return self.op(lambda x: self.F.softmax(x, -1), *self.rows(p))

    def softmax_fwdbwd(self, p: Params) -> Call:
        x, dy = self.rows(p, 2)
        return self.both(lambda x: self.F.softmax(x, -1), [x], dy)

    def xent_fwdbwd(self, p: Params) -> Call:
        x, classes = (self.tensor(array) for array in inputs.logits(p))
        return self.both(lambda x: self.F.cross_entropy(x, classes), [x], None)

    def layer_norm(self, x: Any, w: Any, b: Any) -> Any:
        return self.F.layer_norm(x, (x.shape[-1],), w, b)

    def layernorm_fwd(self, p: Params) -> Call:
        return self.op(self.layer_norm, *self.rows(p), self.lib.ones(p["C"]), self.lib.zeros(p["C"]))

    def layernorm_fwdbwd(self, p: Params) -> Call:
        x, dy = self.rows(p, 2)
        return self.both(self.layer_norm, [x, self.lib.ones(p["C"]), self.lib.zeros(p["C"])], dy)

    def gelu_fwd(self, p: Params) -> Call:
        return self.op(lambda x: self.F.gelu(x, approximate="tanh"), *self.rows(p))

    def gelu_fwdbwd(self, p: Params) -> Call:
        x, dy = self.rows(p, 2)
        return self.both(lambda x: self.F.gelu(x, approximate="tanh"), [x], dy)

    def batchnorm_fwdbwd(self, p: Params) -> Call:
        x, dy = (self.image(array) for array in inputs.images(p))
        w, b = self.lib.ones(p["C"]), self.lib.zeros(p["C"])
        return self.both(lambda x, w, b: self.F.batch_norm(x, None, None, w, b, True), [x, w, b], dy)

    def maxpool_fwd(self, p: Params) -> Call:
        x, _ = inputs.pooled(p)
        return self.op(lambda x: self.F.max_pool2d(x, 3, 2, 1), self.image(x))

    def maxpool_fwdbwd(self, p: Params) -> Call:
        x, dy = (self.image(array) for array in inputs.pooled(p))
        return self.both(lambda x: self.F.max_pool2d(x, 3, 2, 1), [x], dy)

    def embedding_fwd(self, p: Params) -> Call:
        w, indices, _ = (self.tensor(array) for array in inputs.table(p))
        return self.op(lambda w, indices: self.F.embedding(indices, w), w, indices)

    def embedding_grad(self, p: Params) -> Call:
        w, indices, dy = (self.tensor(array) for array in inputs.table(p))
        return self.both(lambda w: self.F.embedding(indices, w), [w], dy)

    def dropout_fwdbwd(self, p: Params) -> Call:
        x, dy = self.rows(p, 2)
        return self.both(lambda x: self.F.dropout(x, 0.1, True), [x], dy)

    # ------------------------------------------------------------ attention
    def attention(self, q: Any, k: Any, v: Any, causal: bool) -> Any:
        return self.F.scaled_dot_product_attention(q, k, v, is_causal=causal)

    def attn_fwd(self, p: Params) -> Call:
        q, k, v, _ = (self.tensor(array) for array in inputs.attention(p))
        return self.op(lambda q, k, v: self.attention(q, k, v, bool(p["causal"])), q, k, v)

    def attn_fwdbwd(self, p: Params) -> Call:
        q, k, v, dy = (self.tensor(array) for array in inputs.attention(p))
        return self.both(lambda q, k, v: self.attention(q, k, v, bool(p["causal"])), [q, k, v], dy)

    def attn_decode(self, p: Params) -> Call:
        q, k, v = (self.tensor(array) for array in inputs.attention(p))
        return self.op(lambda q, k, v: self.attention(q, k, v, False), q, k, v)

    # ------------------------------------------------------------ optimizers
    def optimized(self) -> list[Any]:
        """Parameters of GPT-2's shapes, with gradients."""
        parameters = []
        for array, grad in zip(*inputs.optimized(), strict=True):
            parameters.append(self.nn.Parameter(self.tensor(array)))
            parameters[-1].grad = self.tensor(grad)
        return parameters

    def adamw(self, p: Params) -> Call:
        parameters = self.optimized()
        optimizer = self.optim.AdamW(parameters, **inputs.ADAMW, **self.adam_options)

        def run():
            optimizer.step()
            return parameters[0]

        return run

    def clip_norm(self, p: Params) -> Call:
        parameters = self.optimized()
        most = 1.0

        def run():
            nonlocal most
            norm = self.nn.utils.clip_grad_norm_(parameters, most, **self.clip_options)
            most *= inputs.CLIPPED
            return norm

        return run

    # ------------------------------------------------------------ training
    def train_mlp(self, p: Params) -> Call:
        nn = self.nn
        model = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
        for layer, (w, b) in zip((model[0], model[2], model[4]), inputs.mlp_parameters(), strict=True):
            self.assign(layer.weight, w.T)
            self.assign(layer.bias, b)
        x, y = (self.tensor(array) for array in inputs.labelled(p["B"], 784))
        return self.classify(model, self.adam(model), x, y)

    def train_cnn(self, p: Params) -> Call:
        nn = self.nn
        convs = [nn.Conv2d(1, 32, 3, padding=1), nn.Conv2d(32, 64, 3, padding=1)]
        linears = [nn.Linear(3136, 128), nn.Linear(128, 10)]
        for layer, (w, b) in zip(convs + linears, inputs.cnn_parameters(), strict=True):
            self.assign(layer.weight, w if w.ndim == 4 else w.T)
            self.assign(layer.bias, b)
        features = [convs[0], nn.ReLU(), nn.MaxPool2d(2), convs[1], nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
        model = self.image_model(nn.Sequential(*features, linears[0], nn.ReLU(), linears[1]))
        x, y = inputs.labelled(p["B"], 1, 28, 28)
        return self.classify(model, self.adam(model), self.image(x), self.tensor(y))

    def train_resnet18(self, p: Params) -> Call:
        model = torch_models.resnet(self, bottleneck=False, layers=(2, 2, 2, 2), classes=10)
        model = self.image_model(self.seeded(model))
        x, y = inputs.labelled(p["B"], 3, p["HW"], p["HW"])
        optimizer = self.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        return self.classify(model, optimizer, self.image(x), self.tensor(y))

    def rnn(self, p: Params) -> Call:
        weights, x, dy = inputs.recurrent(p)
        model = (self.nn.LSTM if p["kind"] == "lstm" else self.nn.GRU)(p["H"], p["H"], p["layers"])
        for parameter, array in zip(model.parameters(), weights, strict=True):
            self.assign(parameter, array)
        x, dy = self.tensor(x), self.tensor(dy)
        if not p["bwd"]:
            return self.forward(lambda: model(x)[0])
        leaves = [x.requires_grad_(), *model.parameters()]
        return lambda: self.lib.autograd.grad(model(x)[0], leaves, dy)

    def train_charlstm(self, p: Params) -> Call:
        model = self.seeded(torch_models.char_lstm(self, p["V"], p["H"], p["L"]))
        x, y = (self.tensor(array) for array in inputs.gpt_batch({"V": p["V"]}, p["B"], p["T"]))
        return self.classify(model, self.adam(model), x, y)

    def gpt(self, sizes: Params) -> Any:
        return torch_models.gpt(self, sizes)

    def train_gpt(self, p: Params) -> Call:
        sizes = inputs.GPT[p["cfg"]]
        model = self.gpt(sizes)
        x, y = (self.tensor(array) for array in inputs.gpt_batch(sizes, p["B"], p["T"]))
        optimizer = self.optim.AdamW(model.parameters(), **inputs.ADAMW, **self.adam_options)
        return self.classify(model, optimizer, x, y)

    # ------------------------------------------------------------ inference
    def frozen_gpt(self, dtype: str) -> Any:
        model = self.gpt(inputs.GPT["gpt2"]).eval()
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        return model.to(self.lib.bfloat16) if dtype == "bf16" else model

    def gpt_prefill(self, p: Params) -> Call:
        model = self.frozen_gpt(p["dtype"])
        tokens, _ = inputs.gpt_batch(inputs.GPT["gpt2"], 1, p["T"])
        return self.forward(self.compiled(lambda tokens: model(tokens, last=True), inference=True), self.tensor(tokens))

    def vision_model(self, kind: str) -> Any:
        if kind == "vit":
            model = torch_models.vit(self)
        else:
            model = torch_models.resnet(self, bottleneck=True, layers=(3, 4, 6, 3), classes=1000)
        model = self.seeded(model).eval()
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        return self.image_model(model)

    def vision(self, kind: str, B: int) -> Call:
        model = self.vision_model(kind)
        x, _ = inputs.labelled(B, 3, 224, 224)
        return self.forward(self.compiled(lambda x: model(x), inference=True), self.image(x))

    def infer_vit(self, p: Params) -> Call:
        return self.vision("vit", p["B"])

    def infer_resnet50(self, p: Params) -> Call:
        return self.vision("resnet50", p["B"])

    # ------------------------------------------------------------ dispatch
    def tiny_add(self, p: Params) -> Call:
        a, b = self.lib.ones(8), self.lib.ones(8)
        f = self.compiled(lambda a, b: a + b)
        return lambda: f(a, b)

    def tiny_fwdbwd(self, p: Params) -> Call:
        x, y = (self.lib.ones(8).requires_grad_() for _ in range(2))
        f = self.compiled(lambda x, y: x.add(y).relu().sum())

        def run():
            x.grad = y.grad = None
            f(x, y).backward()
            return x.grad

        return run

    def tiny_chain(self, p: Params) -> Call:
        a, b = self.lib.full((8,), 0.5), self.lib.ones(8)
        f = self.compiled(chain)
        return lambda: f(a, b)
