"""The gradient of a look-up: rows add up, the padding row takes none."""

import numpy as np

import dlcore as dl


def test_gradient_adds_up_and_skips_the_padding_row():
    weight = dl.tensor(np.ones((5, 3), np.float32), requires_grad=True)
    indices = dl.tensor([[0, 2, 2], [4, 2, 0]])
    for padding, counts in [(None, [2, 0, 3, 0, 1]), (2, [2, 0, 0, 0, 1]), (-1, [2, 0, 3, 0, 0])]:
        (g,) = dl.grad(dl.embedding(indices, weight, padding).sum(), weight)
        assert g.tolist() == [[float(n)] * 3 for n in counts]


def test_second_derivative_skips_the_padding_row():
    weight = dl.tensor(np.ones((4, 2), np.float32), requires_grad=True)
    indices = dl.tensor([0, 1, 1])
    y = dl.embedding(indices, weight, padding_idx=0)
    (g,) = dl.grad((y * y).sum(), weight, create_graph=True)
    (h,) = dl.grad(g.sum(), weight)
    assert g.tolist() == [[0.0] * 2, [4.0] * 2, [0.0] * 2, [0.0] * 2]
    assert h.tolist() == [[0.0] * 2, [4.0] * 2, [0.0] * 2, [0.0] * 2]
