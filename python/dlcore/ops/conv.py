"""The conv family."""

from __future__ import annotations

__all__: list[str] = []


class ConvMethods:
    __slots__ = ()
