"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dlcore import _C
from dlcore.optim.optimizer import Optimizer, new_moment

__all__ = ["SGD"]


class SGD(Optimizer):
    """Steps against the gradient, or against its running sum.

    With g the gradient plus weight_decay · w:

        b = momentum · b + (1 - dampening) g    (b = g at first)
        w = w - lr · b,  with nesterov  w = w - lr (g + momentum · b)

    All parameters of a group are updated by one call of one kernel. Buffers of bfloat16 parameters are float32.

    Args:
        params: tensors, or dicts for groups with options of their own.
        lr: learning rate, >= 0.
        momentum: >= 0; with 0 there is no buffer.
        dampening: of what comes into the buffer.
        weight_decay: >= 0.
        nesterov: look ahead; needs momentum > 0 and dampening 0.
        maximize: go up instead of down.

    Raises:
        ValueError: an option out of its range, no parameters, or one that appears twice.

    Source: I. Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013, in the form
    that PyTorch computes.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        options = {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay}
        super().__init__(params, {**options, "nesterov": nesterov, "maximize": maximize})

    def _check(self, group: dict[str, Any]) -> None:
        for key in ("lr", "momentum", "weight_decay"):
            self._require(group[key] >= 0, f"{key} >= 0", group[key])
        plain = group["momentum"] > 0 and group["dampening"] == 0
        given = f"momentum={group['momentum']} and dampening={group['dampening']}"
        self._require(plain or not group["nesterov"], "momentum > 0 and dampening 0 for nesterov", given)

    def _update(self, group: dict[str, Any], scale: float) -> None:
        params = [p for p in group["params"] if p.grad is not None]
        buffers, first = [], []
        if group["momentum"] != 0:
            held = [self.state[p].get("momentum_buffer") for p in params]
            first = [b is None for b in held]
            buffers = [new_moment(p) if b is None else b for p, b in zip(params, held, strict=True)]
        _C.sgd_step(
            params,
            [p.grad for p in params],
            buffers,
            first,
            group["lr"],
            group["momentum"],
            group["dampening"],
            group["weight_decay"],
            group["nesterov"],
            -scale if group["maximize"] else scale,
        )
        for p, b in zip(params, buffers, strict=False):  # there are none without momentum
            self.state[p]["momentum_buffer"] = b
