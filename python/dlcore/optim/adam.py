"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dlcore import _C
from dlcore.optim.optimizer import Optimizer, new_moment

__all__ = ["Adam", "AdamW"]


class Adam(Optimizer):
    """Steps by the running mean of the gradient over the root of its running mean square.

    With g the gradient (plus weight_decay · w) at step t:

        m = β₁ m + (1 - β₁) g,    v = β₂ v + (1 - β₂) g²
        w = w - lr · m / (1 - β₁ᵗ) / (√v / √(1 - β₂ᵗ) + ε)

    All parameters of a group are updated by one call of one kernel. Running means of bfloat16 parameters are float32.

    Args:
        params: tensors, or dicts for groups with options of their own.
        lr: learning rate, >= 0.
        betas: (β₁, β₂), both in [0, 1).
        eps: ε >= 0, outside of the root.
        weight_decay: added to the gradient as weight_decay · w, >= 0.
        amsgrad: use the largest v so far.
        maximize: go up instead of down.

    Raises:
        ValueError: an option out of its range, no parameters, or one that appears twice.

    Source: D. Kingma and J. Ba, "Adam: a method for stochastic optimization", 2015; amsgrad: S. Reddi et al., "On the
    convergence of Adam and beyond", 2018.
    """

    _decoupled = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        options = {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**options, "amsgrad": amsgrad, "maximize": maximize})

    def _check(self, group: dict[str, Any]) -> None:
        self._require(group["lr"] >= 0, "lr >= 0", group["lr"])
        self._require(group["eps"] >= 0, "eps >= 0", group["eps"])
        self._require(group["weight_decay"] >= 0, "weight_decay >= 0", group["weight_decay"])
        betas = group["betas"]
        self._require(len(betas) == 2 and all(0 <= b < 1 for b in betas), "two betas in [0, 1)", betas)

    def _update(self, group: dict[str, Any], scale: float) -> None:
        params = [p for p in group["params"] if p.grad is not None]
        amsgrad = group["amsgrad"]
        beta1, beta2 = group["betas"]
        states = [self._state(p, amsgrad) for p in params]
        _C.adam_step(
            self._op,
            params,
            [p.grad for p in params],
            [s["exp_avg"] for s in states],
            [s["exp_avg_sq"] for s in states],
            [s["max_exp_avg_sq"] for s in states] if amsgrad else [],
            [s["step"] + 1 for s in states],
            group["lr"],
            beta1,
            beta2,
            group["eps"],
            group["weight_decay"],
            self._decoupled,
            -scale if group["maximize"] else scale,
        )
        for s in states:
            s["step"] += 1

    def _state(self, p: Any, amsgrad: bool) -> dict[str, Any]:
        s = self.state[p]
        if not s:
            s["step"] = 0
        for key in ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")[: 3 if amsgrad else 2]:
            if key not in s:
                s[key] = new_moment(p)
        return s


class AdamW(Adam):
    """Adam with decoupled weight decay: w shrinks by lr · weight_decay · w, apart from the gradient's statistics.

    Args and Raises: as for `Adam`; `weight_decay` is 0.01 by default.

    Source: I. Loshchilov and F. Hutter, "Decoupled weight decay regularization", 2019.
    """

    _decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)
