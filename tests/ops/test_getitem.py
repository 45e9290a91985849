"""x[key] and x[key] = value, by NumPy's rules, forward and backward."""

import numpy as np
import pytest

import dlcore as dl

ARRAY = np.arange(60, dtype=np.float64).reshape(3, 4, 5)
MASK = ARRAY % 3 == 0
KEYS = [
    1,
    -1,
    (1, 2),
    (1, 2, 3),
    slice(1, None),
    (slice(None), slice(None, None, 2)),
    (slice(None, None, -1), 0),
    (..., 1),
    (None, 1, ..., None),
    (slice(5, 2),),
    np.array([2, 0, 2]),
    (np.array([[0, 1], [2, 0]]), np.array([1, 3])),
    (slice(None), np.array([3, 0])),
    (np.array([0, 2]), slice(1, 3), np.array([4, 1])),
    (slice(None), np.array([1, -1]), None),
    MASK,
    MASK[:, 0, 0],
    (slice(None), MASK[0, :, 1]),
    [0, 2],
]


def key_for(key):
    if isinstance(key, tuple):
        return tuple(key_for(k) for k in key)
    return dl.tensor(key) if isinstance(key, np.ndarray) else key


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_read_and_gradient(key):
    x = dl.tensor(ARRAY, requires_grad=True)
    y = x[key_for(key)]
    np.testing.assert_array_equal(y.numpy(), ARRAY[key])
    y.backward(dl.tensor(ARRAY[key] + 1.0, dtype=dl.float64))
    expected = np.zeros_like(ARRAY)
    np.add.at(expected, tuple(key) if isinstance(key, tuple) else (key,), ARRAY[key] + 1.0)
    np.testing.assert_array_equal(x.grad.numpy(), expected)


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_write(key):
    x, expected = dl.tensor(ARRAY), ARRAY.copy()
    x[key_for(key)] = 7.0
    expected[key] = 7.0
    np.testing.assert_array_equal(x.numpy(), expected)


@pytest.mark.parametrize(
    ("key", "error"),
    [
        (3, IndexError),
        ((0, 0, 0, 0), IndexError),
        (np.array([3]), IndexError),
        (np.zeros((2, 2), bool), IndexError),
        (np.array([0.5]), (IndexError, TypeError)),
    ],
    ids=str,
)
def test_bad_keys(key, error):
    with pytest.raises(error, match=r"\[index"):
        dl.tensor(ARRAY)[key_for(key)]
