"""The reduce family."""

from __future__ import annotations

__all__: list[str] = []


class ReduceMethods:
    __slots__ = ()
