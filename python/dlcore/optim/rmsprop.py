"""RMSprop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dlcore import _C
from dlcore.optim.optimizer import Optimizer, new_moment

__all__ = ["RMSprop"]


class RMSprop(Optimizer):
    """Steps by the gradient over the root of its running mean square.

    With g the gradient plus weight_decay · w:

        v = α v + (1 - α) g²,    u = g / (√v + ε)
        w = w - lr · u,  with momentum  b = momentum · b + u,  w = w - lr · b

    `centered` takes for v the variance v - ḡ², with ḡ the running mean of g; never under 0, where rounding would take
    it. All parameters of a group are updated by one call of one kernel. State of bfloat16 parameters is float32.

    Args:
        params: tensors, or dicts for groups with options of their own.
        lr: learning rate, >= 0.
        alpha: how much of v is kept, in [0, 1].
        eps: ε >= 0, outside of the root.
        weight_decay: added to the gradient as weight_decay · w, >= 0.
        momentum: >= 0; with 0 there is no buffer.
        centered: divide by the standard deviation.
        maximize: go up instead of down.

    Raises:
        ValueError: an option out of its range, no parameters, or one that appears twice.

    Source: T. Tieleman and G. Hinton, "Lecture 6.5 - rmsprop", 2012; centered: A. Graves, "Generating sequences with
    recurrent neural networks", 2013, in the form that PyTorch computes.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        options = {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay, "momentum": momentum}
        super().__init__(params, {**options, "centered": centered, "maximize": maximize})

    def _check(self, group: dict[str, Any]) -> None:
        for key in ("lr", "eps", "weight_decay", "momentum"):
            self._require(group[key] >= 0, f"{key} >= 0", group[key])
        self._require(0 <= group["alpha"] <= 1, "alpha in [0, 1]", group["alpha"])

    def _update(self, group: dict[str, Any], scale: float) -> None:
        params = [p for p in group["params"] if p.grad is not None]
        keys = ["square_avg"]
        if group["centered"]:
            keys.append("grad_avg")
        if group["momentum"] != 0:
            keys.append("momentum_buffer")
        states = [self._state(p, keys) for p in params]
        _C.rmsprop_step(
            params,
            [p.grad for p in params],
            [s["square_avg"] for s in states],
            [s["grad_avg"] for s in states] if group["centered"] else [],
            [s["momentum_buffer"] for s in states] if group["momentum"] else [],
            group["lr"],
            group["alpha"],
            group["eps"],
            group["weight_decay"],
            group["momentum"],
            -scale if group["maximize"] else scale,
        )
        for s in states:
            s["step"] += 1

    def _state(self, p: Any, keys: list[str]) -> dict[str, Any]:
        s = self.state[p]
        s.setdefault("step", 0)
        for key in keys:
            if key not in s:
                s[key] = new_moment(p)
        return s
