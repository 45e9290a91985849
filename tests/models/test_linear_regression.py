"""Linear regression by both methods: exact on exact data, ridge, shapes, singular systems. scikit-learn's weights on
its diabetes data are in tests/parity."""

import numpy as np
import pytest

import dlcore as dl
from dlcore.models import LinearRegression


def data(rows=60, outputs=None, dtype="float64"):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(rows, 4)) * [1, 2, 0.5, 1] + [0, 5, 0, -3]
    w = np.array([2.0, -1.0, 0.5, 3.0]) if outputs is None else rng.normal(size=(4, outputs))
    return x.astype(dtype), (x @ w + 7).astype(dtype), w


@pytest.mark.parametrize("method", ["normal", "gd"])
@pytest.mark.parametrize("outputs", [None, 1, 3])
def test_exact_data(method, outputs):
    x, y, w = data(outputs=outputs)
    model = LinearRegression(4, outputs or 1).fit(x, y, method=method)
    scale = 1e-9 if method == "gd" else 1e-12
    np.testing.assert_allclose(model.weight.numpy(), np.atleast_2d(w.T), atol=10 * scale)
    np.testing.assert_allclose(model.bias.numpy(), 7, atol=100 * scale)
    assert model.predict(x).shape == ((60,) if (outputs or 1) == 1 else (60, 3)) and model(dl.tensor(x)).ndim == 2
    assert model.score(x, y) == pytest.approx(1)
    assert model.weight.dtype is dl.float64 and model.weight.requires_grad


def test_large_means_cost_no_digits():
    """With a bias the data are centred; the weights of 1e8 + noise are those of the noise."""
    x, y, w = data()
    model = LinearRegression(4).fit(x + 1e8, y)
    # What 1e8 leaves of numbers of size 0.5: 7 digits.
    np.testing.assert_allclose(model.weight.numpy()[0], w, rtol=1e-6)


def test_ridge_is_its_formula():
    x, _, _ = data()
    y = np.random.default_rng(2).normal(size=60)
    for method in ("normal", "gd"):
        plain = LinearRegression(4, bias=False, l2=3.0).fit(x, y, method=method)
        w = np.linalg.solve(x.T @ x + 3 * np.eye(4), x.T @ y)
        np.testing.assert_allclose(plain.weight.numpy()[0], w, rtol=1e-8)
        assert plain.bias is None
    xc = x - x.mean(0)
    ridge = LinearRegression(4, l2=3.0).fit(x, y)
    np.testing.assert_allclose(
        ridge.weight.numpy()[0], np.linalg.solve(xc.T @ xc + 3 * np.eye(4), xc.T @ y), rtol=1e-11
    )
    doubled = np.concatenate([x, x], axis=1)  # singular without the penalty
    twice = LinearRegression(8, l2=3.0).fit(doubled, y).weight.numpy()[0]
    np.testing.assert_allclose(twice[:4], twice[4:], atol=1e-12)


def test_dtypes_and_more():
    x, y, w = data(dtype="float32")
    model = LinearRegression(4).fit(dl.tensor(x), dl.tensor(y))
    assert model.weight.dtype is dl.float32 and model.predict(x).dtype is dl.float32
    np.testing.assert_allclose(model.weight.numpy()[0], w, rtol=1e-5)
    assert list(model.state_dict()) == ["weight", "bias"]
    counts = LinearRegression(1).fit([[0], [1], [2]], [1, 3, 5])
    assert counts.weight.item() == pytest.approx(2) and counts.predict([[3.0]]).tolist() == pytest.approx([7.0])
    assert LinearRegression(1).fit([[0], [1], [2]], [0, 1, 0]).score([[0], [1], [2]], [0, 1, 0]) == pytest.approx(0)


def test_singular_systems_are_refused():
    x, y, _ = data()
    text = (
        r"\[LinearRegression.fit\] expected linearly independent columns of x, got a singular system: column {} follows"
    )
    for columns, at in (([0, 1, 0], 2), ([0, 1, 2, 3], None)):
        if at is not None:
            with pytest.raises(ValueError, match=text.format(at)):
                LinearRegression(len(columns)).fit(x[:, columns], y)
    combined = np.concatenate([x, x @ [[1.0], [2.0], [0.0], [-1.0]]], axis=1)
    with pytest.raises(ValueError, match=r"from the others and the bias; leave it out or give an l2 > 0"):
        LinearRegression(5).fit(combined, y)
    constant = np.concatenate([x, np.full((60, 1), 3.0)], axis=1)
    with pytest.raises(ValueError, match=text.format(4)):
        LinearRegression(5).fit(constant, y)
    LinearRegression(5, bias=False).fit(constant, y)  # there it takes the bias's place
    with pytest.raises(ValueError, match="a singular system"):
        LinearRegression(4).fit(x[:3], y[:3])


BAD = [
    (lambda m, x, y: m.fit(x, y, method="qr"), r"\[LinearRegression.fit\] expected method 'normal' or 'gd', got 'qr'"),
    (
        lambda m, x, y: m.fit(x[:, :3], y),
        r"expected x \(N, 4\) and y \(N, 1\) or \(N,\), got shapes \(60, 3\) and \(60,\)",
    ),
    (lambda m, x, y: m.fit(x, y[:5]), r"expected x \(N, 4\) and y \(N, 1\) or \(N,\), got shapes \(60, 4\) and \(5,\)"),
    (lambda m, x, y: m.fit(x * np.nan, y), r"\[LinearRegression\] expected finite numbers in x, got NaN or infinity"),
    (lambda m, x, y: m.fit(x, y, method="gd", lr=1e3), r"gradient descent diverged with lr=1000.0; give a smaller one"),
    (lambda m, x, y: LinearRegression(4, l2=-1), r"\[LinearRegression\] expected l2 >= 0, got -1"),
]


@pytest.mark.parametrize(("call", "text"), BAD)
def test_bad_values(call, text):
    x, y, _ = data()
    with pytest.raises(ValueError, match=text):
        call(LinearRegression(4), x, y)


def test_descent_that_takes_longer():
    x, y, _ = data()
    with pytest.warns(
        RuntimeWarning, match=r"no minimum after 5 steps: the gradient is [\d.e-]+ times that at the start"
    ):
        LinearRegression(4).fit(x, y, method="gd", max_steps=5)
