"""One index for every element, against NumPy's take_along_axis and loops."""

import numpy as np

import dlcore as dl
from tests.opcases import Eps, Fails, OpCase, Rand, Sample


def gather(x, dim, i):
    inside = tuple(slice(None) if d == dim % x.ndim else slice(0, n) for d, n in enumerate(i.shape))
    return np.take_along_axis(x[inside], i, dim)


def places(x, dim, i):
    at = list(np.indices(i.shape))
    at[dim % x.ndim] = i
    return tuple(at)


def used(src, i):
    return src[tuple(slice(0, n) for n in i.shape)] if isinstance(src, np.ndarray) and src.ndim else src


def scatter(x, dim, i, src):
    y = x.copy()
    y[places(x, dim, i)] = used(src, i)
    return y


def scatter_add(x, dim, i, src):
    y = x.copy()
    np.add.at(y, places(x, dim, i), used(src, i))
    return y


def scatter_add_magnitude(x, dim, i, src):
    """Every addition rounds once, in the order of the indices: the sum of magnitudes, times their number."""
    terms = scatter_add(np.ones_like(x), dim, i, np.ones_like(src))
    return terms * scatter_add(np.abs(x), dim, i, np.abs(src))


def index(*shape, high, low=0):
    return Rand(shape, "int64", low, high)


def distinct(shape, dim, seed=0):
    """Indices that name no element twice, so that the gradient of each value is its own."""
    return np.argsort(np.random.default_rng(seed).random(shape), dim)


TAKEN = [
    Sample((4, 5, 6), 0, index(7, 5, 6, low=-4, high=4)),
    Sample((4, 5, 6), 1, index(4, 2, 6, high=5)),
    Sample((4, 5, 6), 2, index(4, 5, 9, high=6)),
    Sample((4, 5, 6), -2, index(3, 4, 2, high=5)),
    Sample((4, 5, 6), 0, index(2, 3, 4, high=4)),
    Sample((9,), 0, index(17, high=9)),
    *(Sample((3, n), 1, index(3, n, low=-n, high=n)) for n in (1, 7, 17, 65)),
]
ADDED = [
    Sample((4, 5, 6), 0, index(7, 5, 6, low=-4, high=4), (7, 5, 6)),
    Sample((4, 5, 6), 1, index(3, 2, 6, high=5), (3, 2, 6)),
    Sample((4, 5, 6), -1, index(2, 4, 9, high=6), (3, 5, 10)),
    Sample((9,), 0, index(30, high=9), (30,)),
    Sample((3, 17), 1, index(3, 65, high=17), (3, 65)),
]


def errors(name, *src):
    return [
        Fails(
            (3, 4), 1, np.array([[0, 4]]), *src, error=IndexError, text=f"[{name}] index 4 at position (0, 1) is out of"
        ),
        Fails((3, 4), 2, index(1, 1, high=2), *src, error=IndexError, text=f"[{name}] axis 2 is out of range"),
        Fails((3, 4), 1, index(2, high=2), *src, text=f"[{name}] the index must have as many dimensions as the tensor"),
        Fails(
            (3, 4), 1, index(5, 1, high=2), *src, text=f"[{name}] an index of shape (5, 1) exceeds the tensor of shape"
        ),
        Fails((3, 4), 1, Rand((1, 1)), *src, error=TypeError, text=f"[{name}] indices must be integers, got float32"),
    ]


CASES = [
    OpCase(
        "gather",
        op=dl.gather,
        reference=gather,
        samples=TAKEN,
        edges=[Sample((3, 4), 0, index(0, 4, high=3)), Sample((3, 4), 1, Rand((3, 2), "uint8", 0, 4))],
        errors=errors("gather"),
        exact=True,
        twice=True,
        big=[Sample((300, 300), 1, index(300, 300, high=300)), Sample((300, 300), 0, index(400, 300, high=300))],
        bench={
            "logits": Sample((8192, 50), 1, index(8192, 1, high=50)),
            "rows": Sample((1024, 1000), 1, index(1024, 1000, high=1000)),
            "columns": Sample((1024, 1000), 0, index(1024, 1000, high=1024)),
            "vector": Sample((1000000,), 0, index(1000000, high=1000000)),
        },
        bytes=lambda x, dim, i: 16 * i.size,
    ),
    OpCase(
        "take_along_dim",
        op=dl.take_along_dim,
        reference=lambda x, i, dim: np.take_along_axis(x, i, dim),
        samples=[
            Sample((4, 5, 6), index(4, 3, 6, high=5), 1),
            Sample((4, 5, 6), index(1, 3, 1, low=-5, high=5), -2),
            Sample((1, 5), index(4, 3, high=5), 1),
        ],
        errors=[
            Fails((3, 4), index(2, high=3), 1, text="[take_along_dim] the index must have as many dimensions"),
            Fails((3, 4), index(1, 1, high=3), 2, error=IndexError, text="[take_along_dim] axis 2 is out of range"),
            Fails((3, 4), np.array([[7]]), 1, error=IndexError, text="[take_along_dim] index 7 at position (0, 0)"),
            Fails((3, 4), index(2, 1, high=3), 1, text="(3, 1) and (2, 1) do not broadcast"),
        ],
        exact=True,
        twice=True,
    ),
    OpCase(
        "scatter",
        op=dl.scatter,
        reference=scatter,
        samples=[
            Sample((4, 5, 6), 0, distinct((4, 5, 6), 0), (4, 5, 6)),
            Sample((4, 5, 6), 1, distinct((3, 5, 6), 1)[:, :2, :4], (3, 2, 4)),
            Sample((4, 5, 6), -1, distinct((2, 4, 6), 2), (3, 5, 7)),
            Sample((9,), 0, distinct((9,), 0) - 9, (9,)),
            Sample((3, 65), 1, index(3, 65, high=65), 2),
            Sample((3, 4), 1, index(3, 2, high=4), ()),
        ],
        errors=[
            *errors("scatter", (9, 9)),
            Fails(
                (3, 4),
                1,
                index(2, 2, high=2),
                (2, 1),
                text="an index of shape (2, 2) exceeds the values of shape (2, 1)",
            ),
            Fails(
                (3,), 0, np.array([1]), Rand((1,), "float64"), error=TypeError, text="values of float64 do not fit into"
            ),
        ],
        exact=True,
        twice=True,
        big=[Sample((300, 300), 1, distinct((300, 300), 1), (300, 300))],
        bench={"rows": Sample((1024, 1000), 1, index(1024, 1000, high=1000), (1024, 1000))},
        bytes=lambda x, dim, i, src: 2 * x.nbytes + 16 * i.size,
    ),
    OpCase(
        "scatter_add",
        op=dl.scatter_add,
        reference=scatter_add,
        magnitude=scatter_add_magnitude,
        eps=Eps(forward=1),
        samples=ADDED,
        edges=[Sample((3, 4), 0, index(0, 4, high=3), (0, 4))],
        errors=[
            *errors("scatter_add", (9, 9)),
            Fails(
                (3,), 0, np.array([1]), 1.0, error=TypeError, text="[scatter_add] expected src as a tensor, got float"
            ),
            Fails(Rand((3,), "bool"), 0, np.array([1]), Rand((1,), "bool"), error=TypeError, text="bools cannot be"),
        ],
        twice=True,
        big=[
            Sample((300, 300), 1, index(300, 300, high=300), (300, 300)),
            Sample((300, 300), 0, index(400, 300, high=300), (400, 300)),
        ],
        bench={"rows": Sample((1024, 1000), 1, index(1024, 1000, high=1000), (1024, 1000))},
        bytes=lambda x, dim, i, src: 2 * x.nbytes + 16 * i.size,
    ),
]
