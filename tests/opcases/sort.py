"""Order, against NumPy's stable sorts. Indices are compared too: equal elements keep their order."""

import numpy as np

import dlcore as dl
from tests.opcases import Fails, OpCase, Rand, Sample

# Lengths that take each way through the kernels: ranks in vectors, narrow and wide radix sorts.
LENGTHS = (1, 2, 31, 33, 65, 127, 129, 300, 2100)
SPECIAL = np.array([[np.nan, 1.0, -0.0, 0.0, np.inf, -np.inf, np.nan, -1.0, 0.0, -0.0, 1.0, np.inf]])
AXIS = "axis 2 is out of range for shape (3, 4)"


def argsort(x, dim=-1, descending=False):
    if x.ndim == 0:
        return np.zeros((), np.int64)
    order = (lambda v: np.flip(np.argsort(np.flip(v, dim), dim, kind="stable"), dim)) if descending else None
    if order is None:
        return np.argsort(x, dim, kind="stable")
    return x.shape[dim] - 1 - order(x)  # the last of equal elements first, of the reversed


def sort(x, dim=-1, descending=False):
    i = argsort(x, dim, descending)
    return (x, i) if x.ndim == 0 else (np.take_along_axis(x, i, dim), i)


def topk(x, k, dim=-1, largest=True):
    if x.ndim == 0:
        return sort(x)
    return tuple(np.take(a, range(k), dim) for a in sort(x, dim, largest))


def numpy_topk(x, k):
    """What NumPy offers for it: a partition, and a sort of the k."""
    i = np.argpartition(x, -k)[..., -k:]
    values = np.take_along_axis(x, i, -1)
    order = np.argsort(-values)
    return np.take_along_axis(values, order, -1), np.take_along_axis(i, order, -1)


def numpy_sort(x):
    i = np.argsort(x)
    return np.take_along_axis(x, i, -1), i


def spread(*shape, dim=-1):
    """Values an eighth apart along `dim`, so that a small step leaves their order alone."""
    rank = np.argsort(np.random.default_rng(shape[dim]).random(shape), dim)
    return ((rank - shape[dim] // 2) / 8).astype(np.float32)


def small(*shape, dtype="int64"):
    return Rand(shape, dtype, 0, 5)


def values_and_indices(x, *_, **__):
    return x.dtype.name, "int64"


SORTED = (
    [Sample(spread(2, n), descending=d) for n in LENGTHS for d in (False, True)]
    + [Sample(spread(3, 70, 2, dim=1), 1, descending=d) for d in (False, True)]
    + [Sample(spread(70, 3, dim=0), 0), Sample(spread(4, 5, 6, dim=-2), -2)]
)
INTEGERS = [
    Sample(small(2, 70, dtype=t), -1, descending=d) for t in ("int64", "int32", "uint8", "bool") for d in (False, True)
] + [Sample(np.array([2**63 - 1, -(2**63), 0, -1, 5] * 9))]
EDGES = [Sample(SPECIAL, -1, descending=d) for d in (False, True)] + [
    Sample((0,)),
    Sample((3, 0), 1),
    Sample((0, 3), 1),
]
BIG = [Sample((140000,)), Sample((2, 70000)), Sample((900, 100))]
BENCH = {
    "vector": Sample((1000000,)),
    "rows": Sample((1024, 1000)),
    "short_rows": Sample((8192, 64)),
    "tiny_rows": Sample((4096, 16)),
    "vocabulary": Sample((64, 50257)),
}
ROWS = Rand((3, 4))

CASES = [
    OpCase(
        "sort",
        op=lambda *a, **k: tuple(dl.sort(*a, **k)),
        reference=sort,
        samples=SORTED,
        edges=[*EDGES, *INTEGERS, Sample(())],
        errors=[Fails(ROWS, 2, error=IndexError, text=f"[sort] {AXIS}")],
        exact=True,
        twice=True,
        output_dtype=values_and_indices,
        big=BIG,
        bench=BENCH,
        numpy=numpy_sort,
    ),
    OpCase(
        "argsort",
        op=dl.argsort,
        reference=argsort,
        samples=SORTED,
        edges=[*EDGES, *INTEGERS, Sample(())],
        errors=[Fails(ROWS, 2, error=IndexError, text=f"[argsort] {AXIS}")],
        exact=True,
        gradient=False,
        output_dtype="int64",
        big=BIG,
        bench=BENCH,
        numpy=np.argsort,
    ),
    OpCase(
        "topk",
        op=lambda *a, **k: tuple(dl.topk(*a, **k)),
        reference=topk,
        samples=[
            Sample(spread(3, n), k, largest=top)
            for n in (1, 9, 100, 700, 2100)
            for k in sorted({1, min(n, 5), n // 8 or 1, n})
            for top in (True, False)
        ]
        + [Sample(spread(4, 65, 3, dim=1), 7, 1), Sample(spread(65, 4, dim=0), 65, 0)],
        edges=[Sample(SPECIAL, 5, largest=top) for top in (True, False)]
        + [Sample(np.repeat(SPECIAL, 20, -1), 20, largest=top) for top in (True, False)]
        + [
            Sample(np.sign(np.arange(3000.0) - 1500), 100),
            Sample(np.arange(3000.0), 9),
            Sample((3, 4), 0),
            Sample((), 1),
        ]
        + [Sample(small(2, 700, dtype=t), 9, largest=top) for t in ("int64", "uint8", "bool") for top in (True, False)],
        errors=[
            Fails(ROWS, 5, text="[topk] k must be between 0 and 4, the size of axis 1 of shape (3, 4), got 5"),
            Fails(ROWS, -1, text="[topk] k must be between 0 and 4"),
            Fails(ROWS, 1, 2, error=IndexError, text=f"[topk] {AXIS}"),
        ],
        exact=True,
        twice=True,
        output_dtype=values_and_indices,
        big=[Sample((140000,), 7), Sample((2, 70000), 300), Sample((900, 100), 3)],
        bench={
            "vector": Sample((1000000,), 40),
            "rows": Sample((1024, 1000), 40),
            "vocabulary": Sample((64, 50257), 40),
            "experts": Sample((8192, 64), 2),
        },
        numpy=numpy_topk,
    ),
    OpCase(
        "searchsorted",
        op=dl.searchsorted,
        reference=lambda s, v, right=False: (
            np.searchsorted(s, v, "right" if right else "left")
            if s.ndim == 1
            else np.stack([np.searchsorted(a, b, "right" if right else "left") for a, b in zip(s, v, strict=True)])
        ),
        samples=[
            Sample(np.sort(np.random.default_rng(n).integers(0, 40, n) / 4), Rand((3, 5), low=0, high=10), right=r)
            for n in (1, 2, 7, 64, 100)
            for r in (False, True)
        ]
        + [Sample(np.array([1, 3, 3, 5]), np.array([[0, 1, 2], [3, 5, 9]]), right=r) for r in (False, True)]
        + [Sample(np.array([[1, 2, 3], [4, 5, 6]]), np.array([[2, 9], [5, 0]]), right=r) for r in (False, True)],
        edges=[Sample((0,), (3,)), Sample(np.array([0.0, np.inf, np.nan]), np.array([np.nan, np.inf, -np.inf, 0.0]))],
        errors=[
            Fails((), (3,), text="[searchsorted] expected at least one dimension to search in, got shape ()"),
            Fails((2, 3), (3, 3), text="shapes (2, 3) to search in and (3, 3) of values"),
        ],
        exact=True,
        gradient=False,
        output_dtype="int64",
        big=[Sample(np.arange(100.0), Rand((300, 30), low=-5, high=105))],
        bench={"vector": Sample(np.arange(1000.0), Rand((1000000,), low=0, high=1000))},
        same_in_any_layout=False,
    ),
    OpCase(
        "bucketize",
        op=dl.bucketize,
        reference=lambda x, b, right=False: np.searchsorted(b, x, "right" if right else "left"),
        samples=[Sample(Rand((3, 4), "int64", 0, 9), np.array([2, 4, 6]), right=r) for r in (False, True)],
        errors=[Fails(1, (2, 2), text="[bucketize] expected a vector of boundaries, got shape (2, 2)")],
        exact=True,
        gradient=False,
        output_dtype="int64",
    ),
    OpCase(
        "unique",
        op=dl.unique,
        reference=np.unique,
        samples=[Sample(small(3, 20)), Sample(np.round(np.random.default_rng(0).standard_normal((4, 30)), 1))]
        + [
            Sample(small(17, dtype=t), return_inverse=i, return_counts=c)
            for t in ("int32", "bool")
            for i, c in ((True, False), (False, True), (True, True))
        ]
        + [Sample(np.array([[3, 1], [1, 2]]), return_inverse=True)],
        edges=[Sample((0,))],
        exact=True,
        gradient=False,
    ),
]
