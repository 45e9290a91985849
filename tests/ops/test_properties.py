"""Vectors and matrices against NumPy over shapes that hypothesis makes up: broadcasting, products, transposes, norms.

Elements are small integers, whose sums and products float32 holds exactly: results are equal, not close.
"""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

import dlcore as dl


def numbers(shape, seed):
    return np.random.default_rng(seed).integers(-8, 9, shape).astype(np.float32)


def same(ours, expected):
    assert ours.shape == np.shape(expected) and np.array_equal(ours.numpy(), expected)


PAIRS = mutually_broadcastable_shapes(num_shapes=2, max_dims=5, max_side=4, min_side=0)
SEEDS = st.integers(0, 2**32)


@settings(deadline=None, max_examples=60)
@given(PAIRS, SEEDS)
def test_elementwise_broadcasting(shapes, seed):
    a, b = (numbers(s, seed + i) for i, s in enumerate(shapes.input_shapes))
    x, y = dl.tensor(a, requires_grad=True), dl.tensor(b, requires_grad=True)
    for f in (lambda p, q: p + q, lambda p, q: p - q, lambda p, q: p * q):
        same(f(x, y).detach(), f(a, b))
    same(dl.maximum(x, y).detach(), np.maximum(a, b))
    (x * y).sum().backward()  # the gradient of a broadcast operand is summed back to its shape
    spread_a, spread_b = np.broadcast_arrays(a, b)
    same(x.grad, fold(spread_b, a.shape))
    same(y.grad, fold(spread_a, b.shape))


def fold(spread, shape):
    lead = spread.ndim - len(shape)
    ones = tuple(lead + i for i, n in enumerate(shape) if n == 1)
    return spread.sum(tuple(range(lead)) + ones, keepdims=True).reshape(shape)


@settings(deadline=None, max_examples=60)
@given(mutually_broadcastable_shapes(signature="(m,k),(k,n)->(m,n)", max_dims=3, max_side=5, min_side=0), SEEDS)
def test_matrix_products(shapes, seed):
    a, b = (numbers(s, seed + i) for i, s in enumerate(shapes.input_shapes))
    same(dl.tensor(a) @ dl.tensor(b), a @ b)
    flipped = dl.tensor(np.swapaxes(b, -1, -2)) @ dl.tensor(np.swapaxes(a, -1, -2))
    same(dl.transpose(flipped, -1, -2), a @ b)  # (AB)ᵀ = BᵀAᵀ


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 70), st.integers(1, 5), SEEDS)
def test_inner_products_and_norms(n, rows, seed):
    a, b = numbers((n,), seed), numbers((n,), seed + 1)
    same(dl.dot(dl.tensor(a), dl.tensor(b)), np.float32(a @ b))
    same(dl.einsum("i,i->", dl.tensor(a), dl.tensor(b)), np.float32(a @ b))
    m = numbers((rows, n), seed + 2)
    same(dl.tensor(m).T, m.T)
    same(dl.tensor(m) @ dl.tensor(a), m @ a)
    same(dl.outer(dl.tensor(a), dl.tensor(b)), np.outer(a, b))
    same(dl.tensor(m).norm(1, dim=1), np.abs(m).sum(1))
    if n:
        same(dl.tensor(m).norm(float("inf"), dim=1), np.abs(m).max(1))
    squares = (m * m).sum(1)
    assert np.abs(dl.tensor(m).norm(2, dim=1).numpy() - np.sqrt(squares)).max(initial=0) <= 2**-23 * np.sqrt(
        squares
    ).max(initial=1)


@settings(deadline=None, max_examples=60)
@given(PAIRS, SEEDS)
def test_what_does_not_broadcast_is_refused(shapes, seed):
    a, b = (numbers(s, seed) for s in shapes.input_shapes)
    wrong = (*b.shape, 7)
    assume(a.ndim > 0 and a.shape[-1] not in (1, 7))
    with pytest.raises(ValueError, match="broadcast"):
        dl.tensor(a) + dl.zeros(wrong)
