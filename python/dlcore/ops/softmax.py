"""The softmax family."""

from __future__ import annotations

__all__: list[str] = []


class SoftmaxMethods:
    __slots__ = ()
