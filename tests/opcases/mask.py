"""Elements where a mask holds."""

import numpy as np

import dlcore as dl
from tests.opcases import Fails, OpCase, Rand, Sample, around_simd_widths

NOT_BOOL = "expected a bool mask, got dlcore.int64 of shape (3, 4)"


def mask(*shape):
    return Rand(shape, "bool")


CASES = [
    OpCase(
        "masked_select",
        op=dl.masked_select,
        reference=lambda x, m: np.broadcast_to(x, np.broadcast(x, m).shape)[
            np.broadcast_to(m, np.broadcast(x, m).shape)
        ],
        samples=[Sample(s, mask(*s)) for s in around_simd_widths()]
        + [Sample((3, 1), mask(4)), Sample((4,), mask(3, 1)), Sample((), mask(5)), Sample((2, 3), mask())],
        edges=[
            Sample((0,), mask(0)),
            Sample((3,), np.zeros(3, bool)),
            Sample(np.array([np.nan, -0.0]), np.ones(2, bool)),
        ],
        errors=[
            Fails((3, 4), Rand((3, 4), "int64"), error=TypeError, text=f"[masked_select] {NOT_BOOL}"),
            Fails((3, 4), mask(3), text="shapes (3, 4) and (3,) do not broadcast"),
        ],
        exact=True,
        twice=True,
        big=[Sample((300, 300), mask(300, 300))],
        bench={"half": Sample((1024, 1000), mask(1024, 1000))},
        bytes=lambda x, m: x.nbytes + m.nbytes + 4 * np.count_nonzero(m),
    ),
    OpCase(
        "masked_fill",
        op=dl.masked_fill,
        reference=lambda x, m, v: np.where(m, np.asarray(v, x.dtype), x),
        samples=[Sample(s, mask(*s), 2) for s in around_simd_widths()]
        + [Sample((2, 3, 4), mask(3, 1), -1), Sample((2, 3), mask(2, 3), ())],
        edges=[Sample((2, 3), mask(2, 3), -np.inf), Sample((0, 3), mask(3), 1)],
        errors=[
            Fails((3, 4), Rand((3, 4), "int64"), 0, error=TypeError, text=f"[masked_fill] {NOT_BOOL}"),
            Fails((3, 4), mask(3, 4), (4,), text="a number or a 0-dimensional tensor, got shape (4,)"),
            Fails((3, 4), mask(3), 0, text="do not broadcast"),
        ],
        exact=True,
        twice=True,
        big=[Sample((300, 300), mask(300, 300), 0)],
        bench={"causal": Sample((12, 1024, 1024), mask(1024, 1024), -np.inf)},
        bytes=lambda x, m, v: 2 * x.nbytes + m.nbytes,
    ),
    OpCase(
        "nonzero",
        op=dl.nonzero,
        reference=np.argwhere,
        samples=[Sample(mask(*s)) for s in [(1,), (7,), (8,), (9,), (65,), (3, 17), (2, 3, 4, 5), ()]]
        + [Sample(np.array([[0.0, 1.5], [-0.0, np.nan]])), Sample(Rand((3, 5), "int64", 0, 2))],
        edges=[Sample(mask(0)), Sample(mask(3, 0)), Sample(np.zeros((20, 3), bool))],
        exact=True,
        gradient=False,
        output_dtype="int64",
        big=[Sample(mask(300, 300)), Sample(mask(90000))],
        bench={"half": Sample(mask(1024, 1000))},
        bytes=lambda m: m.nbytes + 16 * np.count_nonzero(m),
    ),
    OpCase(
        "nonzero:as_tuple",
        op=lambda m: dl.nonzero(m, as_tuple=True),
        reference=lambda m: np.nonzero(m),
        samples=[Sample(mask(3, 17)), Sample(mask(2, 3, 4)), Sample(mask(9))],
        exact=True,
        gradient=False,
        output_dtype="int64",
    ),
]
