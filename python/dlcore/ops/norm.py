"""The norm family."""

from __future__ import annotations

__all__: list[str] = []


class NormMethods:
    __slots__ = ()
