"""Windows of a text, for language modelling."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlcore import _C, ops
from dlcore.data.dataset import Dataset
from dlcore.tensor import Tensor

__all__ = ["TextWindows"]

# Keeps the windows' random numbers apart from those of a generator with the same seed that initialises weights.
_SALT = 0x9E3779B97F4A7C15


class TextWindows(Dataset):
    """Example i of a text: the tokens i … i + context - 1, and those one place later as targets.

    Args:
        tokens: all of the text, one-dimensional, of an integer dtype such as uint8. It is not copied.
        context: T, the length of a window.
        seed: of `sample`.

    Raises:
        ValueError: not one-dimensional, not integers, or not longer than `context`.
    """

    def __init__(self, tokens: Any, context: int, seed: int = 0) -> None:
        tokens = ops.asarray(tokens)
        if tokens.ndim != 1 or tokens.dtype not in (_C.uint8, _C.int32, _C.int64):
            raise ValueError(
                f"[TextWindows] expected one dimension of uint8, int32 or int64, got {tokens.dtype.name} {tokens.shape}"
            )
        if not isinstance(context, int) or context < 1:
            raise ValueError(f"[TextWindows] context must be an integer of at least 1, got {context!r}")
        if tokens.shape[0] <= context:
            raise ValueError(
                f"[TextWindows] a context of {context} needs at least {context + 1} tokens, got {tokens.shape[0]}"
            )
        self.tokens, self.context, self.seed = tokens, context, seed

    def __len__(self) -> int:
        return self.tokens.shape[0] - self.context

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"[TextWindows] window {index} is out of range for {len(self)} windows")
        x, y = self.get_batch([index % len(self)])
        return x[0], y[0]

    def get_batch(self, indices: Any) -> tuple[Tensor, Tensor]:
        """Windows at several places: (inputs, targets), both int64 of shape (len(indices), T)."""
        starts = np.asarray(indices, np.int64)
        windows = self.tokens.numpy()[starts[:, None] + np.arange(self.context + 1)].astype(np.int64)  # (B, T + 1)
        return ops.tensor(windows[:, :-1]), ops.tensor(windows[:, 1:])

    def sample(self, step: int, batch_size: int) -> tuple[Tensor, Tensor]:
        """Windows at random places, which (seed, step) alone decide: a resumed run sees what it would have seen.

        Returns:
            (inputs, targets), both int64 of shape (batch_size, T).
        """
        generator = ops.Generator()
        generator.set_state({"seed": (self.seed + _SALT) % 2**64, "stream": step})
        return self.get_batch(ops.randint(0, len(self), (batch_size,), generator=generator).numpy())

    def spread(self, count: int) -> tuple[Tensor, Tensor]:
        """`count` windows at even distances through the text: always the same ones, for validation.

        Returns:
            (inputs, targets), both int64 of shape (count, T).
        """
        if count < 1:
            raise ValueError(f"[TextWindows] expected a count of at least 1, got {count}")
        return self.get_batch(np.linspace(0, len(self) - 1, count).astype(np.int64))
