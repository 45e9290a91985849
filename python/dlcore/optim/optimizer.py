"""What every optimiser has: parameter groups, state for each parameter, saving and loading."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from dlcore import _C
from dlcore.nn.utils.clip_grad import clipping_factor
from dlcore.state import enable_grad, no_grad
from dlcore.tensor import Tensor

__all__ = ["Optimizer"]


class Optimizer:
    """Base class. A subclass gives `_update(group, scale)`, which steps the parameters of a group that have a gradient,
    by the gradients times `scale`.

    Args:
        params: tensors, (name, tensor) pairs, or dicts ``{"params": tensors, option: value, …}``, one for each group.
        defaults: options of groups that do not set them.

    Attributes:
        param_groups: a list of dicts: "params" and the options, which may be changed between steps.
        state: for each parameter a dict of what the optimiser remembers about it.
        grad_norm: of the latest step with `max_norm`, the norm of its gradients before clipping; None before one.

    Raises:
        ValueError: no parameters, one that appears twice, or an unknown option.
        TypeError: a parameter that is not a floating tensor.
    """

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self.param_groups: list[dict[str, Any]] = []
        self.state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        self.grad_norm: float | None = None
        if isinstance(params, _C.Tensor):
            raise TypeError(f"[{self._op}] expected an iterable of parameters, got a Tensor; put it into a list")
        groups = list(params)
        if not groups:
            raise ValueError(f"[{self._op}] got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    @property
    def _op(self) -> str:
        return type(self).__name__

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds parameters with options of their own: ``{"params": tensors, "lr": 1e-4}``."""
        if not isinstance(param_group, dict) or "params" not in param_group:
            raise TypeError(f"[{self._op}] a parameter group must be a dict with the key 'params', got {param_group!r}")
        unknown = set(param_group) - {"params", "name", "initial_lr"} - set(self.defaults)
        if unknown:
            raise ValueError(f"[{self._op}] unknown options {sorted(unknown)}; there are {sorted(self.defaults)}")
        given = param_group["params"]
        params = [given] if isinstance(given, _C.Tensor) else list(given)
        params = [p[1] if isinstance(p, tuple) and len(p) == 2 else p for p in params]
        group = {"params": params, **self.defaults, **{k: v for k, v in param_group.items() if k != "params"}}
        seen = {id(p) for g in self.param_groups for p in g["params"]}
        for i, p in enumerate(params):
            if not isinstance(p, _C.Tensor):
                raise TypeError(
                    f"[{self._op}] expected parameters to be tensors, got {type(p).__name__} at position {i}"
                )
            if not p.dtype.is_floating_point:
                raise TypeError(f"[{self._op}] expected floating parameters, got {p.dtype!r} of shape {p.shape}")
            if p._node is not None:
                raise ValueError(
                    f"[{self._op}] expected leaves, got the result of an operation of shape {p.shape} at position {i}"
                )
            if id(p) in seen:
                raise ValueError(f"[{self._op}] the parameter of shape {p.shape} at position {i} appears twice")
            seen.add(id(p))
        self._check(group)
        self.param_groups.append(group)

    def _check(self, group: dict[str, Any]) -> None:
        """Raises ValueError for options out of their range."""

    def _require(self, condition: bool, what: str, value: Any) -> None:
        if not condition:
            raise ValueError(f"[{self._op}] expected {what}, got {value}")

    def _update(self, group: dict[str, Any], scale: float) -> None:
        raise NotImplementedError

    def step(self, closure: Callable[[], Any] | None = None, *, max_norm: float | None = None) -> Any:
        """Updates every parameter that has a gradient.

        Args:
            closure: computes the loss and its gradients anew; what it returns is returned.
            max_norm: clips as `nn.utils.clip_grad_norm_` does, but in the same pass over the gradients, which stay as
                they are; their norm is then in `grad_norm`. None: without clipping.

        Raises:
            ValueError: max_norm < 0 or NaN.
        """
        if max_norm is not None:
            self._require(max_norm >= 0, "max_norm >= 0", max_norm)
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        with no_grad():
            scale = 1.0 if max_norm is None else self._clipping(max_norm)
            for group in self.param_groups:
                self._update(group, scale)
        return loss

    def _clipping(self, max_norm: float) -> float:
        """The factor for all gradients; NaN where their norm is."""
        grads = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        self.grad_norm = _C.global_norm(grads, 2.0)
        return clipping_factor(self.grad_norm, max_norm)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets all gradients; with `set_to_none` False sets those that exist to zero in place."""
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none:
                    p.grad = None
                elif p.grad is not None:
                    _C.copy_into(_C.zeros((), p.grad.dtype), p.grad)

    def state_dict(self) -> dict[str, Any]:
        """``{"state": {index: {…}}, "param_groups": [{…, "params": [index, …]}]}``: dicts of tensors and numbers.

        Parameters are numbered through all groups. The tensors are the optimiser's own, not copies.
        """
        numbers = {id(p): i for i, p in enumerate(p for g in self.param_groups for p in g["params"])}
        groups = [{**g, "params": [numbers[id(p)] for p in g["params"]]} for g in self.param_groups]
        state = {numbers[id(p)]: dict(s) for p, s in self.state.items() if id(p) in numbers}
        return {"state": dict(sorted(state.items())), "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over options and state from what `state_dict` gave; tensors are copied.

        Raises:
            ValueError: groups of other sizes, or state of another shape than its parameter.
        """
        groups, state = state_dict["param_groups"], state_dict["state"]
        here, there = [len(g["params"]) for g in self.param_groups], [len(g["params"]) for g in groups]
        if here != there:
            raise ValueError(f"[{self._op}] expected parameter groups of sizes {here}, got {there}")
        places = [i for g in groups for i in g["params"]]
        params = dict(zip(places, (p for g in self.param_groups for p in g["params"]), strict=True))
        loaded: dict[Tensor, dict[str, Any]] = {}
        for i, values in state.items():
            p = params.get(i if i in params else int(i))  # JSON turns the numbers into strings
            if p is None:
                raise ValueError(
                    f"[{self._op}] there is state for parameter {i}, but there are {len(params)} parameters"
                )
            loaded[p] = {k: self._take_over(p, k, v) for k, v in values.items()}
        for mine, given in zip(self.param_groups, groups, strict=True):
            mine.update({k: tuple(v) if isinstance(v, list) else v for k, v in given.items() if k != "params"})
        self.state.clear()
        self.state.update(loaded)

    def _take_over(self, p: Tensor, key: str, value: Any) -> Any:
        if key == "step":
            return int(value)  # PyTorch keeps it as a tensor
        if not isinstance(value, _C.Tensor):
            return value
        if value.shape != p.shape:
            raise ValueError(f"[{self._op}] expected {key!r} of shape {p.shape}, got {value.shape}")
        return _C.clone(_C.to_device(_C.cast(value, moment_dtype(p)), p.device))

    def __repr__(self) -> str:
        lines = [f"{self._op} ("]
        for i, group in enumerate(self.param_groups):
            options = ", ".join(f"{k}={v}" for k, v in group.items() if k != "params")
            lines.append(f"  group {i}: {len(group['params'])} parameters, {options}")
        return "\n".join([*lines, ")"])


def new_moment(p: Tensor) -> Any:
    """Zeros for a running average of the gradients of `p`, where `p` lies."""
    return _C.zeros(p.shape, moment_dtype(p), p.device)


def moment_dtype(p: Tensor) -> Any:
    """The dtype of running averages: the parameter's, but float32 for bfloat16, in which small updates would vanish."""
    return _C.float32 if p.dtype is _C.bfloat16 else p.dtype
