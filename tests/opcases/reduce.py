"""Reductions and running sums, against NumPy in float64."""

import numpy as np

import dlcore as dl
from tests.opcases import Eps, Fails, OpCase, Rand, Sample, around_simd_widths

ELSEWHERE = {"ValuesIndices": "tests/ops/test_reduce.py"}

ROWS = [(s, {"dim": -1}) for s in around_simd_widths()]
COLUMNS = [((n, m), {"dim": 0}) for n, m in [(1, 5), (9, 33), (17, 1), (40, 3), (8, 70), (3, 130)]]
# One axis or several, at either end, in the middle, or on both sides of one that stays.
AXES = [
    ((2, 3, 4, 5), {"dim": dim, "keepdim": keepdim})
    for dim, keepdim in [
        (1, False),
        ((0, 1), True),
        ((1, 2), False),
        ((0, 2), True),
        ((-1, 1), False),
        ((3, 0, 1), True),
    ]
]
ONE_AXIS = [*ROWS, *COLUMNS, ((2, 3, 4), {"dim": 1}), ((2, 3, 4), {"dim": 1, "keepdim": True}), ((2, 1, 3), {"dim": 1})]
WHOLE = [((3, 33), {}), ((300,), {}), ((2, 3, 4), {"dim": None, "keepdim": True}), ((1,), {})]
ALL = [*ROWS, *COLUMNS, *AXES, *WHOLE]
# Several chunks of a run, of columns, and of narrow rows; several strips of columns.
BIG = [
    ((200001,), {}),
    ((3, 70001), {"dim": 1}),
    ((300, 1100), {"dim": 0}),
    ((30000, 3), {"dim": 0}),
    ((9, 40, 50), {"dim": 1}),
]
BENCH = {
    "gpt2_logits": ((1024, 50257), {"dim": 1}),
    "gpt2_rows": ((8192, 768), {"dim": 1}),
    "gpt2_bias_gradient": ((8192, 768), {"dim": 0}),
    "image_channels": ((32, 64, 56, 56), {"dim": (0, 2, 3)}),
    "square_rows": ((4096, 1024), {"dim": 1}),
    "square_columns": ((4096, 1024), {"dim": 0}),
    "whole_16m": ((16777216,), {}),
    "three_columns": ((1000000, 3), {"dim": 0}),
}
SPECIAL = np.array([[np.inf, 1.0, -np.inf, np.nan], [1e-40, -0.0, 3e38, 2.0], [0.0, -2.0, -3e38, 5.0]])
EDGES = [
    Sample(SPECIAL),
    Sample(SPECIAL, dim=0),
    Sample(SPECIAL, dim=1),
    Sample(SPECIAL[1:]),
    Sample(()),
    Sample((), dim=-1),
]
EMPTY = [
    Sample((0,)),
    Sample((0, 3), dim=0),
    Sample((3, 0), dim=1),
    Sample((3, 0), dim=0),
    Sample((2, 0, 3), dim=(1, 2)),
]


def samples(shapes, low=None, high=None, dtype="float32"):
    return [Sample(Rand(s, dtype, low, high), **options) for s, options in shapes]


def bench(*left_out, low=None, high=None):
    return {k: Sample(Rand(s, low=low, high=high), **o) for k, (s, o) in BENCH.items() if k not in left_out}


def errors(op, one_axis=False):
    fails = [
        Fails((3, 4), dim=2, error=IndexError, text=f"[{op}] axis 2 is out of range for shape (3, 4)"),
        Fails((3, 4), dim=-3, error=IndexError, text=f"[{op}] axis -3 is out of range for shape (3, 4)"),
        Fails((), dim=1, error=IndexError, text=f"[{op}] axis 1 is out of range for shape ()"),
        Fails(1.5, dim=0, error=TypeError, text="expected a dlcore Tensor, got float"),
    ]
    twice = Fails((3, 4), dim=(0, -2), text=f"[{op}] axis -2 appears more than once in (0, -2) for shape (3, 4)")
    return fails if one_axis else [*fails, twice]


def nothing(op, dim="dim"):
    return [
        Fails((0,), text=f"[{op}] expected at least one element to choose from, got shape (0,)"),
        Fails((3, 0), **{dim: 1}, text=f"[{op}] expected at least one element to choose from, got shape (3, 0)"),
    ]


def floating_only(op, **options):
    return Fails(Rand((3,), "int64"), error=TypeError, text=f"[{op}] expected a floating dtype, got int64", **options)


def of_numpy(function, **fixed):
    """A NumPy reduction under PyTorch's argument names, which allow an axis of a single number, too."""

    def reference(x, dim=None, keepdim=False):
        return function(x, axis=dim if x.ndim else None, keepdims=keepdim, **fixed)

    return reference


def magnitude_of(function):
    of_magnitudes = of_numpy(function)
    return lambda x, dim=None, keepdim=False: of_magnitudes(np.abs(x), dim, keepdim)


def integers(name, op, reference, low=-9, high=9):
    cases = [
        s
        for dtype in ("int64", "int32", "uint8")
        for s in samples([ROWS[8], COLUMNS[1], *AXES[:3], WHOLE[0]], 0 if dtype == "uint8" else low, high, dtype)
    ]
    cases += samples([ROWS[8], COLUMNS[1], WHOLE[0]], dtype="bool")
    big = samples(BIG[:4], 0, 100, "uint8") + samples(BIG[:4], dtype="bool")
    return OpCase(f"{name}:integers", op=op, reference=reference, samples=cases, big=big, exact=True, gradient=False)


def read(x, **_):
    return x.nbytes


def size(x, **_):
    return x.size


COST = {"bytes": read, "flops": size}
# A sum of n terms through our trees has at most 16 + log2(n) roundings on any path; layouts in another order of memory
# take another tree.
SUMS = {"eps": Eps(forward=24, backward=16), "same_in_any_layout": False, "twice": True, **COST}


def logsumexp(x, dim=None, keepdim=False):
    most = np.max(x, axis=dim, keepdims=True, initial=-np.inf)
    most = np.where(np.isinf(most), 0, most)
    total = np.log(np.sum(np.exp(x - most), axis=dim, keepdims=True)) + most
    return total if keepdim else np.squeeze(total, axis=tuple(range(x.ndim)) if dim is None else dim)


def lse_magnitude(x, dim=None, keepdim=False):
    """The sum's relative error is absolute in its logarithm, and so is that of x - max in the exponential."""
    reach = np.max(np.abs(x), axis=dim, keepdims=keepdim, initial=0)
    return 1 + np.where(np.isfinite(reach), reach, 0)


def extreme_along(function, place):
    def reference(x, dim=None, keepdim=False):
        index = place(x, axis=dim, keepdims=keepdim)
        return function(x, axis=dim, keepdims=keepdim), index.astype(np.int64)

    return reference


def arg_reference(place):
    return lambda x, dim=None, keepdim=False: np.asarray(place(x, axis=dim, keepdims=keepdim), np.int64)


def arg(name, op, place):
    ties = np.array([[2.0, 5, 5, 1, -1, -1], [0, 0, 0, 0, 0, 0], [3, np.nan, 7, np.nan, -7, -7]])
    return OpCase(
        name,
        op=op,
        reference=arg_reference(place),
        samples=samples([*ONE_AXIS, *WHOLE])
        + [Sample(Rand((30, 40), "int64", 0, 9), dim=1), Sample(Rand((30, 40), "uint8"), dim=0)],
        edges=[Sample(ties, dim=1), Sample(ties, dim=0), Sample(ties[:2]), Sample(ties), Sample(())],
        errors=[*errors(name, one_axis=True), *nothing(name)],
        gradient=False,
        exact=True,
        big=samples(BIG),
        bench=bench("image_channels"),
        **COST,
    )


def extreme(name, op, function):
    return OpCase(
        name,
        op=op,
        reference=of_numpy(function),
        samples=samples(ALL),
        edges=[*EDGES, Sample(np.array([[1.0, 3, 3, 3], [2, 2, 1, 2]]), dim=1)],
        errors=[*errors(name), *nothing(name)],
        exact=True,
        twice=True,
        big=samples(BIG),
        bench=bench(),
        **COST,
    )


def extreme_and_place(name, op, function, place):
    return OpCase(
        name,
        op=op,
        reference=extreme_along(function, place),
        samples=samples(ONE_AXIS) + [Sample(Rand((3, 40), "int32", 0, 9), dim=1)],
        edges=[Sample(SPECIAL, dim=0), Sample(SPECIAL, dim=1)],
        errors=[*errors(name, one_axis=True), nothing(name)[1]],
        exact=True,
        twice=True,
        big=samples(BIG[1:]),
        bench={"gpt2_logits": bench()["gpt2_logits"], "square_columns": bench()["square_columns"]},
        **COST,
    )


def truth(name, op, function):
    return OpCase(
        name,
        op=op,
        reference=of_numpy(function),
        samples=[
            *samples([ROWS[8], COLUMNS[1], *AXES, *WHOLE], dtype="bool"),
            *samples([ROWS[8], COLUMNS[1]], 0, 2, "int64"),
            Sample(np.array([[0.0, -0.0, np.nan], [1, 2, 3], [0, 0, 0]]), dim=1),
        ],
        edges=[*EDGES, *EMPTY],
        errors=errors(name),
        gradient=False,
        exact=True,
        output_dtype="bool",
        big=samples(BIG, dtype="bool"),
        bench={k: Sample(Rand(s, "bool"), **o) for k, (s, o) in BENCH.items() if k in ("whole_16m", "square_columns")},
        **COST,
    )


# A central difference across zero or a tie would be wrong: keep away from both.
AWAY = {"low": 0.5, "high": 2}
MOMENTS = [(s, o) for s, o in ALL if np.ones(s).mean(o.get("dim")).size < np.prod(s) / 1.5]
NORMS = {"eps": Eps(forward=24, backward=32), "same_in_any_layout": False, "twice": True}


def norm_reference(x, p=2, dim=None, keepdim=False):
    a = np.abs(x)
    if p in ("fro", 2):
        return np.sqrt(np.sum(a * a, axis=dim, keepdims=keepdim))
    if np.isinf(p):
        return (np.max if p > 0 else np.min)(a, axis=dim, keepdims=keepdim)
    if p == 0:
        return np.sum(a != 0, axis=dim, keepdims=keepdim).astype(np.float64)
    return np.sum(a**p, axis=dim, keepdims=keepdim) ** (1 / p)


def norm_of(p):
    return OpCase(
        f"norm:{p}",
        op=lambda x, p=2, dim=None, keepdim=False: dl.norm(x, p, dim, keepdim),
        reference=norm_reference,
        samples=[Sample(Rand(s, **AWAY), p, **o) for s, o in [ROWS[8], ROWS[12], COLUMNS[1], *AXES, *WHOLE[:3]]],
        edges=[Sample(SPECIAL, p, dim=0), Sample(np.zeros((2, 3)), p, dim=1)],
        errors=[floating_only("norm", p=p)],
        big=[Sample(Rand(s, **AWAY), p, **o) for s, o in BIG],
        bench={k: Sample(Rand(s), p, **o) for k, (s, o) in BENCH.items() if k in ("whole_16m", "square_rows")},
        bytes=lambda x, p, **_: x.nbytes,
        flops=lambda x, p, **_: 2 * x.size,
        **NORMS,
    )


CASES = [
    OpCase(
        "sum",
        op=dl.sum,
        reference=of_numpy(np.sum),
        magnitude=magnitude_of(np.sum),
        samples=samples(ALL),
        edges=[*EDGES, *EMPTY],
        errors=errors("sum"),
        big=samples(BIG),
        bench=bench(),
        **SUMS,
    ),
    integers("sum", dl.sum, of_numpy(np.sum, dtype=np.int64)),
    OpCase(
        "sum:dtype",
        op=dl.sum,
        reference=lambda x, dtype: np.sum(x, dtype=dtype),
        samples=[Sample(Rand((70,), "int64", -9, 9), dtype="float64"), Sample(Rand((70,), "bool"), dtype="float32")],
        gradient=False,
        exact=True,
        output_dtype=lambda x, dtype: dtype,
    ),
    OpCase(
        "mean",
        op=dl.mean,
        reference=of_numpy(np.mean),
        magnitude=magnitude_of(np.mean),
        samples=samples(ALL),
        edges=[*EDGES, *EMPTY],
        errors=[*errors("mean"), floating_only("mean")],
        big=samples(BIG),
        bench=bench(),
        **SUMS,
    ),
    OpCase(
        "prod",
        op=dl.prod,
        reference=of_numpy(np.prod),
        samples=samples([(s, o) for s, o in ONE_AXIS if np.prod(s) < 250] + WHOLE[3:], **AWAY)
        + [Sample(np.array([[1.5, 0, 2, 3], [0, 2, 0, 3], [1, 2, 3, 4]]), dim=dim) for dim in (0, 1)],
        edges=[
            *(Sample(x, dim=1) for x in (SPECIAL[:1], np.array([[1e20, 2e20], [-np.inf, 2], [0, 5]]))),
            *EDGES[-2:],
            *(s for s in EMPTY if not isinstance(s.kwargs.get("dim"), tuple)),
        ],
        errors=[errors("prod")[i] for i in (0, 1, 3)],
        eps=Eps(
            forward=65, backward=260
        ),  # a rounding for each factor; the gradient of zeros takes two prefix products
        same_in_any_layout=False,
        twice=True,
        big=samples(BIG, 0.999, 1.001),
        bench=bench("image_channels", low=0.999, high=1.001),
        **COST,
    ),
    integers("prod", dl.prod, of_numpy(np.prod, dtype=np.int64), -1, 2),
    OpCase(
        "var",
        op=dl.var,
        reference=lambda x, dim=None, correction=1, keepdim=False: np.var(
            x, axis=dim, ddof=correction, keepdims=keepdim
        ),
        samples=samples(MOMENTS) + [Sample((5, 33), dim=1, correction=c) for c in (0, 2)],
        edges=[
            Sample(1e4 + np.random.default_rng(1).standard_normal((3, 100)), dim=1),
            Sample(1e8 + 100 * np.random.default_rng(2).standard_normal((3, 1000)), dim=1),
            Sample(np.full((3, 50), 7.25), dim=1),
            Sample(SPECIAL[:2], dim=1),
            Sample((3, 1), dim=1),
            *EMPTY,
        ],
        errors=[*errors("var"), floating_only("var")],
        eps=Eps(forward=24, backward=32),
        twice=True,
        big=samples(BIG),
        bench=bench(),
        **COST,
    ),
    OpCase(
        "std",
        op=dl.std,
        reference=lambda x, dim=None, correction=1, keepdim=False: np.std(
            x, axis=dim, ddof=correction, keepdims=keepdim
        ),
        samples=samples(MOMENTS[::3]) + [Sample((5, 33), dim=1, correction=0)],
        edges=[Sample((3, 1), dim=1)],
        errors=[floating_only("var")],
        eps=Eps(forward=24, backward=32),
        twice=True,
        big=samples(BIG[:2]),
        **COST,
    ),
    extreme("amax", dl.amax, np.max),
    extreme("amin", dl.amin, np.min),
    extreme_and_place("max", dl.max, np.max, np.argmax),
    extreme_and_place("min", dl.min, np.min, np.argmin),
    OpCase("max:whole", dl.max, np.max, samples(WHOLE[:2]), edges=EDGES[:1], errors=[nothing("amax")[0]], exact=True),
    OpCase("min:whole", dl.min, np.min, samples(WHOLE[:2]), edges=EDGES[:1], errors=[nothing("amin")[0]], exact=True),
    OpCase(
        "amax:integers",
        op=dl.amax,
        reference=of_numpy(np.max),
        samples=[s for d in ("int64", "int32", "uint8", "bool") for s in samples([*ROWS[7:9], *AXES], 0, 99, d)],
        gradient=False,
        exact=True,
        big=samples(BIG, 0, 99, "uint8"),
    ),
    OpCase(
        "amin:integers",
        op=dl.amin,
        reference=of_numpy(np.min),
        samples=[s for d in ("int64", "int32", "uint8", "bool") for s in samples([*ROWS[7:9], *AXES], 0, 99, d)],
        gradient=False,
        exact=True,
    ),
    arg("argmax", dl.argmax, np.argmax),
    arg("argmin", dl.argmin, np.argmin),
    OpCase(
        "logsumexp",
        op=dl.logsumexp,
        reference=logsumexp,
        magnitude=lse_magnitude,
        samples=samples([*ROWS, *COLUMNS, *AXES]),
        edges=[
            *(
                Sample(x, dim=1)
                for x in (SPECIAL, np.full((3, 20), -np.inf), np.random.default_rng(3).normal(0, 1e4, (3, 40)))
            ),
            *EMPTY[1:],
        ],
        errors=[*errors("logsumexp"), floating_only("logsumexp", dim=0)],
        eps=Eps(forward=16, backward=32),
        twice=True,
        big=samples(BIG[1:]),
        bench=bench("whole_16m"),
        bytes=read,
        flops=lambda x, **_: 10 * x.size,
    ),
    OpCase(
        "cumsum",
        op=dl.cumsum,
        reference=lambda x, dim: np.cumsum(x, axis=dim),
        magnitude=lambda x, dim: np.cumsum(np.abs(x), axis=dim),
        samples=samples([*ROWS, *COLUMNS, ((2, 3, 4), {"dim": 1})]),
        edges=[Sample(SPECIAL, dim=0), Sample(SPECIAL, dim=1), Sample((0, 3), dim=0), Sample((3, 0), dim=0)],
        errors=[errors("cumsum")[i] for i in (0, 1, 3)],
        eps=Eps(forward=4, backward=4),
        twice=True,
        big=samples([((200001,), {"dim": 0}), *BIG[1:]]),
        bench=bench("whole_16m", "image_channels"),
        bytes=lambda x, **_: 2 * x.nbytes,
        flops=size,
    ),
    OpCase(
        "cumsum:integers",
        op=dl.cumsum,
        reference=lambda x, dim: np.cumsum(x, axis=dim, dtype=np.int64),
        samples=[s for d in ("int64", "int32", "uint8", "bool") for s in samples([ROWS[8], COLUMNS[1]], 0, 99, d)],
        gradient=False,
        exact=True,
    ),
    truth("any", dl.any, np.any),
    truth("all", dl.all, np.all),
    *(norm_of(p) for p in (1, 2, 3.5, float("inf"), -float("inf"))),
    OpCase(
        "norm",
        op=dl.norm,
        reference=norm_reference,
        samples=[
            Sample(Rand((5, 33), **AWAY), **o) for o in ({}, {"p": "fro"}, {"dim": 0}, {"dim": 1, "keepdim": True})
        ],
        edges=[Sample((0,)), Sample((3, 0), dim=1)],
        errors=[
            Fails((3,), p="nuc", text="[norm] expected p to be a number or 'fro', got 'nuc'"),
            Fails((3, 4), dim=2, error=IndexError, text="[norm] axis 2 is out of range for shape (3, 4)"),
        ],
        **NORMS,
    ),
    OpCase(
        "norm:0",
        op=dl.norm,
        reference=norm_reference,
        samples=[Sample(np.array([[0.0, 1, -2, 0], [0, 0, 0, 0]]), p=0, dim=1)],
        gradient=False,
        exact=True,
    ),
]
