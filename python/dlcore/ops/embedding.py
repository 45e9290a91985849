"""The embedding family."""

from __future__ import annotations

__all__: list[str] = []


class EmbeddingMethods:
    __slots__ = ()
