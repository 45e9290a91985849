"""The sort family."""

from __future__ import annotations

__all__: list[str] = []


class SortMethods:
    __slots__ = ()
