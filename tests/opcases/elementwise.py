"""Arithmetic, comparisons, logic and selection, against NumPy in float64."""

import numpy as np

import dlcore as dl
from tests.opcases import Const, Eps, Fails, OpCase, Rand, Sample, around_simd_widths

# Broadcasts of every kind: rows, columns, outer products, leading axes, inner axes too short for a vector.
PAIRS = [
    ((5, 7), (7,)),
    ((5, 1), (1, 7)),
    ((2, 3, 4), (3, 1)),
    ((33,), ()),
    ((), (33,)),
    ((50, 3), (3,)),
    ((3, 1), (3, 300)),
    ((2, 300), (300,)),
    ((4, 1, 6, 1), (5, 1, 7)),
    ((2, 1, 2, 1, 2, 1, 2, 1), (1, 3, 1, 3, 1, 3, 1, 2)),
]
SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, 1e-40, -3e38, 3e38, np.inf, -np.inf, np.nan])
INTEGERS = np.array([-(2**63), -(2**62), -7, -3, -2, -1, 1, 2, 3, 7, 2**31, 2**63 - 1])
NOT_A_TENSOR = Fails(1.5, 2, error=TypeError, text="expected at least one tensor, got two numbers")
LIST = Fails((2,), Const([1, 2]), error=TypeError, text="expected a tensor or a number, got list")
SHAPES = Fails((3, 4), (3,), text="(3, 4)")


ONE_SHAPE = [(s, s) for s in around_simd_widths()]


def pairs(*ranges, shapes=ONE_SHAPE):
    """Samples of two tensors; `ranges` are (low, high) of the first and of the second, normal numbers by default."""
    (low, high), (low_b, high_b) = ranges or ((None, None), (None, None))
    return [Sample(Rand(a, low=low, high=high), Rand(b, low=low_b, high=high_b)) for a, b in shapes]


def specials():
    return [
        Sample(np.repeat(SPECIAL, len(SPECIAL)), np.tile(SPECIAL, len(SPECIAL))),
        Sample((0,), (0,)),
        Sample((3, 0), (1,)),
        Sample((), ()),
    ]


def integers(low=-9, high=9, low_b=None, high_b=None, dtypes=("int64", "int32", "uint8")):
    samples = []
    for dtype in dtypes:
        least = 0 if dtype == "uint8" else low
        least_b = least if low_b is None else low_b
        for a, b in [((3, 65), (3, 65)), ((50, 3), (3,))]:
            samples.append(
                Sample(Rand(a, dtype, least, high), Rand(b, dtype, least_b, high if high_b is None else high_b))
            )
    return samples


BIG = [Sample((3, 70001), (3, 70001)), Sample((40000, 3), (3,)), Sample((300, 400), (300, 1))]
BENCH = {
    "gpt2_activations": Sample((8192, 768), (8192, 768)),
    "gpt2_bias": Sample((8192, 768), (768,)),
    "rows": Sample((8192, 768), (8192, 1)),
    "three_channels": Sample((1000000, 3), (3,)),
    "in_cache": Sample((4096,), (4096,)),
}


def traffic(a, b):
    return a.nbytes + b.nbytes + 4 * np.broadcast(a, b).size


# One rounding; bfloat16 rounds its float32 result once more.
ROUNDED = Eps(forward=2, backward=16)


def arithmetic(name, op, reference, *ranges, eps=ROUNDED, gradient=True):
    """A case for operands of one shape, and one for broadcast operands."""
    one_shape = OpCase(
        name,
        op=op,
        reference=reference,
        samples=pairs(*ranges),
        edges=specials(),
        errors=[NOT_A_TENSOR, LIST, SHAPES],
        eps=eps,
        gradient=gradient,
        twice=gradient,
        big=BIG[:1],
        bench=BENCH,
        bytes=traffic,
        flops=lambda a, b: np.broadcast(a, b).size,
    )
    broadcast = OpCase(
        f"{name}:broadcast",
        op=op,
        reference=reference,
        samples=pairs(*ranges, shapes=PAIRS),
        edges=[Sample((0, 3), (3,)), Sample((3, 0), (1,)), Sample((), (0,))],
        eps=eps,
        gradient=gradient,
        twice=gradient,
        same_in_any_layout=not gradient,  # gradients are sums over the broadcast axes, whose order follows the memory
        big=BIG[1:],
    )
    return [one_shape, broadcast]


def by_number(name, op, reference, numbers=(2.5, -3), low=None, high=None):
    """A tensor and a Python number, on either side."""
    x = Rand((3, 17), low=low, high=high)
    samples = [Sample(x, n) for n in numbers] + [Sample(n, x) for n in numbers]
    return OpCase(f"{name}:number", op=op, reference=reference, samples=samples, twice=True, eps=ROUNDED)


def of_integers(name, op, reference, samples, **options):
    return OpCase(
        f"{name}:integers", op=op, reference=reference, samples=samples, gradient=False, exact=True, **options
    )


def comparison(name, op, reference):
    ties = Sample(np.tile([1.0, 2.0, -1.0], 11), np.repeat([1.0, 2.0, -1.0], 11))
    mixed = [
        Sample(Rand((3, 17), "uint8", 0, 255), 300),
        Sample(Rand((3, 17), "int32", -5, 5), -0.5),
        Sample(Rand((9,), "int64", -5, 5), Rand((9,), "int32", -5, 5)),
        Sample(Rand((9,), "bool"), Rand((9,), "bool")),
        Sample(2**53 + 1, np.array([2**53, 2**53 + 1, 2**53 + 2])),
        Sample(Rand((5,)), 0.25),
        Sample(0.25, Rand((5,))),
    ]
    return OpCase(
        name,
        op=op,
        reference=reference,
        samples=[*pairs(), *pairs(shapes=PAIRS), ties, *integers(-3, 3), *mixed],
        edges=specials(),
        errors=[NOT_A_TENSOR, LIST, SHAPES],
        gradient=False,
        exact=True,
        big=BIG[:1],
        bench={"gpt2_activations": BENCH["gpt2_activations"]},
    )


def bitwise(name, op, reference):
    bools = [Sample(Rand(a, "bool"), Rand(b, "bool")) for a, b in PAIRS]
    return OpCase(
        name,
        op=op,
        reference=reference,
        samples=[*integers(), *bools, Sample(Rand((17,), "int32"), 6)],
        edges=[Sample(Rand((0,), "bool"), Rand((0,), "bool"))],
        errors=[Fails((3,), (3,), error=TypeError, text=f"[{name}] expected integer or bool tensors, got float32")],
        gradient=False,
        exact=True,
    )


def logical(name, op, reference):
    return OpCase(
        name,
        op=op,
        reference=reference,
        samples=[
            Sample(Rand((3, 17), "bool"), Rand((17,), "bool")),
            Sample(Rand((3, 17), "int64", 0, 2), Rand((3, 17), "uint8", 0, 2)),
            Sample(np.tile([0.0, 2.0, -0.0, 0.5], 5), np.repeat([0.0, 1.0, np.nan, -0.0], 5)),
            Sample(Rand((5,), "bool"), True),
        ],
        gradient=False,
        exact=True,
    )


def select(condition, a, b):
    return np.where(condition, a, b)


def pow_by_number():
    positive = [Sample(Rand((3, 17), low=0.5, high=2), n) for n in (2, -1, 0, 1, 3, 0.5, -0.5, 2.5, -2)]
    return [
        *positive,
        *(Sample((17,), n) for n in (2, 3, 0)),
        Sample(2.5, (3, 17)),
        Sample(0.0, Rand((5,), low=0.5, high=2)),
    ]


ZERO = {"error": ZeroDivisionError, "text": "integer division by zero"}
ROUNDING_DIVISION = [Sample(INTEGERS, np.full_like(INTEGERS, d)) for d in (1, -1, 2, -2, 3, -7, 2**63 - 1)]

CASES = [
    *arithmetic("add", dl.add, np.add),
    *arithmetic("sub", dl.sub, np.subtract),
    *arithmetic("mul", dl.mul, np.multiply),
    *arithmetic("div", dl.div, np.divide, (None, None), (0.5, 2)),
    *arithmetic("maximum", dl.maximum, np.maximum),
    *arithmetic("minimum", dl.minimum, np.minimum),
    *arithmetic("remainder", dl.remainder, np.remainder, (2.1, 2.9), (1, 1.04)),
    *arithmetic("pow", dl.pow, np.power, (0.5, 2), (None, None), eps=Eps(forward=2, backward=32)),
    *arithmetic("floor_divide", dl.floor_divide, np.floor_divide, (-9, 9), (0.5, 2), gradient=False),
    by_number("add", dl.add, np.add),
    by_number("sub", dl.sub, np.subtract),
    by_number("mul", dl.mul, np.multiply),
    by_number("div", dl.div, np.divide, low=0.5, high=2),
    by_number("maximum", dl.maximum, np.maximum, (0.25,)),
    by_number("minimum", dl.minimum, np.minimum, (0.25,)),
    by_number("remainder", dl.remainder, np.remainder, (0.375, -0.375), low=0.4, high=0.7),
    OpCase("pow:number", dl.pow, np.power, pow_by_number(), twice=True, eps=Eps(forward=3, backward=32)),
    OpCase(
        "floor_divide:number",
        op=dl.floor_divide,
        reference=np.floor_divide,
        samples=[
            *pairs((-9, 9), (-2, -0.5)),
            Sample((17,), 0.375),
            Sample(5.0, Rand((17,), low=0.5, high=2)),
        ],
        edges=[Sample(np.array([3e9, -3e9, 1e30]), np.array([0.7, 0.7, 1e-5]))],
        eps=ROUNDED,
        gradient=False,
    ),
    of_integers(
        "add", dl.add, np.add, [*integers(), Sample(INTEGERS, INTEGERS[::-1].copy()), Sample(Rand((7,), "int32"), 3)]
    ),
    of_integers(
        "sub",
        dl.sub,
        np.subtract,
        [*integers(), Sample(INTEGERS, INTEGERS[::-1].copy()), Sample(3, Rand((7,), "int32"))],
    ),
    of_integers("mul", dl.mul, np.multiply, [*integers(), Sample(INTEGERS, INTEGERS[::-1].copy())]),
    of_integers("maximum", dl.maximum, np.maximum, integers()),
    of_integers("minimum", dl.minimum, np.minimum, integers()),
    of_integers(
        "floor_divide",
        dl.floor_divide,
        np.floor_divide,
        [*integers(low_b=1), *integers(low_b=-9, high_b=0, dtypes=("int64", "int32")), *ROUNDING_DIVISION],
        errors=[Fails(Rand((3,), "int64"), np.array([1, 0, 2]), **ZERO), Fails(Rand((3,), "uint8"), 0, **ZERO)],
    ),
    of_integers(
        "remainder",
        dl.remainder,
        np.remainder,
        [*integers(low_b=1), *integers(low_b=-9, high_b=0, dtypes=("int64", "int32")), *ROUNDING_DIVISION],
        errors=[Fails(Rand((3,), "int32"), np.array([1, 0, 2], np.int32), **ZERO)],
    ),
    of_integers(
        "pow",
        dl.pow,
        np.power,
        [*integers(low_b=0, high_b=5), Sample(Rand((9,), "int64", -9, 9), 2), Sample(2, Rand((9,), "int64", 0, 62))],
        errors=[Fails(Rand((3,), "int64"), -1, text="[pow] integers to negative powers are not integers")],
    ),
    OpCase(
        "div:integers",
        op=dl.div,
        reference=np.divide,
        samples=integers(low_b=1),
        edges=[Sample(np.array([1, -1, 0]), np.array([0, 0, 0]))],
        eps=ROUNDED,
        gradient=False,
        output_dtype="float32",
    ),
    OpCase(
        "add:mixed",
        op=dl.add,
        reference=np.add,
        samples=[
            Sample((3, 17), Rand((17,), "int64")),
            Sample(Rand((17,), "uint8"), (3, 17)),
            Sample((5,), Rand((5,), "bool")),
        ],
        eps=ROUNDED,
    ),
    OpCase(
        "add:weak",
        op=dl.add,
        reference=np.add,
        samples=[Sample(Rand((5,), "int64"), 2.5), Sample(2.5, Rand((5,), "uint8")), Sample(Rand((5,), "bool"), 0.5)],
        gradient=False,
        eps=ROUNDED,
        output_dtype="float32",
    ),
    OpCase(
        "add:weak_integers",
        op=dl.add,
        reference=lambda a, b: np.add(a, b, dtype=np.int32),
        samples=[Sample(Rand((5,), "int32"), 3), Sample(True, Rand((5,), "int32"))],
        errors=[
            Fails(Rand((2,), "uint8"), 300, text="[add] the number 300 does not fit into uint8"),
            Fails(Rand((2,), "int64"), 2**63, text="does not fit into int64"),
        ],
        gradient=False,
        exact=True,
    ),
    OpCase(
        "add:weak_bool",
        op=dl.add,
        reference=lambda a, b: np.add(a, b, dtype=np.int64),
        samples=[Sample(Rand((5,), "bool"), 2), Sample(2, Rand((5,), "bool"))],
        gradient=False,
        exact=True,
    ),
    *[
        OpCase(
            f"{name}:bool",
            op=op,
            reference=reference,
            samples=[Sample(Rand((3, 17), "bool"), Rand((17,), "bool"))],
            gradient=False,
            exact=True,
        )
        for name, op, reference in [
            ("add", dl.add, np.logical_or),
            ("mul", dl.mul, np.logical_and),
            ("maximum", dl.maximum, np.logical_or),
            ("minimum", dl.minimum, np.logical_and),
        ]
    ],
    OpCase(
        "sub:bool",
        op=dl.sub,
        reference=np.subtract,
        samples=[Sample(Rand((3,), "bool"), Rand((3,), "int32"))],
        errors=[
            Fails(
                Rand((3,), "bool"),
                Rand((3,), "bool"),
                error=TypeError,
                text="[sub] bool tensors have no such operation",
            )
        ],
        gradient=False,
        exact=True,
    ),
    comparison("eq", dl.eq, np.equal),
    comparison("ne", dl.ne, np.not_equal),
    comparison("lt", dl.lt, np.less),
    comparison("le", dl.le, np.less_equal),
    comparison("gt", dl.gt, np.greater),
    comparison("ge", dl.ge, np.greater_equal),
    bitwise("bitwise_and", dl.bitwise_and, np.bitwise_and),
    bitwise("bitwise_or", dl.bitwise_or, np.bitwise_or),
    bitwise("bitwise_xor", dl.bitwise_xor, np.bitwise_xor),
    logical("logical_and", dl.logical_and, np.logical_and),
    logical("logical_or", dl.logical_or, np.logical_or),
    logical("logical_xor", dl.logical_xor, np.logical_xor),
    OpCase(
        "where",
        op=dl.where,
        reference=select,
        samples=[Sample(Rand(s, "bool"), s, s) for s in around_simd_widths()],
        edges=[
            Sample(Rand((0, 3), "bool"), (3,), ()),
            Sample(np.tile([True, False], 13), np.repeat(SPECIAL, 2), np.repeat(SPECIAL[::-1], 2)),
        ],
        errors=[
            Fails(
                (3,), (3,), (3,), error=TypeError, text="[where] expected a bool condition, got float32 of shape (3,)"
            ),
            Fails(Rand((3,), "bool"), (4,), (4,), text="(3,)"),
            Fails(
                Rand((3,), "bool"),
                Const("x"),
                1,
                error=TypeError,
                text="[where] expected a tensor or a number, got str",
            ),
        ],
        exact=True,
        twice=True,
        big=[
            Sample(Rand((3, 70001), "bool"), (3, 70001), (3, 70001)),
            Sample(Rand((40000, 3), "bool"), (3,), (40000, 1)),
        ],
        bench={"gpt2_activations": Sample(Rand((8192, 768), "bool"), (8192, 768), (8192, 768))},
        bytes=lambda c, a, b: c.nbytes + a.nbytes + b.nbytes + 4 * c.size,
    ),
    OpCase(
        "where:broadcast",
        op=dl.where,
        reference=select,
        samples=[
            Sample(Rand((5, 1), "bool"), (1, 7), (7,)),
            Sample(Rand((50, 3), "bool"), (3,), (50, 1)),
            Sample(Rand((), "bool"), (3, 300), (300,)),
            Sample(Rand((3, 300), "bool"), (3, 1), 0.5),
            Sample(Rand((17,), "bool"), -1, (17,)),
        ],
        exact=True,
        twice=True,
        same_in_any_layout=False,  # see the arithmetic
    ),
    OpCase(
        "where:integers",
        op=dl.where,
        reference=select,
        samples=[
            Sample(Rand((3, 33), "bool"), Rand((33,), d), Rand((3, 1), d)) for d in ("int64", "int32", "uint8", "bool")
        ]
        + [Sample(Rand((33,), "bool"), 1, 0), Sample(Rand((33,), "bool"), True, False)],
        gradient=False,
        exact=True,
    ),
]
