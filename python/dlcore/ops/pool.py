"""The pool family."""

from __future__ import annotations

__all__: list[str] = []


class PoolMethods:
    __slots__ = ()
