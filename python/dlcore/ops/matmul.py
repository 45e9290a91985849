"""The matmul family."""

from __future__ import annotations

__all__: list[str] = []


class MatmulMethods:
    __slots__ = ()
