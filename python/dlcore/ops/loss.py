"""The loss family."""

from __future__ import annotations

__all__: list[str] = []


class LossMethods:
    __slots__ = ()
