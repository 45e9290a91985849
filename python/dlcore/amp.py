"""Mixed precision: `autocast` lets products compute in bfloat16 while parameters stay float32.

Under it, matrix products, `linear`, convolutions and attention cast float32 operands to bfloat16 and give bfloat16
(their sums are float32). Losses, `prod` and recurrent layers cast bfloat16 to float32. Everything else works in the
dtype that its arguments have or promote to; softmax, norms and sums of bfloat16 numbers are computed in float32 and
rounded at the end. float64 is left alone. Gradients of float32 parameters are float32.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from dlcore import _C
from dlcore.ops.copy import cast

if TYPE_CHECKING:
    from dlcore.tensor import Tensor

__all__ = ["autocast", "is_autocast_enabled"]

F = TypeVar("F", bound=Callable[..., Any])


class _Casts(threading.local):
    """Parameters that were cast since the outermost autocast began: a weight used twice is cast once."""

    def __init__(self) -> None:
        self.enabled = True
        # What held before each autocast that is open, its dtype and `enabled`. It is here because threads may share an
        # autocast: a decorated function does.
        self.before: list[tuple[Any, bool]] = []
        # By parameter and grad mode: the parameter and its memory, which so keep their addresses; its state; the cast.
        self.made: dict[tuple[int, bool], tuple[Tensor, Tensor, tuple[Any, ...], Tensor]] = {}


_casts = _Casts()


def _is(x: Any, dtype: Any) -> bool:
    return isinstance(x, _C.Tensor) and x.dtype is dtype


def _lowered(x: Tensor, dtype: Any) -> Tensor:
    if not (_casts.enabled and x.requires_grad and x.is_leaf and x._base is None):
        # A transposed matrix stays one: its memory is read in order.
        turned = x.ndim >= 2 and not x.is_contiguous() and x.mT.is_contiguous()
        return cast(x.mT, dtype).mT if turned else cast(x, dtype)
    key = id(x), _C.is_grad_enabled()
    state = x.data_ptr(), x.strides, x._version
    kept = _casts.made.get(key)
    if kept is None or kept[2] != state:
        kept = _casts.made[key] = (x, x.detach(), state, cast(x, dtype))
    return kept[3]


def lowered(*xs: Any) -> tuple[Any, ...]:
    """The arguments of a product: under autocast, float32 tensors among them in its dtype."""
    dtype = _C.autocast_dtype()
    return xs if dtype is None else tuple(_lowered(x, dtype) if _is(x, _C.float32) else x for x in xs)


def raised(*xs: Any) -> tuple[Any, ...]:
    """The arguments of what needs digits: under autocast, bfloat16 tensors among them in float32."""
    if _C.autocast_dtype() is None:
        return xs
    return tuple(cast(x, _C.float32) if _is(x, _C.bfloat16) else x for x in xs)


class autocast:
    """Context manager and decorator for mixed precision: ``with autocast("cpu"): loss = model(x, targets)``.

    The forward pass and the loss go inside; ``backward()`` may be inside or outside, and computes in the dtypes that
    the forward pass had. Nests: ``autocast("cpu", enabled=False)`` switches it off for a part.

    Args:
        device_type: "cpu".
        dtype: of products: bfloat16, also where None.
        enabled: False computes as without autocast.
        cache_enabled: whether a parameter that is used several times is cast once; the casts live until the outermost
            autocast ends. True where None.

    Raises:
        ValueError: another device.
        TypeError: another dtype.

    Source: Micikevicius et al., Mixed Precision Training, 2018; Kalamkar et al., A Study of BFLOAT16 for Deep Learning
    Training, 2019.
    """

    def __init__(
        self, device_type: str, dtype: Any = None, enabled: bool = True, cache_enabled: bool | None = None
    ) -> None:
        if device_type != "cpu":
            raise ValueError(f"[autocast] expected the device 'cpu', got {device_type!r}")
        if dtype not in (None, _C.bfloat16):
            raise TypeError(f"[autocast] products can be computed in bfloat16, got {dtype!r}")
        self.dtype = _C.bfloat16 if enabled else None
        self.cache_enabled = cache_enabled is not False

    def __enter__(self) -> None:
        _casts.before.append((_C.set_autocast_dtype(self.dtype), _casts.enabled))
        _casts.enabled = self.cache_enabled

    def __exit__(self, *exc: object) -> None:
        dtype, _casts.enabled = _casts.before.pop()
        _C.set_autocast_dtype(dtype)
        if not _casts.before:
            _casts.made.clear()

    def __call__(self, function: F) -> F:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return wrapped  # type: ignore[return-value]


def is_autocast_enabled(device_type: str = "cpu") -> bool:
    """Whether autocast is active on this thread."""
    return device_type == "cpu" and _C.autocast_dtype() is not None
