"""Parameter: a tensor that a module learns."""

from __future__ import annotations

from typing import Any

from dlcore import _C
from dlcore.tensor import Tensor

__all__ = ["Parameter"]


class Parameter(Tensor):
    """A leaf tensor that counts among a module's parameters once it is an attribute of the module.

    Args:
        data: a tensor; the parameter shares its memory.
        requires_grad: whether it learns.

    Raises:
        TypeError: not a tensor, or not a floating dtype while a gradient is required.
    """

    __slots__ = ()

    def __new__(cls, data: Any, requires_grad: bool = True) -> Parameter:
        if not isinstance(data, _C.Tensor):
            raise TypeError(f"[Parameter] expected a Tensor, got {type(data).__name__}")
        if requires_grad and not data.dtype.is_floating_point:
            raise TypeError(f"[Parameter] only floating dtypes can require a gradient, got {data.dtype!r}")
        made: Any = _C.alias(data)
        made.__class__ = cls
        made.requires_grad = requires_grad
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        made = Parameter(_C.clone(self), self.requires_grad)
        made.grad = None if self.grad is None else _C.clone(self.grad)
        memo[id(self)] = made
        return made

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"
