"""The elementwise family."""

from __future__ import annotations

__all__: list[str] = []


class ElementwiseMethods:
    __slots__ = ()
