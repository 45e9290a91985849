"""Choosing the next token of a text from its logits."""

from __future__ import annotations

from typing import Any

from dlcore import _C, ops
from dlcore.tensor import Tensor

__all__ = ["choose"]


def choose(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: Any = None,
) -> int:
    """One token, drawn from softmax(logits / temperature) restricted by top-k, then by top-p.

    Args:
        logits: (V,).
        temperature: 0 always takes the likeliest token.
        top_k: keep this many likeliest tokens (and those that are as likely as the last of them).
        top_p: keep the fewest likeliest tokens that together have at least this probability.
        generator: of the choice; the default generator otherwise.

    Raises:
        ValueError: the logits hold a NaN.

    Source of top-p: A. Holtzman et al., "The curious case of neural text degeneration", 2020.
    """
    logits = ops.cast(logits, _C.float32)
    if temperature == 0:
        return ops.argmax(logits).item()
    # From the largest down: a small temperature must not make infinities to subtract.
    probs = ops.softmax((logits - logits.max()) / max(temperature, 1e-30), -1)
    if probs.isnan().any():
        raise ValueError("[choose] the logits hold a NaN; the model has diverged")
    if top_k is not None and top_k < logits.shape[0]:
        least = ops.topk(probs, top_k)[0][-1]
        probs = ops.where(probs >= least, probs, ops.zeros_like(probs))
        probs = probs / probs.sum()
    if top_p is not None and top_p < 1:
        ordered = ops.sort(probs, descending=True)[0]
        before = ops.cumsum(ordered, 0) - ordered  # the probability of all that are likelier
        least = ordered[int((before < top_p).sum().item()) - 1]
        probs = ops.where(probs >= least, probs, ops.zeros_like(probs))
    return ops.multinomial(probs, 1, generator=generator).item()
