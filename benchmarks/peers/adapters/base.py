"""What an adapter is: one library, with a method for each family of cases that it can run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.peers.cases import FAMILIES, Case

Call = Callable[[], Any]


class Skip(Exception):
    """This library has no such case; the text says why."""


class Adapter:
    """One library in one process.

    A method with the name of a family gets a case's parameters, sets everything up and returns the call to time, which
    gives its result, or several. Inputs come from benchmarks/peers/inputs.py, so that results can be compared.
    """

    without: frozenset[str] = frozenset()  # families that a base class has and this one leaves out

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def families(self) -> list[str]:
        return [family for family in FAMILIES if hasattr(self, family) and family not in self.without]

    def prepare(self, case: Case) -> Call:
        return getattr(self, case.family)(case.params)

    def info(self) -> dict[str, Any]:
        """Version, threads and what else matters for the speed."""
        raise NotImplementedError

    def wait(self, result: Any) -> Any:
        """Waits until the result is there; timed."""
        return result

    def to_numpy(self, x: Any) -> Any:
        return x

    def release(self) -> None:
        """Frees what a library keeps of a case."""


def chain(a: Any, b: Any) -> Any:
    """Ten operations in a row."""
    x = a
    for _ in range(5):
        x = x * b
        x = x + a
    return x


def float32_only(params: dict[str, Any]) -> None:
    if params["dtype"] != "fp32":
        raise Skip("no bfloat16")
