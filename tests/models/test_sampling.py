"""Choosing tokens: frequencies follow the restricted probabilities, and edges."""

import math

import numpy as np
import pytest

import dlcore as dl
from dlcore.models.sampling import choose


def frequencies(logits, n=4000, **options):
    generator, counts = dl.Generator(0), np.zeros(len(logits))
    for _ in range(n):
        counts[choose(dl.tensor(logits, dtype=dl.float32), generator=generator, **options)] += 1
    return counts / n


def test_choice_follows_the_probabilities():
    p = np.array([0.5, 0.25, 0.15, 0.1])
    for options, expected in [
        ({}, p),
        ({"temperature": 0.5}, p**2 / (p**2).sum()),
        ({"top_k": 2}, np.array([2 / 3, 1 / 3, 0, 0])),
        ({"top_p": 0.76}, np.array([0.5, 0.25, 0.15, 0]) / 0.9),
        ({"top_p": 0.75}, np.array([2 / 3, 1 / 3, 0, 0])),
        ({"top_p": 0.01}, np.array([1.0, 0, 0, 0])),
        ({"top_k": 3, "top_p": 0.8}, np.array([2 / 3, 1 / 3, 0, 0])),
        ({"top_k": 9, "top_p": 1.0}, p),
    ]:
        got = frequencies(np.log(p), **options)
        assert (np.abs(got - expected) <= 5 * np.sqrt(expected * (1 - expected) / 4000)).all(), options


def test_choice_at_the_edges():
    assert choose(dl.tensor([0.0, 3.0, 1.0]), temperature=0) == 1
    assert choose(dl.tensor([0.0, 3.0, 1.0]), temperature=1e-30) == 1
    assert choose(dl.tensor([-math.inf, 0.0, -math.inf])) == 1
    assert choose(dl.tensor([1e4, -1e4, 0.0]), top_p=0.5) == 0
    assert choose(dl.tensor([2.0]), top_k=1, top_p=0.1) == 0
    with pytest.raises(ValueError, match=r"\[choose\] the logits hold a NaN"):
        choose(dl.tensor([0.0, math.nan]))
