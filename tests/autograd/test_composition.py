"""Jacobians and Hessian-vector products, composed of `grad`; on polynomials with small integers they are exact."""

import numpy as np

import dlcore as dl

RNG = np.random.default_rng(0)
A, B = RNG.integers(-4, 5, (5, 5)).astype(float), RNG.integers(-4, 5, (3, 5)).astype(float)
X, V = RNG.integers(-4, 5, 5).astype(float), RNG.integers(-4, 5, 5).astype(float)


def cubic(x):
    """xᵀ A x + Σ x³, whose Hessian is A + Aᵀ + 6 diag(x)."""
    return dl.dot(x, dl.tensor(A) @ x) + (x * x * x).sum()


HESSIAN = A + A.T + 6 * np.diag(X)


def test_jacobian_by_rows():
    x = dl.tensor(X, requires_grad=True)
    y = (dl.tensor(B) @ x) ** 2
    rows = [dl.grad(y, x, row, retain_graph=True)[0].numpy() for row in dl.eye(3, dtype="float64")]
    assert np.array_equal(np.stack(rows), 2 * (B @ X)[:, None] * B)


def test_jacobian_vector_product_by_a_double_backward():
    """J v is the gradient, for u, of vᵀ (Jᵀ u), which is linear in u."""
    x, u = dl.tensor(X, requires_grad=True), dl.zeros((3,), dtype="float64", requires_grad=True)
    (back,) = dl.grad((dl.tensor(B) @ x) ** 2, x, u, create_graph=True)
    (forward,) = dl.grad(dl.dot(back, dl.tensor(V)), u)
    assert np.array_equal(forward.numpy(), 2 * (B @ X) * (B @ V))


def test_hessian_vector_product():
    x = dl.tensor(X, requires_grad=True)
    (slope,) = dl.grad(cubic(x), x, create_graph=True)
    assert np.array_equal(slope.detach().numpy(), (A + A.T) @ X + 3 * X**2)
    (product,) = dl.grad(dl.dot(slope, dl.tensor(V)), x)
    assert np.array_equal(product.numpy(), HESSIAN @ V)


def test_hessian_by_rows():
    x = dl.tensor(X, requires_grad=True)
    (slope,) = dl.grad(cubic(x), x, create_graph=True)
    rows = [dl.grad(s, x, retain_graph=True)[0].numpy() for s in slope]
    assert np.array_equal(np.stack(rows), HESSIAN)
