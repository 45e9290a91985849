"""The index family."""

from __future__ import annotations

__all__: list[str] = []


class IndexMethods:
    __slots__ = ()
