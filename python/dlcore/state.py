"""Switches of whether gradients are recorded, for the calling thread."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from dlcore import _C
from dlcore._C import is_grad_enabled

__all__ = ["enable_grad", "is_grad_enabled", "no_grad", "set_grad_enabled"]

F = TypeVar("F", bound=Callable[..., Any])


class set_grad_enabled:
    """Context manager and decorator that switches recording on or off: ``with set_grad_enabled(training): …``."""

    def __init__(self, mode: bool) -> None:
        self.mode = bool(mode)
        self.before: list[bool] = []

    def __enter__(self) -> None:
        self.before.append(_C.set_grad_enabled(self.mode))

    def __exit__(self, *exc: object) -> None:
        _C.set_grad_enabled(self.before.pop())

    def __call__(self, function: F) -> F:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with set_grad_enabled(self.mode):
                return function(*args, **kwargs)

        return wrapped  # type: ignore[return-value]


class no_grad(set_grad_enabled):
    """Context manager and decorator under which nothing is recorded: for evaluation and for updating parameters."""

    def __init__(self) -> None:
        super().__init__(False)


class enable_grad(set_grad_enabled):
    """Context manager and decorator that records again inside a ``no_grad`` block."""

    def __init__(self) -> None:
        super().__init__(True)
