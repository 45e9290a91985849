"""Models for the libraries that share PyTorch's names: GPT-2, a vision transformer, residual networks, a
recurrent one.

Each function gets the adapter (`a`), whose `nn`, `F` and `lib` it builds the model of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.peers import inputs
from benchmarks.peers.inputs import Params

if TYPE_CHECKING:
    from benchmarks.peers.adapters.torch_names import TorchNames

LAYERS = ("ln1", "ln2", "qkv", "proj", "fc", "out")


def block(a: TorchNames, C: int, H: int, causal: bool) -> Any:
    """x + attention(norm(x)), then x + mlp(norm(x))."""
    nn = a.nn

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.ln1, self.ln2 = nn.LayerNorm(C), nn.LayerNorm(C)
            self.qkv, self.proj = nn.Linear(C, 3 * C), nn.Linear(C, C)
            self.fc, self.out = nn.Linear(C, 4 * C), nn.Linear(4 * C, C)

        def heads(self, x):
            """q, k and v of x, (B, H, T, D)."""
            B, T, _ = x.shape
            return (t.view(B, T, H, C // H).transpose(1, 2) for t in self.qkv(self.ln1(x)).split(C, 2))

        def rest(self, x, y):
            B, T, _ = x.shape
            x = x + self.proj(y.transpose(1, 2).reshape(B, T, C))
            return x + self.out(a.linear_gelu(self.fc, self.ln2(x)))

        def forward(self, x):
            q, k, v = self.heads(x)
            return self.rest(x, a.F.scaled_dot_product_attention(q, k, v, is_causal=causal))

    return Block()


def gpt(a: TorchNames, sizes: Params) -> Any:
    """GPT-2 with the parameters of inputs.gpt_parameters."""
    nn = a.nn

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.wte, self.wpe = nn.Embedding(sizes["V"], sizes["C"]), nn.Embedding(sizes["Tmax"], sizes["C"])
            self.blocks = nn.ModuleList([block(a, sizes["C"], sizes["H"], causal=True) for _ in range(sizes["L"])])
            self.lnf = nn.LayerNorm(sizes["C"])

        def logits(self, x):
            return a.F.linear(self.lnf(x), self.wte.weight)

        def forward(self, tokens, last=False):
            """Logits of every token, or of the last one."""
            x = self.wte(tokens) + self.wpe.weight[: tokens.shape[1]]
            for layer in self.blocks:
                x = layer(x)
            return self.logits(x[:, -1:] if last else x)

    model, parameters = GPT(), inputs.gpt_parameters(sizes)
    a.assign(model.wte.weight, parameters["wte"])
    a.assign(model.wpe.weight, parameters["wpe"])
    owners = [(model, parameters, ("lnf",))]
    owners += [(layer, arrays, LAYERS) for layer, arrays in zip(model.blocks, parameters["blocks"], strict=True)]
    for owner, arrays, names in owners:
        for name in names:
            a.assign(getattr(owner, name).weight, arrays[f"{name}_w"].T)
            a.assign(getattr(owner, name).bias, arrays[f"{name}_b"])
    return model


def vit(a: TorchNames) -> Any:
    """ViT-B/16 for 224 pixels and 1000 classes."""
    nn, C = a.nn, 768

    class ViT(nn.Module):
        def __init__(self):
            super().__init__()
            self.patch = nn.Conv2d(3, C, 16, 16)
            self.cls, self.pos = nn.Parameter(a.lib.zeros((1, 1, C))), nn.Parameter(a.lib.zeros((1, 197, C)))
            self.blocks = nn.Sequential(*[block(a, C, 12, causal=False) for _ in range(12)])
            self.ln, self.head = nn.LayerNorm(C), nn.Linear(C, 1000)

        def forward(self, x):
            x = self.patch(x).flatten(2).transpose(1, 2)
            x = a.lib.cat([self.cls.expand((x.shape[0], 1, C)), x], 1) + self.pos
            return self.head(self.ln(self.blocks(x)[:, 0]))

    return ViT()


def resnet(a: TorchNames, bottleneck: bool, layers: tuple[int, ...], classes: int) -> Any:
    """ResNet with blocks of two 3 x 3 convolutions, or of 1 x 1, 3 x 3 and 1 x 1."""
    nn = a.nn

    def conv_norm(n_in: int, n_out: int, k: int, stride: int = 1) -> Any:
        return nn.Sequential(nn.Conv2d(n_in, n_out, k, stride, k // 2, bias=False), nn.BatchNorm2d(n_out))

    class Block(nn.Module):
        def __init__(self, n_in, width, stride):
            super().__init__()
            n_out = 4 * width if bottleneck else width
            kernels = (1, 3, 1) if bottleneck else (3, 3)
            sizes = (n_in, width, width, n_out) if bottleneck else (n_in, width, n_out)
            strided = 1 if bottleneck else 0
            self.convs = nn.ModuleList(
                [conv_norm(sizes[i], sizes[i + 1], k, stride if i == strided else 1) for i, k in enumerate(kernels)]
            )
            self.skip = conv_norm(n_in, n_out, 1, stride) if stride != 1 or n_in != n_out else None

        def forward(self, x):
            y = x
            for conv in self.convs[:-1]:
                y = a.norm_relu(conv, y)
            return a.norm_relu(self.convs[-1], y, x if self.skip is None else self.skip(x))

    class Pool(nn.Module):
        def forward(self, x):
            return x.mean((2, 3))

    stages, n_in = [conv_norm(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)], 64
    for count, width, stride in zip(layers, (64, 128, 256, 512), (1, 2, 2, 2), strict=True):
        for i in range(count):
            stages.append(Block(n_in, width, 1 if i else stride))
            n_in = 4 * width if bottleneck else width
    return nn.Sequential(*stages, Pool(), nn.Linear(n_in, classes))


def char_lstm(a: TorchNames, vocabulary: int, width: int, layers: int) -> Any:
    nn = a.nn

    class CharLSTM(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(vocabulary, width)
            self.lstm = nn.LSTM(width, width, layers, batch_first=True)
            self.head = nn.Linear(width, vocabulary)

        def forward(self, tokens):
            return self.head(self.lstm(self.embedding(tokens))[0])

    return CharLSTM()
