"""The join family."""

from __future__ import annotations

__all__: list[str] = []


class JoinMethods:
    __slots__ = ()
