"""conv2d with ReLU and a residual: the same bits whether the kernel does it or operations of their own."""

import numpy as np
import pytest

import dlcore as dl
from dlcore.gradcheck import gradcheck

CASES = [  # x, weight, options: tiles of pixels, products with images, images of few channels, and the others
    ((2, 16, 9, 8), (64, 16, 3, 3), {"padding": 1}),
    ((1, 130, 14, 14), (64, 130, 1, 1), {}),
    ((2, 16, 20, 20), (40, 16, 1, 1), {}),
    ((2, 33, 15, 15), (40, 33, 1, 1), {"stride": 2}),
    ((1, 3, 40, 40), (64, 3, 7, 7), {"stride": 2, "padding": 3}),
    ((2, 6, 10, 10), (6, 1, 3, 3), {"groups": 6}),
    ((16, 9, 8), (5, 16, 3, 3), {"dilation": 2}),
]


@pytest.mark.parametrize("dtype", [dl.float32, dl.float64])
@pytest.mark.parametrize(("x", "w", "options"), CASES)
@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize("residual", [False, True])
def test_same_bits(x, w, options, activation, residual, dtype):
    x, w, b = dl.randn(x, dtype=dtype), dl.randn(w, dtype=dtype), dl.randn((w[0],), dtype=dtype)
    y = dl.conv2d(x, w, b, **options)
    skip = dl.randn(y.shape, dtype=dtype).transpose(-1, -2).clone().transpose(-1, -2) if residual else None
    expected = y if skip is None else y + skip
    expected = dl.relu(expected) if activation else expected
    found = dl.conv2d(x, w, b, **options, activation=activation, residual=skip)
    assert np.array_equal(found.numpy(), expected.numpy())
    w.requires_grad_()
    recorded = dl.conv2d(x, w, b, **options, activation=activation, residual=skip)
    assert recorded.requires_grad and np.array_equal(recorded.detach().numpy(), expected.numpy())
    with dl.no_grad():
        assert not dl.conv2d(x, w, b, **options, activation=activation, residual=skip).requires_grad


def test_gradients():
    x, w, b, r = (
        dl.randn(s, dtype=dl.float64, requires_grad=True) for s in [(1, 2, 5, 5), (3, 2, 3, 3), (3,), (1, 3, 3, 3)]
    )
    assert gradcheck(lambda *a: dl.conv2d(*a[:3], activation="relu", residual=a[3]), (x, w, b, r))


@pytest.mark.parametrize("grad", [False, True])
def test_errors(grad):
    x, w = dl.randn((1, 2, 5, 5)), dl.randn((3, 2, 3, 3), requires_grad=grad)
    with pytest.raises(ValueError, match=r"residual of the output's shape \(1, 3, 3, 3\), got \(3, 3\)"):
        dl.conv2d(x, w, residual=dl.zeros((3, 3)))
    with pytest.raises(ValueError, match="activation must be 'relu' or None, got 'gelu'"):
        dl.conv2d(x, w, activation="gelu")


@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize("at", range(4))
def test_what_is_no_tensor(at, activation):
    given = [dl.randn((1, 2, 5, 5)), dl.randn((3, 2, 3, 3)), dl.randn((3,)), dl.randn((1, 3, 3, 3))]
    given[at] = given[at].numpy()
    with pytest.raises(TypeError):
        dl.conv2d(*given[:3], residual=given[3], activation=activation)
    if at < 3:
        with pytest.raises(TypeError):
            dl.conv2d(*given[:3], activation=activation)


def test_under_autocast():
    """A float32 residual beside a product in bfloat16: what the operations give one by one."""
    x, w, r = dl.randn((1, 8, 6, 6)), dl.randn((8, 8, 3, 3)), dl.randn((1, 8, 4, 4))
    with dl.autocast("cpu"):
        y = dl.conv2d(x, w, residual=r, activation="relu")
        expected = dl.relu(dl.conv2d(x, w) + r)
    assert y.dtype is expected.dtype is dl.float32
    assert np.array_equal(y.numpy(), expected.numpy())
