"""Averaged weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dlcore import _C
from dlcore.nn.module import Module
from dlcore.state import no_grad
from dlcore.tensor import Tensor

__all__ = ["EMA"]


class EMA:
    """The exponential moving average of a model's parameters: average += (1 - d) · (parameter - average).

    d = min(decay, (1 + n) / (10 + n)) at the update after n: at first the average follows closely, and the first update
    takes the parameters as they are.

    Args:
        model: whose parameters are averaged.
        decay: what d becomes in the end.

    Attributes:
        average: name to Tensor, of every parameter; a `state_dict` to save or to load into a model of the same kind.
        updates: how many there were.

    Raises:
        ValueError: decay outside of [0, 1).

    Source: B. Polyak, A. Juditsky, "Acceleration of stochastic approximation by averaging", 1992.
    """

    def __init__(self, model: Module, decay: float = 0.9999) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"[EMA] expected decay in [0, 1), got {decay}")
        self.model, self.decay, self.updates = model, decay, 0
        self.average: dict[str, Tensor] = {name: _C.clone(p.detach()) for name, p in model.named_parameters()}

    def update(self) -> None:
        """After a step of the optimiser."""
        self.updates += 1
        n = self.updates - 1
        d = min(self.decay, (1 + n) / (10 + n)) if n > 0 else 0.0
        with no_grad():
            for name, p in self.model.named_parameters():
                self.average[name] += (p - self.average[name]) * (1 - d)

    @contextmanager
    def applied(self) -> Iterator[Module]:
        """The model with averaged parameters inside a `with` block, and with its own again after it."""
        own = {name: _C.clone(p.detach()) for name, p in self.model.named_parameters()}
        self._write(self.average)
        try:
            yield self.model
        finally:
            self._write(own)

    def _write(self, values: dict[str, Tensor]) -> None:
        with no_grad():
            for name, p in self.model.named_parameters():
                p.copy_(values[name])
