"""How much memory a training step takes, known before it runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

from dlcore import _C, amp
from dlcore.nn.summary import tensors_in

if TYPE_CHECKING:
    from dlcore.nn.module import Module

__all__ = ["MemoryPlan"]

MIB = 2**20
TRAINING_STEPS = 4


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes at the peak of a run. Printed, it is a table.

    Attributes:
        parameters, buffers: of the model.
        gradients, optimizer_state: as far as they exist at the peak.
        others: tensors that existed before and are none of these, such as the batch.
        temporaries: everything else that tensors take at the peak: activations, workspaces.
        live: the sum of these, the peak of what tensors take: as `memory_stats()["peak"]` counts, in whole blocks.
        growth: by how much the process grows at most: new tensors and free blocks kept for reuse, as far as their pages
            are written.
        resident: what the process takes up now.
        phase: what runs when tensors take most: "forward", "backward" or "optimizer step".
    """

    parameters: int
    buffers: int
    gradients: int
    optimizer_state: int
    others: int
    temporaries: int
    growth: int
    resident: int
    phase: str

    @property
    def live(self) -> int:
        return self.parameters + self.buffers + self.gradients + self.optimizer_state + self.others + self.temporaries

    @property
    def peak(self) -> int:
        """The most that the process will take up: what it does now, and its growth."""
        return self.resident + self.growth

    def __str__(self) -> str:
        rows = [
            ("parameters", self.parameters),
            ("buffers", self.buffers),
            ("gradients", self.gradients),
            ("optimizer state", self.optimizer_state),
            ("other tensors", self.others),
            ("activations and temporaries", self.temporaries),
            (f"tensors at their peak, in the {self.phase}", self.live),
            ("the process now", self.resident),
            ("the process at its peak", self.peak),
        ]
        lines = [f"{what:<48}{size / MIB:>12,.1f} MiB" for what, size in rows if size]
        rule = "-" * len(lines[0])
        return "\n".join([*lines[:-3], rule, *lines[-3:]])

    __repr__ = __str__


def resident_memory() -> int:
    """Bytes that the process takes up in memory now; 0 where the system does not say."""
    try:
        with open("/proc/self/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


class _Kept:
    """What is reachable from some objects, put back as it was: containers, attributes, gradients and autograd's fields.

    Values of tensors are not kept: a dry run does not change them.
    """

    FIELDS = ("grad", "requires_grad", "_node", "_index", "_history")
    OPAQUE = (str, bytes, int, float, type, ModuleType, FunctionType, MethodType, BuiltinFunctionType)

    def __init__(self, *roots: Any) -> None:
        self.containers: list[tuple[Any, Any]] = []
        self.tensors: dict[int, tuple[Any, list[Any], Any]] = {}
        seen: set[int] = set()
        pending = list(roots)
        while pending:
            x = pending.pop()
            if x is None or isinstance(x, self.OPAQUE) or id(x) in seen:
                continue
            seen.add(id(x))
            if isinstance(x, _C.Tensor):
                fields = [getattr(x, name) for name in self.FIELDS]
                self.tensors[id(x)] = (x, fields, _C.alias(x))
                pending.append(x._hooks)
            elif isinstance(x, (dict, list, set)):
                self.containers.append((x, x.copy()))
                pending += [*x.keys(), *x.values()] if isinstance(x, dict) else x
            elif isinstance(x, (tuple, frozenset)):
                pending += x
            elif hasattr(x, "__dict__"):
                pending.append(vars(x))

    def put_back(self) -> None:
        for x, fields, memory in self.tensors.values():
            _C.rebind(x, memory)
            for name, value in zip(self.FIELDS, fields, strict=True):
                setattr(x, name, value)
        for x, before in self.containers:
            if isinstance(x, list):
                x[:] = before
            elif isinstance(x, set):
                x.clear()
                x |= before
            elif list(x) != list(before) or any(x[k] is not v for k, v in before.items()):
                x.clear()
                x.update(before)


def _single_loss(output: Any) -> Any:
    found = [t for t in tensors_in(output) if t.numel() == 1 and t.requires_grad]
    if len(found) == 1:
        return found[0]
    shapes = [t.shape for t in tensors_in(output)]
    raise ValueError(
        f"[plan] backward starts from one number that requires a gradient; there are {len(found)} among the shapes "
        f"{shapes}: pass loss=lambda output: …, or plan inference under no_grad()"
    )


class _DryRun:
    """Runs a step and notes in which phase tensors take most."""

    def __init__(self) -> None:
        self.moment, self.phase = _C.plan_figures()["peak_moment"], "forward"
        self.output: Any = None

    def done(self, phase: str) -> None:
        moment = _C.plan_figures()["peak_moment"]
        if moment != self.moment:
            self.moment, self.phase = moment, phase

    def step(self, forward: Callable[[], Any], loss: Callable[[Any], Any] | None, optimizer: Any) -> None:
        if optimizer is not None:
            optimizer.zero_grad()
        # A loop that gives the output a name holds it until it has the next one; so does this.
        self.output = forward()
        if not _C.is_grad_enabled():
            self.done("forward")
            return
        number = _single_loss(self.output if loss is None else loss(self.output))
        self.done("forward")
        number.backward()
        self.done("backward")
        if optimizer is not None:
            optimizer.step()
            self.done("optimizer step")


class _Census:
    """Which tensors are what; bytes of their memory, each piece once."""

    def __init__(self, model: Module, optimizer: Any) -> None:
        self.optimizer = optimizer
        self.parameters, self.buffers = list(model.parameters()), list(model.buffers())
        updated = [] if optimizer is None else [p for group in optimizer.param_groups for p in group["params"]]
        self.leaves = list({id(p): p for p in [*self.parameters, *updated]}.values())

    def hand_over_gradients(self) -> None:
        """The run may drop those that exist, and then use their memory."""
        for p in self.leaves:
            stand_in = None if p.grad is None else _C.plan_stand_in(p.grad)
            if stand_in is not None:
                p.grad = stand_in

    def count(self, tensors: Iterable[Any]) -> int:
        return sum({t._storage_ptr(): _C.planned_bytes(t) for t in tensors}.values())

    def foreign(self) -> int:
        """Bytes of the model that are no heap's, such as a mapped file's."""
        return sum(t.nbytes for t in [*self.parameters, *self.buffers] if _C.planned_bytes(t) == 0)

    def sizes(self) -> dict[str, int]:
        state = {} if self.optimizer is None else self.optimizer.state
        return {
            "parameters": self.count(self.parameters),
            "buffers": self.count(self.buffers),
            "gradients": self.count(p.grad for p in self.leaves if p.grad is not None),
            "optimizer_state": self.count(tensors_in(list(state.values()))),
        }


def plan_memory(
    model: Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    call: Callable[..., Any],
    loss: Callable[[Any], Any] | None,
    optimizer: Any,
) -> MemoryPlan:
    """A dry run of the model; see `Module.plan`."""
    if _C.planning():
        raise RuntimeError("[plan] this thread is making a plan already")
    if not _C.is_grad_enabled() and (loss is not None or optimizer is not None):
        raise ValueError("[plan] without gradients there is no training: leave out loss and optimizer, or no_grad()")
    if not callable(call):
        raise TypeError(f"[plan] expected call to be a method of the model, got {type(call).__name__}")
    if loss is not None and not callable(loss):
        raise TypeError(f"[plan] expected loss to be a function of the model's output, got {type(loss).__name__}")
    if optimizer is not None and not hasattr(optimizer, "param_groups"):
        raise TypeError(f"[plan] expected an optimizer, got {type(optimizer).__name__}")
    resident = resident_memory()
    kept = _Kept(model, args, kwargs, loss, optimizer)
    casts, amp._casts.made = amp._casts.made, dict(amp._casts.made)
    try:
        _C.begin_plan()
        try:
            census = _Census(model, optimizer)
            census.hand_over_gradients()
            before = _C.plan_figures()["live"]
            others = before - sum(census.sizes().values())
            run = _DryRun()
            # From the second step on the optimiser's state exists while activations do, and it takes a few until what
            # one step leaves free fits the next.
            for _ in range(1 if optimizer is None else TRAINING_STEPS):
                run.step(lambda: call(*args, **kwargs), loss, optimizer)
            sizes, figures, foreign = census.sizes(), _C.plan_figures(), census.foreign()
        finally:
            _C.end_plan()
    finally:
        amp._casts.made = casts
        kept.put_back()
    temporaries = figures["peak"] - others - sum(sizes.values())
    sizes["parameters"] += foreign
    return MemoryPlan(
        **sizes,
        others=others,
        temporaries=temporaries,
        growth=figures["peak_growth"],
        resident=resident,
        phase=run.phase,
    )
