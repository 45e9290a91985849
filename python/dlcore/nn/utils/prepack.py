"""Weights in the order that kernels read them, for inference."""

from __future__ import annotations

from typing import TypeVar

from dlcore import _C
from dlcore.nn.conv import Conv2d
from dlcore.nn.linear import Linear
from dlcore.nn.module import Module

__all__ = ["prepack"]

Model = TypeVar("Model", bound=Module)


def prepack(model: Model, keep: bool = True) -> Model:
    """Has the layers of a model keep a copy of their weights in the order that the kernel reads them.

    Otherwise every call puts them into that order anew, which with few images takes as long as reading them from memory
    does. Convolutions use the copy for small images, linear layers for 169 rows and more; it is not made before, and
    takes as much memory as the weights. Results are the same bits. Weights that change are noticed and copied anew, so
    a model may be trained on, though without gain; parameters that are replaced, as by `to(dtype)`, are not: call it
    after that.

    Args:
        model: any module; its `Conv2d` and `Linear` layers are meant.
        keep: False gives the copies' memory back.

    Returns:
        The model itself.
    """
    if not isinstance(model, Module):
        raise TypeError(f"[prepack] expected a Module, got {type(model).__name__}")
    for module in model.modules():
        if isinstance(module, (Conv2d, Linear)):
            _C.keep_packed(module.weight, keep)
    return model
