"""Selections by position against NumPy's indexing. x[key] is a method, so its cases go by index_select's name."""

import numpy as np

import dlcore as dl
from tests.opcases import Const, Eps, Fails, OpCase, Rand, Sample

S = slice
MOVE = {"exact": True, "twice": True}

# Views and copies; array indices are inputs of their own, so that the walkers lay them out differently too.
KEYS = [
    0,
    -1,
    (1, 2),
    (..., -3),
    S(1, 3),
    S(None, None, -1),
    (S(None), S(4, 0, -2)),
    (S(5, 2), None, 0),
    (None, S(None), None, ..., S(None, None, 3)),
    (0, 1, 2),
    (),
    ...,
    [0, 2, 2],
    ([3, 0, 1],),
    (S(None), [1, -1]),
    ([0, 1], [2, 3]),
    ([[0], [3]], S(1, 4), [1, 5]),
    ([0, 1], ..., [2, 3]),
    (0, S(None), [1, 1, 0]),
    (S(None), 2, [4, 4]),
    (None, [1, 2], S(None, None, -2)),
    (np.int64(2), np.array(1)),
    True,
    (False, 0),
    (S(None), []),
    np.zeros((4,), bool),
]


def key_errors():
    def fails(key, text, error=IndexError):
        return Fails((4, 5, 6), Const(key), error=error, text=text)

    return [
        fails(4, "[index] index 4 at position 0 is out of range for axis 0 of size 4 (shape (4, 5, 6))"),
        fails((0, 1, -7), "[index] index -7 at position 2 is out of range for axis 2 of size 6 (shape (4, 5, 6))"),
        fails((0, [1, 5]), "[index] index 5 at position 1 is out of range for axis 1 of size 5 (shape (4, 5, 6))"),
        fails((9, [1]), "[index] index 9 at position 0 is out of range for axis 0 of size 4 (shape (4, 5, 6))"),
        fails((0, 0, 0, 0), "[index] 4 indices are too many for shape (4, 5, 6)"),
        fails(([0], 0, 0, 0), "[index] 4 indices are too many for shape (4, 5, 6)"),
        fails((..., ...), "[index] an index holds at most one Ellipsis"),
        fails(([0, 1], [0, 1, 2]), "[index] shapes (2,) and (3,) do not broadcast"),
        fails(2**70, "[index] the index at position 0 does not fit into 64 bits"),
        fails(np.ones(5, bool), "[index] a mask of shape (5,) does not match the first dimensions of shape (4, 5, 6)"),
        fails((0, np.ones(4, bool)), "[index] a mask of shape (4,) at position 1 does not match the dimensions"),
        fails(1.5, "bools, got float at position 0", TypeError),
        fails((0, np.ones(2)), "bools, got ndarray of float64 at position 1", TypeError),
        fails("a", "bools, got str at position 0", TypeError),
        fails([[0, 1], [2]], "bools, got list at position 0", TypeError),
        fails(S(0, 2, 0), "slice step cannot be zero", ValueError),
    ]


def index(*shape, high, low=0):
    return Rand(shape, "int64", low, high)


def where_true(*shape):
    return Rand(shape, "bool")


ADVANCED = [
    Sample((4, 5, 6), Const(lambda i: (i,)), index(7, low=-4, high=4)),
    Sample((4, 5, 6), Const(lambda i: (S(None), i)), index(2, 3, low=-5, high=5)),
    Sample((4, 5, 6), Const(lambda i: (..., i, S(1, None))), index(3, high=5)),
    Sample((4, 5, 6), Const(lambda i, j: (i, S(None), j)), index(3, 1, high=4), index(1, 4, high=6)),
    Sample((4, 5, 6), Const(lambda i, j: (S(None, None, -1), i, j)), index(3, high=5), index(3, high=6)),
    Sample((4, 5, 6), Const(lambda i, m: (i, m)), index(1, high=4), where_true(5)),
    Sample((4, 5, 6), Const(lambda m: m), where_true(4)),
    Sample((4, 5, 6), Const(lambda m: m), where_true(4, 5, 6)),
    Sample((4, 5, 6), Const(lambda m: (S(1, 3), m)), where_true(5, 6)),
    Sample((65, 33), Const(lambda i: i), index(40, low=-65, high=65)),
]


def write(x, value, *key):
    x = x.copy() if isinstance(x, np.ndarray) else x.clone()
    key = key[0](*key[1:]) if callable(key[0]) else key[0]
    x[key] = value
    return x


def index_add(x, dim, i, source, alpha=1):
    y = x.copy()
    np.add.at(y, (S(None),) * (dim % x.ndim) + (i,), alpha * source)
    return y


def index_add_magnitude(x, dim, i, source, alpha=1):
    """Every addition rounds once, in the order of the indices: the sum of magnitudes, times their number."""
    terms = index_add(np.ones_like(x), dim, i, np.ones_like(source) * (1 + (alpha != 1)))
    return terms * index_add(np.abs(x), dim, i, np.abs(alpha * source))


CASES = [
    OpCase(
        "index_select:getitem",
        op=lambda x, key: x[key],
        reference=lambda x, key: x[key],
        samples=[Sample((4, 5, 6), Const(key)) for key in KEYS],
        edges=[
            Sample((), Const(())),
            Sample((), Const(...)),
            Sample((0, 3), Const(S(None))),
            Sample((3, 0), Const([2])),
        ],
        errors=key_errors(),
        **MOVE,
    ),
    OpCase(
        "index_select:getitem with arrays",
        op=lambda x, key, *arrays: x[key(*arrays)],
        reference=lambda x, key, *arrays: x[key(*arrays)],
        samples=ADVANCED,
        big=[Sample((300, 300), Const(lambda i, j: (i, j)), index(70001, high=300), index(70001, high=300))],
        bench={
            "elements": Sample((1000000,), Const(lambda i: i), index(1000000, high=1000000)),
            "tokens": Sample((50257, 768), Const(lambda i: i), index(8, 1024, high=50257)),
            "mask": Sample((1024, 1000), Const(lambda m: m), where_true(1024, 1000)),
            "rows_by_mask": Sample((50257, 768), Const(lambda m: m), where_true(50257)),
        },
        **MOVE,
    ),
    OpCase(
        "index_select:setitem",
        op=write,
        reference=write,
        samples=[Sample((4, 5, 6), 7.0, Const(key)) for key in KEYS]
        + [
            Sample((4, 5, 6), (6,), Const(0)),
            Sample((4, 5, 6), (5, 1), Const(S(None, None, -2))),
            Sample((4, 5, 6), (4, 2, 1), Const((S(None), [3, 0]))),
            Sample((4, 5, 6), (), Const(([0, 1], 2))),
        ],
        edges=[Sample((0, 3), 1.0, Const(S(None))), Sample((3,), np.array([np.nan, -0.0]), Const([2, 0]))],
        errors=[
            Fails((4, 5), (3,), Const(0), text="[setitem] a value of shape (3,) does not broadcast to shape (5,)"),
            Fails(
                (4, 5), (3,), Const([0, 1]), text="[setitem] a value of shape (3,) does not broadcast to shape (2, 5)"
            ),
            Fails((4, 5), 1.0, Const(4), error=IndexError, text="[index] index 4 at position 0 is out of range"),
            Fails((4, 5), 1.0, Const([0, 4]), error=IndexError, text="[index] index 4 at position 1 is out of range"),
        ],
        **MOVE,
    ),
    OpCase(
        "index_select:setitem with arrays",
        op=write,
        reference=write,
        samples=[
            Sample((65, 33), (33,), Const(lambda i: i), np.array([3, 64, -7, 0])),
            Sample((65, 33), (4, 1), Const(lambda i: i), np.array([3, 64, -7, 0])),
            Sample((4, 5, 6), (2, 5), Const(lambda i, j: (i, S(None), j)), np.array([0, 3]), np.array([5, -6])),
            Sample((4, 5, 6), (6,), Const(lambda m: m), where_true(4, 5)),
            Sample((4, 5, 6), (), Const(lambda m: m), where_true(4, 5, 6)),
            Sample((4, 3), (4,), Const(lambda m: m), np.arange(12).reshape(4, 3) % 3 == 1),
        ],
        big=[Sample((300, 300), (), Const(lambda m: m), where_true(300, 300))],
        bench={
            "elements": Sample((1000000,), (1000000,), Const(lambda i: i), index(1000000, high=1000000)),
            "mask": Sample((1024, 1000), 0.0, Const(lambda m: m), where_true(1024, 1000)),
        },
        **MOVE,
    ),
    OpCase(
        "index_select",
        op=dl.index_select,
        reference=lambda x, dim, i: np.take(x, i, dim),
        samples=[Sample((4, 5, 6), dim, index(7, low=-4, high=4)) for dim in (0, 1, 2, -1)]
        + [Sample((5, n), 0, index(3, high=5)) for n in (1, 7, 17, 130)],
        edges=[
            Sample((4, 0), 0, index(3, high=4)),
            Sample((4, 5), 1, index(0, high=1)),
            Sample((3,), 0, Rand((2,), "uint8", 0, 3)),
        ],
        errors=[
            Fails((3, 4), 0, index(2, 1, high=3), text="[index_select] expected a vector of indices, got shape (2, 1)"),
            Fails((3, 4), 2, index(2, high=3), error=IndexError, text="[index_select] axis 2 is out of range"),
            Fails(
                (3, 4), 1, np.array([0, 4]), error=IndexError, text="index 4 at position 1 is out of range for axis 1"
            ),
            Fails((3, 4), 0, Rand((2,), low=0, high=1), error=TypeError, text="indices must be integers, got float32"),
        ],
        big=[Sample((1000, 100), 0, index(900, high=1000)), Sample((100, 1000), 1, index(900, high=1000))],
        bench={
            "tokens": Sample((50257, 768), 0, index(8192, high=50257)),
            "columns": Sample((1024, 768), 1, index(256, high=768)),
        },
        bytes=lambda x, dim, i: 8 * x.size // x.shape[dim] * i.size,
        **MOVE,
    ),
    OpCase(
        "index_add",
        op=dl.index_add,
        reference=index_add,
        magnitude=index_add_magnitude,
        eps=Eps(forward=1),
        samples=[
            Sample((4, 5, 6), 0, index(3, high=4), (3, 5, 6)),
            Sample((4, 5, 6), 1, index(7, low=-5, high=5), (4, 7, 6), alpha=3),
            Sample((4, 5, 6), -1, index(4, high=2), (4, 5, 4)),
            Sample((9,), 0, index(20, high=9), (20,)),
            Sample((5, 130), 0, index(20, high=5), (20, 130)),
        ],
        edges=[Sample((4, 5), 0, index(0, high=1), (0, 5))],
        errors=[
            Fails((3, 4), 0, index(2, high=3), (2, 3), text="[index_add] expected a source of shape (2, 4)"),
            Fails((3, 4), 0, index(1, 2, high=3), (2, 4), text="[index_add] expected a vector of indices"),
            Fails((3,), 0, np.array([3]), (1,), error=IndexError, text="index 3 at position 0 is out of range"),
            Fails((3,), 0, np.array([1]), Rand((1,), "float64"), error=TypeError, text="a source of dlcore.float64"),
            Fails(Rand((3,), "bool"), 0, np.array([1]), Rand((1,), "bool"), error=TypeError, text="bools cannot be"),
        ],
        twice=True,
        big=[Sample((1000, 100), 0, index(2000, high=1000), (2000, 100))],
        bench={"tokens": Sample((50257, 768), 0, index(8192, high=50257), (8192, 768))},
        bytes=lambda x, dim, i, source: 2 * x.nbytes + 3 * source.nbytes,
    ),
]
