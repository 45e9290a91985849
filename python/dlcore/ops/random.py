"""The random family."""

from __future__ import annotations

__all__: list[str] = []


class RandomMethods:
    __slots__ = ()
