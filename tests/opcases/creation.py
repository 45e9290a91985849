"""New tensors: exact copies of what NumPy makes."""

import numpy as np

import dlcore as dl
from tests.opcases import Const, Fails, OpCase, Rand, Sample

NONE = {"gradient": False, "exact": True, "dtypes": ("float32",)}
INTEGER = "only floating dtypes can require a gradient, got dlcore.int64"
DTYPES = ("float32", "int64", "bool", "uint8", "float64", "int32")
SHAPES = [(), (0,), (1,), (7,), (3, 0, 2), (2, 3, 5), (1, 1, 1, 1, 1, 1, 1, 2)]
NEGATIVE = "sizes must not be negative, got shape (2, -3)"


def shaped(name, make, **options):
    """A case for f(shape, dtype=…)."""
    return OpCase(
        name,
        op=make,
        samples=[Sample(Const(s), dtype=d) for s in SHAPES for d in DTYPES],
        errors=[
            Fails(Const((2, -3)), text=NEGATIVE),
            Fails(Const((2**40, 2**40)), error=MemoryError, text="is beyond the address space"),
            Fails(Const((1,) * 9), text="[shape] at most 8 dimensions are supported"),
            Fails(Const((2.5,)), error=TypeError, text="expected shape made of integers, got float"),
            Fails(Const((2, 3)), dtype="float16", error=TypeError, text="expected a dtype"),
            Fails(Const((2, 3)), device="cuda", text="device 'cuda' is not available"),
        ],
        **{**NONE, **options},
    )


def like(name, make, reference):
    return OpCase(
        name,
        op=make,
        reference=reference,
        samples=[Sample(Rand(s, dtype=d)) for s in SHAPES for d in ("float32", "int64", "uint8")]
        + [Sample((2, 3), dtype="int32"), Sample((2, 3), dtype="bool")],
        **{**NONE, "output_dtype": lambda x, dtype=None: dtype or x.dtype.name},
    )


def of_same_kind(value):
    return lambda x, dtype=None: np.full(x.shape, value, dtype or x.dtype)


CASES = [
    shaped("zeros", dl.zeros, reference=np.zeros),
    shaped("ones", dl.ones, reference=np.ones),
    # What an empty tensor holds is nobody's promise: its shape and dtype are.
    shaped("empty", lambda *a, **k: dl.zeros_like(dl.empty(*a, **k)), reference=np.zeros),
    OpCase(
        "full",
        op=dl.full,
        reference=lambda shape, v, dtype=None: np.full(shape, v, dtype or {float: "float32"}.get(type(v))),
        samples=[Sample(Const(s), v) for s in SHAPES for v in (2.5, -3, True)]
        + [Sample(Const((2, 3)), 1, dtype=d) for d in ("float64", "uint8", "bool", "int32")],
        edges=[Sample(Const((2,)), v) for v in (np.inf, -np.inf, np.nan, -0.0)],
        errors=[
            Fails(Const((2, -3)), 1.0, text=NEGATIVE),
            Fails(Const((2, 3)), "a", error=TypeError, text="[tensor] expected numbers, got str"),
        ],
        **NONE,
    ),
    like("zeros_like", dl.zeros_like, of_same_kind(0)),
    like("ones_like", dl.ones_like, of_same_kind(1)),
    like("empty_like", lambda *a, **k: dl.zeros_like(dl.empty_like(*a, **k)), of_same_kind(0)),
    OpCase(
        "full_like",
        op=dl.full_like,
        reference=lambda x, v, dtype=None: np.full(x.shape, v, dtype or x.dtype),
        samples=[Sample(Rand(s, dtype=d), 3) for s in SHAPES for d in ("float32", "int64")]
        + [Sample((2, 3), 2.0, dtype="uint8")],
        **{**NONE, "output_dtype": lambda x, v, dtype=None: dtype or x.dtype.name},
    ),
    OpCase(
        "arange",
        op=dl.arange,
        reference=lambda *a, dtype=None: np.arange(*a, dtype=dtype or {float: "float32"}.get(type(a[-1]))),
        samples=[Sample(*a) for a in ((5,), (0,), (2, 9), (2, 9, 3), (9, 2, -2), (0.0, 1.0, 0.25), (3, 1))]
        + [Sample(4, dtype="float64"), Sample(4, dtype="int32")],
        errors=[Fails(0, 5, 0, text="[arange] step must not be zero")],
        **NONE,
    ),
    OpCase(
        "linspace",
        op=dl.linspace,
        reference=lambda a, b, n, dtype="float32": np.linspace(a, b, n).astype(dtype),
        samples=[Sample(0.0, 1.0, n) for n in (0, 1, 2, 5, 17)] + [Sample(-3, 4.5, 9, dtype="float64")],
        errors=[Fails(0.0, 1.0, -1, text="[linspace] steps must not be negative, got -1")],
        **NONE,
    ),
    OpCase(
        "eye",
        op=dl.eye,
        reference=lambda n, m=None, dtype="float32": np.eye(n, m, dtype=dtype),
        samples=[Sample(n) for n in (0, 1, 4)] + [Sample(3, 5), Sample(5, 3), Sample(2, 2, dtype="int64")],
        errors=[Fails(-1, text="[eye] sizes must not be negative, got n=-1, m=None")],
        **NONE,
    ),
    OpCase(
        "tensor",
        op=dl.tensor,
        reference=lambda data, dtype=None: np.asarray(data, dtype or {"f": "float32"}.get(np.asarray(data).dtype.kind)),
        samples=[
            Sample(Const(v)) for v in (3, 2.5, True, [1, 2], [[1.0, 2.0], [3.0, 4.0]], [[True], [False]], [], [[]])
        ]
        + [Sample(Const([1.5, 2.5]), dtype=d) for d in ("float64", "int64", "bool")],
        edges=[Sample(Const([np.nan, np.inf, -np.inf, -0.0]))],
        errors=[
            Fails(Const([[1, 2], [3]]), text="[tensor] the nested sequence is ragged"),
            Fails(Const("text"), error=TypeError, text="[tensor] expected numbers, got str"),
            Fails(Const(None), error=TypeError, text="[tensor] expected numbers, got NoneType"),
            Fails(Const(np.array([2**63], np.uint64)), text="does not fit into int64"),
            Fails(Const([1, 2]), requires_grad=True, error=TypeError, text=INTEGER),
            Fails(Const([1, 2]), device="cuda:0", text="[tensor] device 'cuda:0' is not available"),
        ],
        **NONE,
    ),
]

# Sharing memory is a matter of lifetimes more than of values.
ELSEWHERE = dict.fromkeys(("asarray", "from_numpy", "from_dlpack"), "tests/test_interchange.py")
