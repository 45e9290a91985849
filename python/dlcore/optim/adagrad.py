"""Adagrad."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dlcore import _C
from dlcore.optim.optimizer import Optimizer, new_moment

__all__ = ["Adagrad"]


class Adagrad(Optimizer):
    """Steps by the gradient over the root of the sum of all its squares so far: rare gradients count for more.

    With g the gradient (plus weight_decay · w) at step t = 1, 2 …

        v = v + g²,    w = w - lr / (1 + (t - 1) lr_decay) · g / (√v + ε)

    All parameters of a group are updated by one call of one kernel. Sums of bfloat16 parameters are float32.

    Args:
        params: tensors, or dicts for groups with options of their own.
        lr: learning rate, >= 0.
        lr_decay: how fast it falls, >= 0.
        weight_decay: added to the gradient as weight_decay · w, >= 0.
        initial_accumulator_value: where v starts, >= 0.
        eps: ε >= 0, outside of the root.
        maximize: go up instead of down.

    Raises:
        ValueError: an option out of its range, no parameters, or one that appears twice.

    Source: J. Duchi, E. Hazan and Y. Singer, "Adaptive subgradient methods for online learning and stochastic
    optimization", 2011, in the form that PyTorch computes.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        options = {"lr": lr, "lr_decay": lr_decay, "weight_decay": weight_decay, "eps": eps, "maximize": maximize}
        super().__init__(params, {**options, "initial_accumulator_value": initial_accumulator_value})

    def _check(self, group: dict[str, Any]) -> None:
        for key in ("lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps"):
            self._require(group[key] >= 0, f"{key} >= 0", group[key])

    def _update(self, group: dict[str, Any], scale: float) -> None:
        params = [p for p in group["params"] if p.grad is not None]
        states = [self._state(p, group["initial_accumulator_value"]) for p in params]
        _C.adagrad_step(
            params,
            [p.grad for p in params],
            [s["sum"] for s in states],
            [group["lr"] / (1 + s["step"] * group["lr_decay"]) for s in states],
            group["eps"],
            group["weight_decay"],
            -scale if group["maximize"] else scale,
        )
        for s in states:
            s["step"] += 1

    def _state(self, p: Any, start: float) -> dict[str, Any]:
        s = self.state[p]
        if not s:
            s["step"] = 0
            s["sum"] = new_moment(p).fill_(start)
        return s
