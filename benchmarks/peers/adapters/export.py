"""Writes a model of the PyTorch adapter as ONNX: python -m benchmarks.peers.adapters.export MODEL SIZE FILE"""

from __future__ import annotations

import os
import sys

import torch

from benchmarks.peers.adapters.torch_ import Eager


def main(model: str, size: str, path: str) -> None:
    """The model is "gpt2", "vit" or "resnet50"; the size is the number of tokens or of images."""
    adapter = Eager(threads=1)
    if model == "gpt2":
        arguments = torch.zeros(1, int(size), dtype=torch.int64), True
        module = adapter.frozen_gpt("fp32")
    else:
        arguments = (torch.zeros(int(size), 3, 224, 224),)
        module = adapter.vision_model(model)
    part = f"{path}.part"
    torch.onnx.export(module, arguments, part, dynamo=False, opset_version=17, input_names=["x"])
    os.replace(part, path)


if __name__ == "__main__":
    main(*sys.argv[1:])
