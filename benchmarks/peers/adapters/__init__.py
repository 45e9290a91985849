"""One module a library; a peer is added by its line here and by one file."""

from __future__ import annotations

import importlib
import importlib.util
from typing import NamedTuple

from benchmarks.peers.adapters.base import Adapter

__all__ = ["PEERS", "Peer", "installed", "load"]


class Peer(NamedTuple):
    """Where its adapter is, what it imports, and what the report says of it."""

    module: str
    adapter: str
    packages: tuple[str, ...]
    about: str


PEERS = {
    "numpy": Peer("numpy_", "NumPy", ("numpy",), "the plain way"),
    "torch": Peer("torch_", "Eager", ("torch",), "PyTorch, eager"),
    "torch_alt": Peer(
        "torch_", "Alternative", ("torch",), "channels-last images, plain attention, `foreach` optimizers, `out=`"
    ),
    "torch_compile": Peer("torch_", "Compiled", ("torch",), "`torch.compile`, with frozen weights for inference"),
    "jax": Peer("jax_", "Jax", ("jax",), "JAX, jitted, buffers donated in training"),
    "ort": Peer("ort_", "OnnxRuntime", ("onnx", "onnxruntime"), "ONNX Runtime, constant weights packed in advance"),
    "raxis": Peer("raxis_", "Raxis", ("raxis",), "raxis, eager"),
    "dlcore": Peer("dlcore_", "DLCore", ("dlcore",), "this library"),
}


def installed(peer: str) -> bool:
    return all(importlib.util.find_spec(package) is not None for package in PEERS[peer].packages)


def load(peer: str, threads: int) -> Adapter:
    module = importlib.import_module(f"benchmarks.peers.adapters.{PEERS[peer].module}")
    return getattr(module, PEERS[peer].adapter)(threads)
