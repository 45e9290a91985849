"""Copies and casts: nothing may change but the layout or the dtype."""

import numpy as np

import dlcore as dl
from tests.opcases import Const, Fails, OpCase, Rand, Sample, around_simd_widths

MOVE = {"exact": True, "twice": True}
SPECIAL = np.array([0.0, -0.0, 1.0, np.inf, -np.inf, np.nan, 1e-40, 3e38])

# Views to copy: how activations and weights are turned in networks.
VIEWS = {
    "transposed": ((4096, 4096), lambda x: x.T),
    "weights": ((50257, 768), lambda x: x.T),
    "odd": ((1000, 1000), lambda x: x.T),
    "keys": ((96, 1024, 64), lambda x: x.swapaxes(1, 2) if isinstance(x, np.ndarray) else x.mT),
    "heads": ((8, 1024, 12, 64), lambda x: (x.transpose if isinstance(x, np.ndarray) else x.permute)(0, 2, 1, 3)),
    "channels_last": (
        (32, 64, 56, 56),
        lambda x: (x.transpose if isinstance(x, np.ndarray) else x.permute)(0, 2, 3, 1),
    ),
    "channels_first": (
        (32, 224, 224, 3),
        lambda x: (x.transpose if isinstance(x, np.ndarray) else x.permute)(0, 3, 1, 2),
    ),
    "every_other": ((2048, 4096), lambda x: x[:, ::2]),
    "backwards": ((2048, 4096), lambda x: x[:, ::-1]),
}


def cast_to(dtype):
    """NumPy's conversion where it is defined, and ours where it is not: saturated, NaN to 0."""

    def reference(x, _=None):
        if dtype == "bfloat16" or x.dtype.kind != "f" or np.dtype(dtype).kind == "f":
            return x.astype(np.float64 if dtype == "bfloat16" else dtype)
        if dtype == "bool":
            return x != 0
        info = np.iinfo(dtype)
        inside = (x > float(info.min) - 1) & (x < float(info.max))
        y = np.where(inside, x, 0).astype(dtype)
        return np.where(x >= float(info.max), info.max, np.where(x <= float(info.min), info.min, y)).astype(dtype)

    return reference


def cast_case(dtype):
    floating = dtype in ("float32", "float64", "bfloat16")
    wide = dtype == "float64"  # differences across a narrower type would measure its steps: tests/ops/test_copy.py
    return OpCase(
        f"cast:{dtype}",
        op=dl.cast if wide else lambda x, d: dl.cast(x.detach(), d),
        reference=cast_to(dtype),
        samples=[Sample(s, dtype) for s in around_simd_widths()]
        + [Sample(Rand((3, 17), t), dtype) for t in ("int64", "int32", "uint8", "bool")],
        edges=[Sample(SPECIAL, dtype), Sample((), dtype), Sample((0, 2), dtype)]
        + [Sample(np.array([-1e30, -129.5, -1.0, -0.5, 254.9, 255.5, 256.0, 2.0**31, 2.0**63, 1e30]), dtype)],
        gradient=wide,
        twice=wide,
        exact=not floating,
        dtypes=("float32", "bfloat16", "float64"),
        output_dtype=dtype,
        big=[Sample((300, 300), dtype)],
        bench={"activations": Sample((2048, 2048), dtype)} if dtype != "bfloat16" else {},
        numpy=lambda x, d: x.astype(d),
    )


CASES = [
    OpCase(
        "clone",
        op=dl.clone,
        reference=np.copy,
        samples=[Sample(s) for s in around_simd_widths()] + [Sample(Rand((3, 4), "bool"))],
        edges=[Sample(()), Sample((0,)), Sample(SPECIAL), Sample((1, 2, 1, 2, 1, 2, 1, 2))],
        big=[Sample((300, 300))],
        bench={"weights": Sample((4096, 4096))},
        bytes=lambda x: 2 * x.nbytes,
        **MOVE,
    ),
    OpCase(
        "contiguous",
        op=lambda x, view: dl.contiguous(view(x)),
        reference=lambda x, view: np.ascontiguousarray(view(x)),
        samples=[
            Sample((9, 17), Const(VIEWS["transposed"][1])),
            Sample((40, 65), Const(VIEWS["transposed"][1])),
            Sample((2, 33, 16), Const(VIEWS["keys"][1])),
            Sample((2, 3, 4, 5), Const(VIEWS["heads"][1])),
            Sample((2, 9, 3, 5), Const(VIEWS["channels_last"][1])),
            Sample((2, 4, 5, 3), Const(VIEWS["channels_first"][1])),
            Sample((3, 17), Const(VIEWS["every_other"][1])),
            Sample((3, 17), Const(VIEWS["backwards"][1])),
            Sample((3, 17), Const(lambda x: x)),
        ],
        edges=[Sample((0, 3), Const(lambda x: x.T)), Sample((1, 5), Const(lambda x: x.T))],
        big=[Sample((300, 400), Const(VIEWS["transposed"][1])), Sample((40, 50, 60), Const(VIEWS["keys"][1]))],
        bench={name: Sample(shape, Const(view)) for name, (shape, view) in VIEWS.items()},
        bytes=lambda x, view: 2 * view(x).nbytes,
        **MOVE,
    ),
    *(cast_case(d) for d in ("float32", "bfloat16", "float64", "int64", "int32", "uint8", "bool")),
    OpCase(
        "cast:errors",
        op=dl.cast,
        reference=lambda x, d: x,
        samples=[Sample((2,), Const(dl.float32), seed=1)],
        dtypes=("float32",),
        errors=[
            Fails((2, 3), "float16", error=TypeError, text="expected a dtype"),
            Fails((2, 3), None, error=TypeError, text="expected a dtype"),
        ],
    ),
]
