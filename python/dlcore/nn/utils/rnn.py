"""Sequences of different lengths in one batch, for RNN, LSTM and GRU: packed, nothing is computed for the padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dlcore import _C, ops
from dlcore.tensor import Tensor

__all__ = ["PackedSequence", "pack_padded_sequence", "pad_packed_sequence"]


class PackedSequence(NamedTuple):
    """The steps of several sequences without padding. Made by `pack_padded_sequence`.

    Attributes:
        data: (rows, …): the first step of every sequence, then the second of those that have one, and so on, longest
            sequence first.
        batch_sizes: (T,) int64: how many sequences have each step.
        sorted_indices: (B,) where the sequences stood before they were sorted; None where they were sorted already.
        unsorted_indices: (B,) its inverse.
    """

    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None = None
    unsorted_indices: Tensor | None = None


def pack_padded_sequence(
    input: Tensor, lengths: Tensor | Sequence[int], batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Leaves out what lies beyond each sequence's length.

    Args:
        input: (T, B, …), or (B, T, …) with `batch_first`.
        lengths: of the B sequences, from 1 to T.
        batch_first: see `input`.
        enforce_sorted: whether the lengths must be given longest first; otherwise the sequences are sorted here, and
            brought back into order by the layers and by `pad_packed_sequence`.

    Raises:
        ValueError: lengths that do not fit, or are not sorted although `enforce_sorted`.
    """
    op = "pack_padded_sequence"
    sizes = np.asarray(lengths.tolist() if isinstance(lengths, _C.Tensor) else lengths)
    if input.ndim < 2:
        raise ValueError(f"[{op}] expected an input of at least two dimensions, got shape {input.shape}")
    T, B = (input.shape[1], input.shape[0]) if batch_first else input.shape[:2]
    if sizes.shape != (B,):
        raise ValueError(f"[{op}] expected {B} lengths, one for each sequence of {input.shape}, got {sizes.shape}")
    if B == 0 or sizes.min() < 1 or sizes.max() > T:
        raise ValueError(f"[{op}] expected lengths from 1 to {T}, got {sizes.tolist()}")
    order = None
    if np.any(np.diff(sizes) > 0):
        if enforce_sorted:
            raise ValueError(
                f"[{op}] expected lengths in decreasing order, got {sizes.tolist()}; sort the sequences or pass "
                "enforce_sorted=False"
            )
    if not enforce_sorted:
        order = np.argsort(-sizes, kind="stable")
        sizes = sizes[order]
    steps = np.arange(sizes[0])
    present = sizes > steps[:, None]  # (T, B)
    t, b = np.nonzero(present)
    b = b if order is None else order[b]
    rows = ops.reshape(input, (T * B, *input.shape[2:]))
    data = ops.index_select(rows, 0, _integers(b * T + t if batch_first else t * B + b))
    batch_sizes = _integers(present.sum(1))
    if order is None:
        return PackedSequence(data, batch_sizes)
    return PackedSequence(data, batch_sizes, _integers(order), _integers(np.argsort(order)))


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:
    """The inverse of `pack_padded_sequence`.

    Args:
        sequence: what to unpack.
        batch_first: whether to give (B, T, …) instead of (T, B, …).
        padding_value: what stands beyond each sequence's length.
        total_length: T, where it should be more than the longest sequence.

    Returns:
        The padded sequences in their first order, and their lengths, (B,) int64.

    Raises:
        ValueError: a total_length shorter than the longest sequence.
    """
    sizes = np.asarray(sequence.batch_sizes.tolist())
    T = len(sizes) if total_length is None else total_length
    if len(sizes) > T:
        raise ValueError(
            f"[pad_packed_sequence] expected a total_length of at least {len(sizes)}, the longest sequence, got {T}"
        )
    B, data = int(sizes[0]), sequence.data
    order = np.arange(B) if sequence.unsorted_indices is None else np.asarray(sequence.unsorted_indices.tolist())
    first = np.concatenate([[0], np.cumsum(sizes)])
    places = np.full((T, B), data.shape[0])  # the row after the last is the padding
    for t, n in enumerate(sizes):
        places[t, :n] = first[t] + np.arange(n)
    places = places[:, order]
    padding = ops.full((1, *data.shape[1:]), padding_value, data.dtype)
    chosen = places.T if batch_first else places
    rows = ops.index_select(ops.cat([data, padding], 0), 0, _integers(chosen.reshape(-1)))
    lengths = (sizes[:, None] > np.arange(B)).sum(0)[order]
    return ops.reshape(rows, (*chosen.shape, *data.shape[1:])), _integers(lengths)


def _integers(values: Any) -> Tensor:
    return ops.tensor(np.ascontiguousarray(values, np.int64))
