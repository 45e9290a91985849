"""The attention family."""

from __future__ import annotations

__all__: list[str] = []


class AttentionMethods:
    __slots__ = ()
