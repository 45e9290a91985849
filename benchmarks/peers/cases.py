"""Every case: name, family (the method that an adapter implements), parameters and work.

flops and bytes are the useful work, whatever a peer really does; bytes count each input and each output once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.peers.inputs import GPT, gpt_flops, gpt_parameter_count


@dataclass(frozen=True)
class Case:
    """What is timed, and how much work it is."""

    name: str
    family: str
    params: dict[str, Any]
    flops: float = 0.0
    bytes: float = 0.0
    touched: float | None = None  # distinct bytes: they pick the level of the memory; `bytes`, if not given
    dtype: str = "fp32"  # which peak
    items: float = 0.0  # tokens or images in one call
    unit: str = ""
    heavy: bool = False  # as large as a model: more time
    fresh: bool = False  # in new processes, so that the peak of the memory is this case's own
    one_thread: bool = True  # part of the pass with fewer threads, too
    quick: bool = False  # part of --quick

    @property
    def group(self) -> str:
        return self.name.partition("/")[0]


def matmul(
    name: str, M: int, K: int, N: int, batch: int = 1, ta: int = 0, tb: int = 0, dtype: str = "fp32", **options: Any
) -> Case:
    size = 2 if dtype == "bf16" else 4
    params = {"M": M, "K": K, "N": N, "batch": batch, "ta": ta, "tb": tb, "dtype": dtype}
    work = {"flops": 2 * batch * M * N * K, "bytes": size * batch * (M * K + K * N + M * N)}
    return Case(f"matmul/{name}", "matmul", params, **work, dtype=dtype, **options)


def matmuls() -> list[Case]:
    sizes = [(512, 768, 768), (512, 768, 2304), (512, 768, 3072), (512, 3072, 768), (512, 768, 50257)]
    sizes += [(1024, 768, 3072), (1024, 3072, 768)]
    return [
        *(matmul(f"sq{n}", n, n, n, quick=n in (64, 256, 1024)) for n in (64, 128, 256, 512, 1024, 2048, 4096)),
        *(matmul(f"gpt_{M}x{K}x{N}", M, K, N, quick=(M, N) == (512, 3072)) for M, K, N in sizes),
        matmul("gemv_1x768x3072", 1, 768, 3072, quick=True),
        matmul("skinny_8x768x3072", 8, 768, 3072),
        matmul("gemv_1x768x50257_NT", 1, 768, 50257, tb=1),
        matmul("batched_96x64x64x64", 64, 64, 64, batch=96, quick=True),
        matmul("sq1024_TN", 1024, 1024, 1024, ta=1),
        matmul("sq1024_NT", 1024, 1024, 1024, tb=1),
        matmul("sq1024_TT", 1024, 1024, 1024, ta=1, tb=1),
        matmul("gpt_512x768x3072_NT", 512, 768, 3072, tb=1),
        matmul("bf16_sq1024", 1024, 1024, 1024, dtype="bf16", quick=True),
        matmul("bf16_sq2048", 2048, 2048, 2048, dtype="bf16"),
        matmul("bf16_512x768x3072", 512, 768, 3072, dtype="bf16"),
        matmul("bf16_gemv_1x768x3072", 1, 768, 3072, dtype="bf16"),
    ]


CONVOLUTIONS = [  # name, N, Ci, HW, Co, kernel, stride, padding, groups
    ("rn50_3-64_7x7s2_224", 8, 3, 224, 64, 7, 2, 3, 1),
    ("rn50_64-64_3x3_56", 8, 64, 56, 64, 3, 1, 1, 1),
    ("rn50_128-128_3x3_28", 8, 128, 28, 128, 3, 1, 1, 1),
    ("rn50_256-256_3x3_14", 8, 256, 14, 256, 3, 1, 1, 1),
    ("rn50_512-512_3x3_7", 8, 512, 7, 512, 3, 1, 1, 1),
    ("rn50_256-64_1x1_56", 8, 256, 56, 64, 1, 1, 0, 1),
    ("dw_144_3x3_56", 8, 144, 56, 144, 3, 1, 1, 144),
    ("mnist_1-32_3x3_28", 64, 1, 28, 32, 3, 1, 1, 1),
]


def convolutions() -> list[Case]:
    cases = []
    for name, N, Ci, HW, Co, k, s, p, g in CONVOLUTIONS:
        out = (HW + 2 * p - k) // s + 1
        flops = 2 * N * out * out * Co * (Ci // g) * k * k
        size = 4 * (N * Ci * HW * HW + Co * (Ci // g) * k * k + N * Co * out * out)
        params = {"N": N, "Ci": Ci, "HW": HW, "Co": Co, "k": k, "s": s, "p": p, "g": g, "O": out}
        quick = name.startswith(("rn50_128", "dw"))
        cases.append(Case(f"conv_fwd/{name}", "conv_fwd", params, flops, size, quick=quick))
        cases.append(Case(f"conv_bwd/{name}", "conv_bwd", params, 2 * flops, 2 * size, touched=size, quick=quick))
    return cases


def op(name: str, family: str, params: dict[str, Any], streams: float, n: int, quick: bool = False) -> Case:
    """An operation that reads or writes `streams` arrays of n floats."""
    return Case(f"ops/{name}", family, params, bytes=streams * n * 4, quick=quick)


def operations() -> list[Case]:
    rows = {name: {"R": R, "C": C} for name, R, C in ROWS}
    batch = {"N": 8, "C": 64, "HW": 56}
    pooled = {"N": 8, "C": 64, "HW": 112}
    words = {"V": 50257, "C": 768, "n": 1024}
    narrow, wide, norm, hidden = (R * C for _, R, C in ROWS)
    return [
        op("add_16M", "add", {"n": 1 << 24}, 3, 1 << 24, quick=True),
        op("sum_64M", "sum", {"n": 1 << 26}, 1, 1 << 26),
        op("softmax_fwd_4096x512", "softmax_fwd", rows["4096x512"], 2, narrow, quick=True),
        op("softmax_fwd_512x50257", "softmax_fwd", rows["512x50257"], 2, wide),
        op("softmax_fwdbwd_4096x512", "softmax_fwdbwd", rows["4096x512"], 5, narrow),
        op("xent_fwdbwd_512x50257", "xent_fwdbwd", rows["512x50257"], 2, wide, quick=True),
        op("xent_fwdbwd_4096x512", "xent_fwdbwd", rows["4096x512"], 2, narrow),
        op("layernorm_fwd_4096x768", "layernorm_fwd", rows["4096x768"], 2, norm),
        op("layernorm_fwdbwd_4096x768", "layernorm_fwdbwd", rows["4096x768"], 5, norm, quick=True),
        op("gelu_fwd_4096x3072", "gelu_fwd", rows["4096x3072"], 2, hidden, quick=True),
        op("gelu_fwdbwd_4096x3072", "gelu_fwdbwd", rows["4096x3072"], 5, hidden),
        op("batchnorm_fwdbwd_8x64x56x56", "batchnorm_fwdbwd", batch, 5, 8 * 64 * 56 * 56),
        op("maxpool_fwd_8x64x112x112", "maxpool_fwd", pooled, 1.25, 8 * 64 * 112 * 112),
        op("maxpool_fwdbwd_8x64x112x112", "maxpool_fwdbwd", pooled, 2.5, 8 * 64 * 112 * 112),
        op("embedding_fwd_1024of50257x768", "embedding_fwd", words, 2, 1024 * 768),
        op("embedding_grad_1024of50257x768", "embedding_grad", words, 1, 50257 * 768),
        op("dropout_fwdbwd_4096x768", "dropout_fwdbwd", rows["4096x768"], 4, norm),
    ]


ROWS = [("4096x512", 4096, 512), ("512x50257", 512, 50257), ("4096x768", 4096, 768), ("4096x3072", 4096, 3072)]


def attentions() -> list[Case]:
    B, H, D = 4, 12, 64
    cases = []
    forward = [(1, 128), (1, 512), (1, 1024), (1, 2048), (0, 128), (0, 512), (0, 1024)]
    both = [(1, 128), (1, 512), (1, 1024), (1, 2048), (0, 512)]
    for backward, shapes in ((0, forward), (1, both)):
        for causal, T in shapes:
            name = f"attn/{'causal' if causal else 'full'}_{'fwdbwd' if backward else 'fwd'}_T{T}"
            flops = 4 * B * H * T * T * D / (2 if causal else 1) * (3 if backward else 1)
            size = B * H * T * D * 4
            params = {"B": B, "H": H, "T": T, "D": D, "causal": causal}
            family, moved, touched = ("attn_fwdbwd", 12, 8) if backward else ("attn_fwd", 4, 4)
            quick = bool(causal) and T == 512
            cases.append(Case(name, family, params, flops, moved * size, touched * size, quick=quick))
    for B in (1, 8):
        params = {"B": B, "H": 12, "Tk": 1024, "D": 64}
        work = {"flops": B * 4 * 12 * 1024 * 64, "bytes": B * 2 * 12 * 1024 * 64 * 4}
        cases.append(Case(f"attn/decode_B{B}_Tk1024", "attn_decode", params, **work))
    return cases


GPT2_PARAMETERS = gpt_parameter_count(GPT["gpt2"])


def optimizers() -> list[Case]:
    size = 4 * GPT2_PARAMETERS
    return [
        Case("optim/adamw_124M", "adamw", {}, bytes=7 * size, touched=4 * size, heavy=True),
        Case("optim/clip_norm_124M", "clip_norm", {}, bytes=3 * size, heavy=True, one_thread=False),
    ]


def recurrent() -> list[Case]:
    T, B, H = 128, 32, 256
    cases = []
    for kind, gates in (("lstm", 4), ("gru", 3)):
        for layers in (1, 2):
            for backward in (0, 1):
                name = f"rnn/{kind}_{'fwdbwd' if backward else 'fwd'}_L{layers}"
                params = {"kind": kind, "layers": layers, "bwd": backward, "T": T, "B": B, "H": H}
                flops = layers * T * 2 * B * (2 * H) * gates * H * (3 if backward else 1)
                size = 4 * (T * B * H * 2 + layers * gates * H * 2 * H)
                cases.append(Case(name, "rnn", params, flops, size, quick=kind == "lstm" and layers == 1))
    return cases


def model(
    name: str, family: str, params: dict[str, Any], flops: float, bytes: float, items: float, unit: str, **options: Any
) -> Case:
    return Case(name, family, params, flops, bytes, items=items, unit=unit, heavy=True, **options)


def training() -> list[Case]:
    mlp_flops = 6 * 128 * (784 * 512 + 512 * 512 + 5120)
    cnn_flops = 6 * 64 * (28 * 28 * 32 * 9 + 14 * 14 * 64 * 32 * 9 + 3136 * 128 + 1280)
    resnet_flops = 3 * 16 * 2 * 148.1e6
    lstm_flops = 3 * (2 * 128 * 2 * 32 * 512 * 1024 + 2 * 128 * 32 * 256 * 65)
    lstm = {"B": 32, "T": 128, "H": 256, "L": 2, "V": 65}
    mlp, cnn, resnet, unet = {"B": 128}, {"B": 64}, {"B": 16, "HW": 64}, {"B": 8, "HW": 32, "ch": 64}
    gpts = []
    for name, B, T in (("small", 8, 256), ("gpt2", 1, 256)):
        sizes, params = GPT[name], {"cfg": name, "B": B, "T": T}
        label = f"train/gpt_small_B{B}_T{T}" if name == "small" else f"train/gpt2_124M_B{B}_T{T}"
        work = (3 * gpt_flops(sizes, B, T), 28 * gpt_parameter_count(sizes), B * T, "tok/s")
        small = name == "small"
        gpts.append(model(label, "train_gpt", params, *work, fresh=True, quick=small, one_thread=small))
    slow = {"one_thread": False}
    images, tokens = "img/s", "tok/s"
    return [
        model("train/mlp_784-512-512-10_B128", "train_mlp", mlp, mlp_flops, 28 * 669706, 128, images, quick=True),
        model("train/cnn_28x28_B64", "train_cnn", cnn, cnn_flops, 28 * 421642, 64, images, **slow),
        model("train/resnet18_64x64_B16", "train_resnet18", resnet, resnet_flops, 20 * 11.2e6, 16, images, **slow),
        *gpts,
        model("train/char_lstm_B32_T128", "train_charlstm", lstm, lstm_flops, 28 * 1.1e6, 32 * 128, tokens, **slow),
        model("train/ddpm_unet_32x32_B8", "train_unet", unet, 0, 0, 8, images, **slow),
    ]


def inference() -> list[Case]:
    gpt2, cases = GPT["gpt2"], []
    # What a step of decoding reads: the weights, and the cache's keys and values.
    read = GPT2_PARAMETERS - gpt2["Tmax"] * gpt2["C"] + 2 * 272 * 12 * 768
    for dtype, size in (("fp32", 4), ("bf16", 2)):
        name, params = f"infer/gpt2_prefill512_{dtype}", {"T": 512, "dtype": dtype}
        work = (gpt_flops(gpt2, 1, 512, predicted=1), size * GPT2_PARAMETERS, 512, "tok/s")
        cases.append(model(name, "gpt_prefill", params, *work, dtype=dtype, one_thread=False))
        name, params = f"infer/gpt2_decode32_ctx256_{dtype}", {"T": 256, "n": 32, "dtype": dtype}
        work = (32 * 2 * GPT2_PARAMETERS, 32 * size * read, 32, "tok/s")
        options = {"dtype": dtype, "touched": size * GPT2_PARAMETERS, "one_thread": dtype == "fp32"}
        cases.append(model(name, "gpt_decode", params, *work, **options))
    for name, family, flops, parameters in (
        ("vit_b16", "infer_vit", 35.1e9, 86.6e6),
        ("resnet50", "infer_resnet50", 8.2e9, 25.6e6),
    ):
        for B in (1, 8):
            first = name == "resnet50" and B == 1
            work = (B * flops, 4 * parameters, B, "img/s")
            cases.append(model(f"infer/{name}_B{B}", family, {"B": B}, *work, one_thread=first, quick=first))
    return cases


def dispatch() -> list[Case]:
    names = [("add_8", "tiny_add"), ("add_relu_sum_bwd_8", "tiny_fwdbwd"), ("chain10_8", "tiny_chain")]
    return [Case(f"dispatch/{name}", family, {}, quick=True) for name, family in names]


CASES = [
    *matmuls(),
    *convolutions(),
    *operations(),
    *attentions(),
    *optimizers(),
    *recurrent(),
    *training(),
    *inference(),
    *dispatch(),
]
BY_NAME = {case.name: case for case in CASES}
FAMILIES = sorted({case.family for case in CASES})
