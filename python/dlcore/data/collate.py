"""From examples to a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dlcore import _C, ops

__all__ = ["default_collate"]


def default_collate(examples: Sequence[Any]) -> Any:
    """A batch of examples that are built alike.

    Tensors and arrays are stacked along a new first dimension, numbers become a tensor (float32, int64 or bool),
    strings stay a list, and inside tuples, lists and dicts each place is collated on its own.

    Raises:
        ValueError: no examples, or tensors, tuples or dicts that are not alike.
        TypeError: a type that cannot be part of a batch.
    """
    if not len(examples):
        raise ValueError("[default_collate] expected at least one example, got none")
    first = examples[0]
    if isinstance(first, (_C.Tensor, np.ndarray)):
        tensors = [ops.asarray(e) for e in examples]
        shapes = list(dict.fromkeys(t.shape for t in tensors))
        if len(shapes) > 1:
            raise ValueError(f"[default_collate] expected tensors of one shape, got {', '.join(map(str, shapes))}")
        return ops.stack(tensors)
    if isinstance(first, (bool, int, float, np.number, np.bool_)):
        return ops.tensor([e.item() if isinstance(e, np.generic) else e for e in examples])
    if isinstance(first, (str, bytes)):
        return list(examples)
    if isinstance(first, Mapping):
        if any(e.keys() != first.keys() for e in examples):
            raise ValueError("[default_collate] expected dicts with the same keys")
        return {key: default_collate([e[key] for e in examples]) for key in first}
    if isinstance(first, (tuple, list)):
        lengths = sorted({len(e) for e in examples})
        if len(lengths) > 1:
            raise ValueError(f"[default_collate] expected tuples of one length, got lengths {lengths}")
        parts = [default_collate(list(part)) for part in zip(*examples, strict=True)]
        if hasattr(first, "_fields"):
            return type(first)(*parts)
        return tuple(parts) if isinstance(first, tuple) else parts
    raise TypeError(
        f"[default_collate] examples are made of tensors, arrays, numbers, strings, tuples, lists and dicts, got "
        f"{type(first).__name__}; pass your own collate_fn"
    )
