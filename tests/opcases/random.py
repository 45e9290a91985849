"""Random numbers against Philox written a second time, in NumPy: the very numbers, not only their distribution.

The walkers seed the default generator with 0 before each call, so every call here takes stream 0 of seed 0.
"""

import math

import numpy as np

import dlcore as dl
from tests.opcases import Const, Eps, Fails, OpCase, Rand, Sample, around_simd_widths

SHAPES = [(), (0,), (1,), (15,), (16,), (17,), (31,), (33,), (63,), (64,), (65,), (130,), (3, 0), (2, 3, 5), (7, 129)]
BIG = [Sample(Const((3, 70001)))]
NONE = {"gradient": False, "dtypes": ("float32",)}
MASK = np.uint64(0xFFFFFFFF)
SHIFT = np.uint64(32)


def philox(index, seed=0, stream=0):
    """The four words of each block: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011."""
    index = np.asarray(index, np.uint64)
    c = [index & MASK, index >> SHIFT]
    c += [np.full_like(index, stream & 0xFFFFFFFF), np.full_like(index, stream >> 32)]
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(10):
        p0, p1 = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [(p1 >> SHIFT) ^ c[1] ^ np.uint64(k0), p1 & MASK, (p0 >> SHIFT) ^ c[3] ^ np.uint64(k1), p0 & MASK]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack(c)


def words(n, **key):
    """Element i: word (i % 64) // 16 of block i // 64 * 16 + i % 16."""
    i = np.arange(n)
    return philox(i // 64 * 16 + i % 16, **key)[i % 64 // 16, i]


def pairs(n, **key):
    """64-bit draws: two words each, 32 draws to 16 blocks."""
    i = np.arange(n)
    blocks, k = philox(i // 32 * 16 + i % 16, **key), i % 32 // 16 * 2
    return blocks[k, i] << SHIFT | blocks[k + 1, i]


def to_bfloat16(x):
    bits = np.asarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32).astype(np.float64)


def uniform(shape, dtype="float32", **key):
    n = math.prod(shape)
    if dtype == "float64":
        u = (pairs(n, **key) >> np.uint64(11)) * 2.0**-53
    else:
        u = (words(n, **key) >> np.uint64(8)) * 2.0**-24
        if dtype == "bfloat16":
            u = np.minimum(to_bfloat16(u), 1 - 2.0**-8)
    return u.reshape(shape)


def open_unit(n, dtype="float32"):
    if dtype == "float64":
        return ((pairs(n) >> np.uint64(11)) + 0.5) * 2.0**-53
    return ((words(n) + 0.5) * 2.0**-32).astype(np.float32).astype(np.float64)


def radius_and_turns(shape, dtype="float32"):
    n = math.prod(shape)
    i = np.arange(n)
    first = i - i % 32 // 16 * 16
    u = open_unit(n + 64, dtype)[first]
    turns = pairs(n + 64) * 2.0**-64 if dtype == "float64" else words(n + 64) * 2.0**-32
    second = i % 32 >= 16
    return (np.sqrt(-2 * np.log(u)), turns[first + 16], second)


def standard_normal(shape, dtype="float32"):
    r, turns, second = radius_and_turns(shape, dtype)
    return (r * np.where(second, np.sin(2 * np.pi * turns), np.cos(2 * np.pi * turns))).reshape(shape)


def radius(shape, dtype="float32"):
    """Box-Muller's rounding error is measured by the radius, also where the sine or cosine is small."""
    return radius_and_turns(shape, dtype)[0].reshape(shape)


def integers(low, high, size, dtype="int64"):
    draws = [low + (int(w) * (high - low) >> 64) for w in pairs(math.prod(size))]
    return np.array(draws).astype(dtype).reshape(size)


def permutation(n, dtype="int64"):
    y, draws = np.arange(n), pairs(n)
    for i in range(n - 1):
        j = i + (int(draws[i]) * (n - i) >> 64)
        y[i], y[j] = y[j], y[i]
    return y.astype(dtype)


def bernoulli(p, dtype="float32"):
    given = np.asarray(p, np.float64 if dtype == "float64" else np.float32)
    given = to_bfloat16(given) if dtype == "bfloat16" else given.astype(np.float64)
    return (open_unit(given.size, dtype).reshape(given.shape) <= given).astype(np.float64)


def multinomial(p, num_samples, replacement=False):
    rows = np.atleast_2d(p)
    out = np.empty((len(rows), num_samples), np.int64)
    for r, row in enumerate(rows):
        if replacement or num_samples == 1:
            total = np.cumsum(row)
            draws = pairs(len(rows) * num_samples)[r * num_samples : (r + 1) * num_samples] >> np.uint64(11)
            out[r] = np.searchsorted(total, draws * 2.0**-53 * total[-1], side="right")
        else:
            u = open_unit(rows.size, "float64")[r * row.size : (r + 1) * row.size]
            with np.errstate(divide="ignore"):
                out[r] = np.argsort(-np.log(u) / row, kind="stable")[:num_samples]
    return out if p.ndim == 2 else out[0]


def dropout(x, p=0.5, training=True):
    if not training:
        return x
    keep = words(x.size).reshape(x.shape) >= np.uint64(round(p * 2**32))
    return np.where(keep, x, 0) / (1 - p) if p < 1 else np.zeros_like(x)


def of_dtype(first, dtype="float32"):
    return dtype


BAD_SHAPES = [
    Fails(Const((2, -3)), text="sizes must not be negative, got shape (2, -3)"),
    Fails(Const((2, 3)), dtype="int64", error=TypeError, text="expected a floating dtype, got dlcore.int64"),
    Fails(Const((2, 3)), device="cuda", text="device 'cuda' is not available"),
    Fails(Const((2, 3)), generator=3, error=TypeError, text="expected a dlcore.Generator, got int"),
]
FLOAT_SAMPLES = [Sample(Const(s), dtype=d) for s in SHAPES for d in ("float32", "bfloat16", "float64")]
BIG_FLOATS = BIG + [Sample(Const((3, 70001)), dtype="float64")]
WEIGHTS = Rand((5, 11), low=0.0, high=1.0)
FLOAT_ONLY = "expected a floating dtype, got int64 of shape (3, 4)"

CASES = [
    OpCase(
        "rand",
        op=dl.rand,
        reference=uniform,
        samples=FLOAT_SAMPLES,
        errors=BAD_SHAPES,
        big=BIG_FLOATS,
        exact=True,
        output_dtype=of_dtype,
        bench={"4M": Sample(Const((2**22,)))},
        numpy=lambda s: np.random.default_rng(0).random(s, dtype=np.float32),
        bytes=lambda s: 4 * math.prod(s),
        **NONE,
    ),
    OpCase(
        "randn",
        op=dl.randn,
        reference=standard_normal,
        magnitude=radius,
        samples=FLOAT_SAMPLES,
        errors=BAD_SHAPES,
        big=BIG_FLOATS,
        eps=Eps(forward=8),
        output_dtype=of_dtype,
        bench={"4M": Sample(Const((2**22,)))},
        numpy=lambda s: np.random.default_rng(0).standard_normal(s, dtype=np.float32),
        bytes=lambda s: 4 * math.prod(s),
        **NONE,
    ),
    OpCase(
        "normal",
        op=dl.normal,
        reference=lambda mean, std, size, dtype="float32": mean + std * standard_normal(size, dtype),
        magnitude=lambda mean, std, size, dtype="float32": abs(mean) + std * radius(size, dtype),
        samples=[Sample(2.5, 0.25, Const(s), dtype=d) for s in SHAPES for d in ("float32", "bfloat16", "float64")],
        edges=[Sample(1.0, 0.0, Const((5,)))],
        errors=[
            Fails(0.0, -1.0, Const((2,)), text="[normal_] expected std >= 0, got -1"),
            Fails(0.0, math.nan, Const((2,)), text="[normal_] expected std >= 0, got nan"),
        ],
        eps=Eps(forward=10),
        output_dtype=lambda mean, std, size, dtype="float32": dtype,
        **NONE,
    ),
    OpCase(
        "rand_like",
        op=dl.rand_like,
        reference=lambda x, dtype="float32": uniform(x.shape, dtype),
        samples=[Sample((3, 5), dtype=d) for d in ("float32", "float64", "bfloat16")],
        exact=True,
        output_dtype=lambda x, dtype="float32": dtype,
        **NONE,
    ),
    OpCase(
        "randn_like",
        op=dl.randn_like,
        reference=lambda x, dtype="float32": standard_normal(x.shape, dtype),
        magnitude=lambda x, dtype="float32": radius(x.shape, dtype),
        samples=[Sample((3, 5), dtype=d) for d in ("float32", "float64", "bfloat16")],
        eps=Eps(forward=8),
        output_dtype=lambda x, dtype="float32": dtype,
        **NONE,
    ),
    OpCase(
        "randint",
        op=dl.randint,
        reference=integers,
        samples=[Sample(-5, 10, Const(s)) for s in SHAPES]
        + [Sample(0, 2**40, Const((40,))), Sample(-(2**63), 2**63 - 1, Const((40,)))]
        + [Sample(0, 200, Const((40,)), dtype=d) for d in ("uint8", "int32", "float32")],
        errors=[
            Fails(5, 5, Const((2,)), text="[randint] expected low < high, got low=5 and high=5"),
            Fails(0, 257, Const((2,)), dtype="uint8", text="[randint] uint8 does not hold every integer in [0, 257)"),
            Fails(0, 2**63, Const((2,)), text="does not hold every integer"),
            Fails(0, 5, text="[randint] expected a size, such as randint(0, 10, (3,))"),
            Fails(0.5, 5, Const((2,)), error=TypeError, text="[randint] expected an integer low, got float"),
        ],
        big=[Sample(0, 100, Const((3, 70001)))],
        exact=True,
        bench={"4M": Sample(0, 1000, Const((2**22,)))},
        numpy=lambda low, high, s: np.random.default_rng(0).integers(low, high, s),
        bytes=lambda low, high, s: 8 * math.prod(s),
        **NONE,
    ),
    OpCase(
        "randperm",
        op=dl.randperm,
        reference=permutation,
        samples=[Sample(n) for n in (0, 1, 2, 31, 32, 33, 65, 1000)] + [Sample(9, dtype="int32")],
        errors=[
            Fails(-1, text="[randperm] expected n >= 0, got -1"),
            Fails(2.0, error=TypeError, text="[randperm] expected an integer n, got float"),
        ],
        exact=True,
        bench={"1M": Sample(10**6)},
        numpy=lambda n: np.random.default_rng(0).permutation(n),
        **NONE,
    ),
    OpCase(
        "bernoulli",
        op=lambda p, dtype="float32": dl.bernoulli(dl.tensor(p, dtype=dtype)),
        reference=bernoulli,
        samples=[
            Sample(Const(np.random.default_rng(1).random(s)), dtype=d)
            for s in SHAPES
            for d in ("float32", "bfloat16", "float64")
        ],
        edges=[Sample(Const(np.array([0.0, 1.0] * 40))), Sample(Const(np.full(3000, 1e-9)))],
        errors=[
            Fails(Const([0.5, 1.25]), text="[bernoulli] expected probabilities in [0, 1], got 1.25 at flat index 1"),
            Fails(Const([math.nan]), text="[bernoulli] expected probabilities in [0, 1], got nan at flat index 0"),
            Fails(Const([1]), dtype="int64", error=TypeError, text="[bernoulli] expected a floating dtype, got int64"),
        ],
        exact=True,
        output_dtype=of_dtype,
        **NONE,
    ),
    OpCase(
        "multinomial",
        op=dl.multinomial,
        reference=multinomial,
        samples=[
            Sample(Rand((n,), low=0.0, high=1.0, grad=False), k, replacement=r)
            for n, k, r in ((1, 1, False), (9, 3, False), (9, 9, False), (9, 40, True), (70, 1, False), (70, 70, False))
        ]
        + [Sample(WEIGHTS, 4), Sample(WEIGHTS, 4, replacement=True), Sample(Rand((0, 4), low=0.0, high=1.0), 2)],
        edges=[
            Sample(np.array([0.0, 2.0, 0.0, 0.0], np.float32), 5, replacement=True),
            Sample(np.array([0.0, 2.0, 0.0, 1e-30], np.float32), 2),
        ],
        errors=[
            Fails(
                np.array([1.0, -1.0]), 1, text="[multinomial] expected finite weights >= 0, got -1 in row 0, column 1"
            ),
            Fails(np.array([1.0, np.inf]), 1, text="[multinomial] expected finite weights >= 0, got inf in row 0"),
            Fails(np.zeros(3), 1, text="[multinomial] row 0 has 0 positive weights, too few for 1 sample"),
            Fails(
                np.array([[1.0, 1.0], [1.0, 0.0]]),
                2,
                text="[multinomial] row 1 has 1 positive weights, too few for 2 samples without replacement",
            ),
            Fails(np.ones(3), 4, text="cannot draw 4 of 3 categories without replacement; pass replacement=True"),
            Fails(np.ones(3), 0, text="[multinomial] expected num_samples > 0, got 0"),
            Fails((2, 3, 4), 1, text="[multinomial] expected weights (n,) or (rows, n), got shape (2, 3, 4)"),
            Fails((2, 0), 1, text="[multinomial] expected at least one category, got shape (2, 0)"),
            Fails(Rand((3, 4), "int64"), 1, error=TypeError, text=FLOAT_ONLY),
        ],
        gradient=False,
        exact=True,
        bench={"gpt2_vocabulary": Sample(Rand((50257,), low=0.0, high=1.0), 1)},
        numpy=lambda p, n: np.searchsorted(np.cumsum(p), np.random.default_rng(0).random(n) * p.sum(), side="right"),
    ),
    OpCase(
        "dropout",
        op=dl.dropout,
        reference=dropout,
        samples=[Sample(s, 0.3) for s in around_simd_widths()]
        + [Sample(s, 0.5) for s in ((), (0,), (2, 3, 4, 5))]
        + [Sample((9, 9), p) for p in (0.0, 1e-9, 0.999, 1.0)]
        + [Sample((9, 9), 0.4, training=False)],
        edges=[Sample(np.array([np.inf, -np.inf, np.nan] * 30, np.float32), 0.5)],
        errors=[
            Fails((3, 4), -0.1, text="[dropout] expected a probability p in [0, 1], got -0.1"),
            Fails((3, 4), 1.5, text="[dropout] expected a probability p in [0, 1], got 1.5"),
            Fails((3, 4), math.nan, text="[dropout] expected a probability p in [0, 1], got nan"),
            Fails(Rand((3, 4), "int64"), 0.5, error=TypeError, text="[dropout] " + FLOAT_ONLY),
        ],
        big=[Sample((3, 70001), 0.3)],
        twice=True,
        bench={"gpt2_residual": Sample((4, 1024, 768), 0.1)},
        numpy=lambda x, p: (
            x * (np.random.default_rng(0).random(x.shape, dtype=np.float32) >= p) * np.float32(1 / (1 - p))
        ),
        bytes=lambda x, p: 8 * x.size,
    ),
]

ELSEWHERE = dict.fromkeys(
    ("Generator", "default_generator", "get_rng_state", "initial_seed", "manual_seed", "seed", "set_rng_state"),
    "tests/ops/test_random.py",
)
