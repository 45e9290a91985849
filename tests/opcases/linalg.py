"""Cholesky factors and triangular systems, against LAPACK in float64.

Errors are measured by n · cond · |result|: the bound for both (N. Higham, "Accuracy and stability of numerical
algorithms", 8.1 and 10.1), with its constant.
"""

import numpy as np

import dlcore as dl
from tests.opcases import Eps, Fails, OpCase, Rand, Sample

SIZES = (1, 2, 3, 5, 8, 15, 16, 17, 33, 65)
DTYPES = ("float32", "float64")


def adjoint(x):
    return np.swapaxes(x, -2, -1)


def cholesky(m):
    """Of a matrix that depends on all of m and is well conditioned."""
    return dl.cholesky(dl.matmul(m, dl.transpose(m, -2, -1)) / m.shape[-1] + dl.eye(m.shape[-2], dtype=m.dtype))


def definite(m):
    return m @ adjoint(m) / m.shape[-1] + np.eye(m.shape[-2])


def scaled(result, matrix):
    """n · cond · the norm of the result, of each matrix of a batch."""
    n = matrix.shape[-1]
    if not result.size:
        return np.abs(result)
    norm = np.linalg.norm(result, axis=(-2, -1), keepdims=True)
    return n * np.linalg.cond(matrix)[..., None, None] * norm + np.zeros_like(result)


def triangle(a, upper):
    """What is read of `a`, with a dominant diagonal: random triangles are hopelessly ill-conditioned."""
    n = a.shape[-1]
    return (np.triu if upper else np.tril)(a) / n + 2 * np.eye(n)


def solve_triangular(a, b, *, upper):
    n = a.shape[-1]
    return dl.solve_triangular(a / n + 2 * dl.eye(n, dtype=a.dtype), b, upper=upper)


def cholesky_solve(b, a):
    n = a.shape[-1]
    return dl.cholesky_solve(b, dl.tril(a) / n + 2 * dl.eye(n, dtype=a.dtype))


def normal(b, a):
    lower = triangle(a, False)
    return lower @ adjoint(lower)


def indefinite(*pivots):
    return np.diag(np.array(pivots, np.float32))


CASES = [
    OpCase(
        "cholesky",
        op=cholesky,
        reference=lambda m: np.linalg.cholesky(definite(m)),
        magnitude=lambda m: scaled(np.linalg.cholesky(definite(m)), definite(m)),
        samples=[Sample((n, n)) for n in SIZES] + [Sample((3, 4, 6)), Sample((2, 3, 5, 5)), Sample((130, 40))],
        edges=[Sample((0, 3)), Sample((0, 4, 4))],
        eps=Eps(forward=2, backward=256),
        twice=True,
        dtypes=DTYPES,
        big=[Sample((300, 300)), Sample((70, 24, 24))],
        flops=lambda m: m.shape[-1] ** 3 / 3,
    ),
    OpCase(
        "cholesky:alone",
        # Without the gradient, which is that of symmetric matrices: differences of single elements are not.
        op=lambda a: dl.cholesky(a.detach()),
        reference=np.linalg.cholesky,
        magnitude=lambda a: scaled(np.linalg.cholesky(a), a),
        samples=[Sample(np.array([[4.0, 9.0], [2.0, 5.0]], np.float32))],  # what stands above the diagonal is not read
        errors=[
            Fails((3, 4), text="[cholesky] expected square matrices, got shape (3, 4)"),
            Fails((3,), text="[cholesky] expected square matrices, got shape (3,)"),
            Fails(Rand((3, 3), "int64"), error=TypeError, text="[cholesky] expected float32 or float64, got int64"),
            Fails(
                indefinite(1, 2, -1, 3),
                text="[cholesky] expected a positive definite matrix, got one whose leading minor of order 3 is not "
                "positive (shape (4, 4))",
            ),
            Fails(indefinite(1, 0), text="leading minor of order 2 is not positive"),
            Fails(indefinite(np.nan, 1), text="leading minor of order 1 is not positive"),
            Fails(np.stack([indefinite(1, 1), indefinite(1, -1)]), text="order 2 is not positive (matrix 1 of 2, "),
        ],
        gradient=False,
        dtypes=DTYPES,
        bench={"covariance": Sample(indefinite(*range(1, 513)))},
        flops=lambda a: a.shape[-1] ** 3 / 3,
    ),
    OpCase(
        "solve_triangular",
        op=solve_triangular,
        reference=lambda a, b, *, upper: np.linalg.solve(triangle(a, upper), b),
        magnitude=lambda a, b, *, upper: scaled(np.linalg.solve(triangle(a, upper), b), triangle(a, upper)),
        samples=[
            *(Sample((n, n), (n, m), upper=bool(n % 2)) for n in SIZES for m in (1, 7)),
            *(Sample((9, 9), (9, m), upper=u) for m in (16, 17, 64, 65, 130) for u in (False, True)),
            Sample((3, 4, 4), (3, 4, 2), upper=False),
            Sample((4, 4), (2, 3, 4, 2), upper=True),
            Sample((3, 1, 4, 4), (2, 4, 5), upper=False),
        ],
        edges=[Sample((0, 0), (0, 3), upper=False), Sample((3, 3), (3, 0), upper=True)],
        eps=Eps(forward=2, backward=64),
        twice=True,
        dtypes=DTYPES,
        big=[Sample((200, 200), (200, 300), upper=False), Sample((300, 300), (300, 1), upper=True)],
        bench={"covariance": Sample((512, 512), (512, 512), upper=False)},
        flops=lambda a, b, **_: a.shape[-1] * b.size,
    ),
    OpCase(
        "solve_triangular:alone",
        op=dl.solve_triangular,
        reference=lambda a, b, *, upper: np.linalg.solve(np.triu(a) if upper else np.tril(a), b),
        samples=[Sample(np.array([[2.0, 5.0], [1.0, 4.0]], np.float32), (2, 1), upper=u) for u in (False, True)],
        errors=[
            Fails((3, 4), (3, 1), upper=True, text="[solve_triangular] expected square matrices, got shape (3, 4)"),
            Fails(
                (3, 3),
                (4, 1),
                upper=True,
                text="[solve_triangular] expected right-hand sides of 3 rows for a matrix of shape (3, 3), got shape "
                "(4, 1)",
            ),
            Fails(
                (3, 3), (3,), upper=True, text="right-hand sides of 3 rows for a matrix of shape (3, 3), got shape (3,)"
            ),
            Fails(
                Rand((3, 3), "bool"),
                Rand((3, 3), "bool"),
                upper=True,
                error=TypeError,
                text="[solve_triangular] expected float32 or float64, got bool",
            ),
            Fails(
                indefinite(1, 2, 0),
                (3, 2),
                upper=False,
                text="[solve_triangular] expected a regular matrix, got a zero on the diagonal at (2, 2) of shape "
                "(3, 3)",
            ),
            Fails((2, 3, 3), (4, 3, 1), upper=False, text="(2,) and (4,)"),
        ],
        eps=Eps(forward=8, backward=64),
        magnitude=lambda a, b, *, upper: scaled(np.abs(b) + 1, np.triu(a) if upper else np.tril(a)),
        dtypes=DTYPES,
    ),
    OpCase(
        "cholesky_solve",
        op=cholesky_solve,
        reference=lambda b, a: np.linalg.solve(normal(b, a), b),
        magnitude=lambda b, a: scaled(np.linalg.solve(normal(b, a), b), normal(b, a)),
        samples=[Sample((n, 3), (n, n)) for n in SIZES[1:]] + [Sample((2, 5, 1), (5, 5))],
        eps=Eps(forward=4, backward=64),
        dtypes=DTYPES,
        twice=True,
    ),
]
