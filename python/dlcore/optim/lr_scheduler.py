"""Learning rate schedules: each writes `lr` into the optimiser's groups, once when made and once a `step()`.

As in PyTorch most schedules compute a rate from the one before, so that several of them can be stepped side by side.
In the formulas t counts the calls of `step()` and lr₀ is the group's rate at the start.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

from dlcore.optim.optimizer import Optimizer

__all__ = [
    "ConstantLR",
    "CosineAnnealingLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "OneCycleLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
    "WarmupCosineLR",
]


class LRScheduler:
    """Base class. A subclass gives `_next(lr, base)`: a group's rate at t = `last_epoch` from the one at t - 1.

    Args:
        optimizer: its groups' present `lr` becomes their `initial_lr`, lr₀.
        last_epoch: t of the step before, when going on without a saved state; -1 to start.

    Attributes:
        last_epoch: t.
        base_lrs: lr₀ of each group.

    Raises:
        TypeError: not an optimiser.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        _check_optimizer(optimizer, self._op)
        self.optimizer = optimizer
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise ValueError(
                    f"[{self._op}] last_epoch={last_epoch} needs 'initial_lr' in group {i}, which has none"
                )
        self.base_lrs: list[float] = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._first_step()

    @property
    def _op(self) -> str:
        return type(self).__name__

    def _require(self, condition: bool, what: str, value: Any) -> None:
        if not condition:
            raise ValueError(f"[{self._op}] expected {what}, got {value}")

    def _first_step(self) -> None:
        self._starting = True
        self.step()
        self._starting = False

    def _next(self, lr: float, base: float) -> float:
        raise NotImplementedError

    def _at(self, base: float) -> float | None:
        """The rate at t = `last_epoch` from lr₀ alone, to start in the middle of a run; None if there is none."""
        return None

    def get_lr(self) -> list[float]:
        """The rates for t = `last_epoch`, from those in the groups."""
        lrs = [group["lr"] for group in self.optimizer.param_groups]
        return [self._next(lr, base) for lr, base in zip(lrs, self.base_lrs, strict=True)]

    def get_last_lr(self) -> list[float]:
        """The rates of the latest step, one for each group."""
        return list(self._last_lr)

    def step(self) -> None:
        """Goes on by one step. Call it after the optimiser's."""
        self.last_epoch += 1
        self._write(self.get_lr())

    def _restart(self) -> None:
        """Begins at t = 0 whatever the rates are now: `SequentialLR` comes to this schedule."""
        self.last_epoch = 0
        rates = [self._at(base) for base in self.base_lrs]
        self._write(self.get_lr() if None in rates else [r for r in rates if r is not None])

    def _write(self, lrs: Sequence[float]) -> None:
        for group, lr in zip(self.optimizer.param_groups, lrs, strict=True):
            group["lr"] = lr
        self._last_lr = list(lrs)

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimiser and functions, as numbers, strings and lists."""
        return {k: v for k, v in self.__dict__.items() if k != "optimizer" and _is_plain(v)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from what `state_dict` gave. The groups' rates come with the optimiser's own state.

        Raises:
            ValueError: no `last_epoch` in it.
        """
        self._require("last_epoch" in state_dict, "a state with the key 'last_epoch'", sorted(state_dict))
        self.__dict__.update({k: v for k, v in state_dict.items() if k in self.__dict__})


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_is_plain(v) for v in value)
    if isinstance(value, dict):
        return all(_is_plain(v) for v in value.values())
    return value is None or isinstance(value, (int, float, str))


class LambdaLR(LRScheduler):
    """lr = lr₀ · f(t).

    Args:
        optimizer: whose rates to set.
        lr_lambda: f, or a list of functions, one for each group. Functions are not saved in the state.
        last_epoch: see `LRScheduler`.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        self.lr_lambdas = _for_each_group(optimizer, lr_lambda, "lr_lambda", self._op)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [base * f(self.last_epoch) for base, f in zip(self.base_lrs, self.lr_lambdas, strict=True)]


class StepLR(LRScheduler):
    """lr = lr₀ · gamma^⌊t / step_size⌋."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        self._require(step_size > 0, "step_size > 0", step_size)
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def _next(self, lr: float, base: float) -> float:
        return lr if self.last_epoch == 0 or self.last_epoch % self.step_size else lr * self.gamma

    def _at(self, base: float) -> float:
        return base * self.gamma ** (self.last_epoch // self.step_size)


class MultiStepLR(LRScheduler):
    """lr = lr₀ · gamma^(how many milestones are <= t)."""

    def __init__(
        self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def _next(self, lr: float, base: float) -> float:
        reached = self.milestones.count(self.last_epoch)
        return lr * self.gamma**reached if reached else lr

    def _at(self, base: float) -> float:
        return base * self.gamma ** bisect_right(self.milestones, self.last_epoch)


class ConstantLR(LRScheduler):
    """lr = lr₀ · factor for t < total_iters, then lr₀."""

    def __init__(self, optimizer: Optimizer, factor: float = 1 / 3, total_iters: int = 5, last_epoch: int = -1) -> None:
        self._require(0 < factor <= 1, "0 < factor <= 1", factor)
        self.factor, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def _next(self, lr: float, base: float) -> float:
        if self.last_epoch == 0:
            return lr * self.factor
        return lr * (1 / self.factor) if self.last_epoch == self.total_iters else lr

    def _at(self, base: float) -> float:
        return base if self.last_epoch >= self.total_iters else base * self.factor


class LinearLR(LRScheduler):
    """lr = lr₀ times a factor that goes in a straight line from start_factor to end_factor in total_iters steps."""

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        self._require(0 < start_factor <= 1, "0 < start_factor <= 1", start_factor)
        self._require(0 <= end_factor <= 1, "0 <= end_factor <= 1", end_factor)
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer, last_epoch)

    def _next(self, lr: float, base: float) -> float:
        if self.last_epoch == 0:
            return lr * self.start_factor
        if self._starting or self.last_epoch > self.total_iters:
            return lr
        rise = self.end_factor - self.start_factor
        before = self.total_iters * self.start_factor + (self.last_epoch - 1) * rise
        return lr * (1 + rise / before)

    def _at(self, base: float) -> float:
        done = min(self.total_iters, self.last_epoch) / self.total_iters
        return base * (self.start_factor + (self.end_factor - self.start_factor) * done)


class ExponentialLR(LRScheduler):
    """lr = lr₀ · gamma^t."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _next(self, lr: float, base: float) -> float:
        return lr if self._starting else lr * self.gamma

    def _at(self, base: float) -> float:
        return base * self.gamma**self.last_epoch


class CosineAnnealingLR(LRScheduler):
    """lr = eta_min + (lr₀ - eta_min) (1 + cos(π t / T_max)) / 2: down in T_max steps, and up again after them.

    Source: I. Loshchilov and F. Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017, without restarts.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self._require(T_max > 0, "T_max > 0", T_max)
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def _next(self, lr: float, base: float) -> float:
        if self._starting:
            return lr
        if (self.last_epoch - 1 - self.T_max) % (2 * self.T_max) == 0:  # at its lowest there is no ratio to go by
            return lr + (base - self.eta_min) * (1 - math.cos(math.pi / self.T_max)) / 2
        ratio = (1 + math.cos(math.pi * self.last_epoch / self.T_max)) / (
            1 + math.cos(math.pi * (self.last_epoch - 1) / self.T_max)
        )
        return ratio * (lr - self.eta_min) + self.eta_min

    def _at(self, base: float) -> float:
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * self.last_epoch / self.T_max)) / 2


class WarmupCosineLR(LRScheduler):
    """Up in a straight line for `warmup_steps`, then down a cosine to `min_lr` at `total_steps`, and constant after it.

    lr = lr₀ (t + 1) / warmup_steps for t < warmup_steps, then
    min_lr + (lr₀ - min_lr) (1 + cos(π (t - warmup_steps) / (total_steps - warmup_steps))) / 2:
    the usual schedule of language models (T. Brown et al., "Language models are few-shot learners", 2020).

    Args:
        optimizer: whose rates to set.
        warmup_steps: >= 0.
        total_steps: > warmup_steps.
        min_lr: the rate at the end.
        last_epoch: see `LRScheduler`.
    """

    def __init__(
        self, optimizer: Optimizer, warmup_steps: int, total_steps: int, min_lr: float = 0.0, last_epoch: int = -1
    ) -> None:
        given = f"warmup_steps={warmup_steps} and total_steps={total_steps}"
        self._require(0 <= warmup_steps < total_steps, "0 <= warmup_steps < total_steps", given)
        self.warmup_steps, self.total_steps, self.min_lr = warmup_steps, total_steps, min_lr
        super().__init__(optimizer, last_epoch)

    def _at(self, base: float) -> float:
        t, first = self.last_epoch, self.warmup_steps
        if t < first:
            return base * (t + 1) / first
        done = min(1.0, (t - first) / (self.total_steps - first))
        return self.min_lr + (base - self.min_lr) * (1 + math.cos(math.pi * done)) / 2

    def _next(self, lr: float, base: float) -> float:
        return self._at(base)


class SequentialLR(LRScheduler):
    """One schedule after another: the i-th takes over, with its own t = 0, at milestones[i - 1].

    Args:
        optimizer: whose rates to set.
        schedulers: schedules of this optimiser, in order.
        milestones: the steps at which the next one takes over, one fewer than schedules.

    Raises:
        ValueError: other counts, another optimiser, or a schedule that needs a measure to step.
    """

    def __init__(self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int]) -> None:
        self._require(len(schedulers) > 0, "at least one scheduler", "none")
        counts = f"{len(milestones)} milestones for {len(schedulers)} schedulers"
        self._require(len(milestones) == len(schedulers) - 1, "one milestone fewer than schedulers", counts)
        for s in schedulers:
            self._require(not isinstance(s, ReduceLROnPlateau), "schedules without a measure", "ReduceLROnPlateau")
            self._require(s.optimizer is optimizer, "schedules of the same optimizer", f"a {s._op} of another")
        self.optimizer, self.milestones, self.last_epoch = optimizer, list(milestones), 0
        self._schedulers = list(schedulers)
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        for s in _all_of(self):
            s.last_epoch -= 1  # each took its first step when it was made
        self._active()._first_step()
        self._last_lr = self._active().get_last_lr()

    def _active(self) -> LRScheduler:
        return self._schedulers[bisect_right(self.milestones, self.last_epoch)]

    def _first_step(self) -> None:
        self.last_epoch = 0
        self._active()._first_step()

    def step(self) -> None:
        self.last_epoch += 1
        active = self._active()
        if self.last_epoch in self.milestones:
            active._restart()
        else:
            active.step()
        self._last_lr = active.get_last_lr()

    def _restart(self) -> None:
        self.last_epoch = 0
        self._active()._restart()
        self._last_lr = self._active().get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "_schedulers": [s.state_dict() for s in self._schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        saved = state_dict.get("_schedulers", [])
        counts = f"{len(saved)} for {len(self._schedulers)}"
        self._require(len(saved) == len(self._schedulers), "a state for each scheduler", counts)
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "_schedulers"})
        for s, given in zip(self._schedulers, saved, strict=True):
            s.load_state_dict(given)


def _all_of(scheduler: SequentialLR) -> list[LRScheduler]:
    """The schedules inside, however deep."""
    return [t for s in scheduler._schedulers for t in (_all_of(s) if isinstance(s, SequentialLR) else [s])]


class OneCycleLR(LRScheduler):
    """Up from max_lr / div_factor to max_lr in pct_start of the steps, then down to max_lr / div_factor /
    final_div_factor; momentum (or β₁) goes the other way.

    Args:
        optimizer: whose rates to set.
        max_lr: the highest rate, or one for each group.
        total_steps: of the whole cycle; or `epochs` and `steps_per_epoch`.
        pct_start: share of the steps that go up, in [0, 1].
        anneal_strategy: "cos" or "linear".
        cycle_momentum: whether to change momentum, between `max_momentum` and `base_momentum`.
        three_phase: down to the first rate in as many steps as up, and only then to the last.
        last_epoch: see `LRScheduler`.

    Raises:
        ValueError: no number of steps, a bad share or strategy, no momentum to change; on `step()`, past the end.

    Source: L. Smith and N. Topin, "Super-convergence", 2018.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.85,
        max_momentum: float | Sequence[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        _check_optimizer(optimizer, self._op)
        if total_steps is None and epochs is not None and steps_per_epoch is not None:
            total_steps = epochs * steps_per_epoch
        self._require(total_steps is not None, "total_steps, or epochs and steps_per_epoch", "neither")
        assert total_steps is not None
        self._require(total_steps > 0, "total_steps > 0", total_steps)
        self._require(0 <= pct_start <= 1, "pct_start in [0, 1]", pct_start)
        self._require(anneal_strategy in ("cos", "linear"), "anneal_strategy 'cos' or 'linear'", repr(anneal_strategy))
        self.total_steps, self.anneal_strategy = total_steps, anneal_strategy
        up = float(pct_start * total_steps) - 1
        # Each phase: its last step, and between which of the group's values rate and momentum go.
        self._phases: list[tuple[float, str, str, str, str]] = [
            (up, "initial_lr", "max_lr", "max_momentum", "base_momentum"),
            (total_steps - 1, "max_lr", "min_lr", "base_momentum", "max_momentum"),
        ]
        if three_phase:
            self._phases[1:] = [
                (2 * up, "max_lr", "initial_lr", "base_momentum", "max_momentum"),
                (total_steps - 1, "initial_lr", "min_lr", "max_momentum", "max_momentum"),
            ]
        self.cycle_momentum = cycle_momentum
        self._use_beta1 = "betas" in optimizer.defaults
        able = self._use_beta1 or "momentum" in optimizer.defaults
        self._require(not cycle_momentum or able, "an optimizer with momentum or betas", type(optimizer).__name__)
        if last_epoch == -1:
            highest = _for_each_group(optimizer, max_lr, "max_lr", self._op)
            low = _for_each_group(optimizer, base_momentum, "base_momentum", self._op)
            high = _for_each_group(optimizer, max_momentum, "max_momentum", self._op)
            for group, lr, least, most in zip(optimizer.param_groups, highest, low, high, strict=True):
                group.update(initial_lr=lr / div_factor, max_lr=lr, min_lr=lr / div_factor / final_div_factor)
                if cycle_momentum:
                    group.update(base_momentum=least, max_momentum=most)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        t = self.last_epoch
        self._require(t <= self.total_steps, f"at most {self.total_steps} steps", f"step {t}")
        phase = next(i for i, p in enumerate(self._phases) if t <= p[0] or i == len(self._phases) - 1)
        start = self._phases[phase - 1][0] if phase else 0.0
        end, lr0, lr1, momentum0, momentum1 = self._phases[phase]
        done = (t - start) / (end - start)
        lrs = []
        for group in self.optimizer.param_groups:
            lrs.append(self._between(group[lr0], group[lr1], done))
            if self.cycle_momentum:
                momentum = self._between(group[momentum0], group[momentum1], done)
                if self._use_beta1:
                    group["betas"] = (momentum, *group["betas"][1:])
                else:
                    group["momentum"] = momentum
        return lrs

    def _between(self, start: float, end: float, done: float) -> float:
        if self.anneal_strategy == "linear":
            return (end - start) * done + start
        return end + (start - end) / 2 * (math.cos(math.pi * done) + 1)


class ReduceLROnPlateau(LRScheduler):
    """Multiplies the rate by `factor` when a measure has not improved for more than `patience` steps.

    Args:
        optimizer: whose rates to set.
        mode: "min" where a lower measure is better, "max" where a higher is.
        factor: in (0, 1).
        patience: how many steps without improvement are borne.
        threshold: what counts as an improvement: best · (1 ∓ threshold) or best ∓ threshold, by `threshold_mode`
            "rel" or "abs".
        cooldown: steps after a change in which nothing is counted.
        min_lr: the lowest rate, or one for each group.
        eps: smaller changes are not made.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        _check_optimizer(optimizer, self._op)
        self._require(factor < 1, "factor < 1", factor)
        self._require(mode in ("min", "max"), "mode 'min' or 'max'", repr(mode))
        self._require(threshold_mode in ("rel", "abs"), "threshold_mode 'rel' or 'abs'", repr(threshold_mode))
        self.optimizer, self.mode, self.factor, self.patience = optimizer, mode, factor, patience
        self.threshold, self.threshold_mode, self.cooldown, self.eps = threshold, threshold_mode, cooldown, eps
        self.min_lrs = _for_each_group(optimizer, min_lr, "min_lr", self._op)
        self.best = math.inf if mode == "min" else -math.inf
        self.cooldown_counter = self.num_bad_epochs = self.last_epoch = 0
        self._last_lr = [group["lr"] for group in optimizer.param_groups]

    def step(self, metrics: Any) -> None:  # type: ignore[override]
        """Takes the latest measure, a number or a tensor of one element."""
        self.last_epoch += 1
        current = float(metrics)
        if self._is_better(current):
            self.best, self.num_bad_epochs = current, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        lrs = [group["lr"] for group in self.optimizer.param_groups]
        if self.num_bad_epochs > self.patience:
            lower = [max(lr * self.factor, least) for lr, least in zip(lrs, self.min_lrs, strict=True)]
            lrs = [new if lr - new > self.eps else lr for lr, new in zip(lrs, lower, strict=True)]
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._write(lrs)

    def _is_better(self, a: float) -> bool:
        sign = -1 if self.mode == "min" else 1
        if self.threshold_mode == "rel":
            return sign * a > sign * self.best * (1 + sign * self.threshold)
        return sign * a > sign * self.best + self.threshold


def _check_optimizer(optimizer: Any, op: str) -> None:
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"[{op}] expected an Optimizer, got {type(optimizer).__name__}")


def _for_each_group(optimizer: Optimizer, value: Any, name: str, op: str) -> list[Any]:
    _check_optimizer(optimizer, op)
    groups = len(optimizer.param_groups)
    if not isinstance(value, (list, tuple)):
        return [value] * groups
    if len(value) != groups:
        raise ValueError(f"[{op}] expected one {name} for each of {groups} parameter groups, got {len(value)}")
    return list(value)
