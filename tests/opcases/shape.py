"""Views against NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np

import dlcore as dl
from tests.opcases import Const, Fails, OpCase, Sample


def case(name: str, reference: Any, *samples: Sample, **more: Any) -> OpCase:
    return OpCase(name, getattr(dl, name), reference, list(samples), exact=True, twice=True, **more)


def sum_to(x: Any, shape: tuple[int, ...]) -> Any:
    x = x.sum(tuple(range(x.ndim - len(shape))))
    return x.sum(tuple(i for i, n in enumerate(shape) if n == 1), keepdims=True)


def reshaped(x: Any, shape: Any) -> Any:
    return np.reshape(x, shape)


CASES = [
    case(
        "reshape",
        reshaped,
        Sample((2, 3, 4), Const((4, 6))),
        Sample((2, 3, 4), Const((-1, 2))),
        Sample((6,), Const((2, 3))),
        Sample((1, 1), Const(())),
        edges=[Sample((0, 3), Const((3, 0)))],
        errors=[
            Fails((2, 3), Const((4, 2)), text="[reshape] shape (2, 3) has 6 elements, the target (4, 2) has 8"),
            Fails((2, 3), Const((-1, -1)), text="[reshape] only one size may be -1"),
            Fails((2, 3), Const((-1, 4)), text="[reshape] cannot infer the -1"),
            Fails((2, 3), Const(("a",)), error=TypeError, text="made of integers, got str"),
        ],
    ),
    OpCase(
        "view",
        lambda x, shape: dl.view(dl.contiguous(x), shape),
        reshaped,
        [Sample((2, 3, 4), Const((6, 4)))],
        exact=True,
        twice=True,
    ),
    case(
        "flatten",
        lambda x, start_dim=0, end_dim=-1: (
            x.reshape(*x.shape[:start_dim], -1) if end_dim == -1 else x.reshape(-1, x.shape[-1])
        ),
        Sample((2, 3, 4)),
        Sample((2, 3, 4), start_dim=1),
        Sample((2, 3, 4), end_dim=1),
        errors=[
            Fails((2, 3), start_dim=1, end_dim=0, text="[flatten] start_dim 1 comes after end_dim 0"),
            Fails((2, 3), start_dim=5, error=IndexError, text="[flatten] axis 5 is out of range for shape (2, 3)"),
        ],
    ),
    case(
        "permute",
        lambda x, axes: np.transpose(x, axes),
        Sample((2, 3, 4), Const((2, 0, 1))),
        Sample((2, 3, 4), Const((0, -1, 1))),
        errors=[
            Fails((2, 3), Const((0, 0)), text="[permute] axes must not repeat"),
            Fails((2, 3), Const((0,)), text="[permute] expected 2 axes for shape (2, 3)"),
        ],
    ),
    case(
        "transpose",
        lambda x, a, b: np.swapaxes(x, a, b),
        Sample((2, 3, 4), 0, 2),
        Sample((2, 3, 4), -1, -2),
        errors=[Fails((2, 3), 0, 2, error=IndexError, text="[transpose] axis 2 is out of range for shape (2, 3)")],
    ),
    case(
        "movedim",
        lambda x, a, b: np.moveaxis(x, a, b),
        Sample((2, 3, 4), 0, 2),
        Sample((2, 3, 4), -1, 0),
        errors=[Fails((2, 3), 0, 2, error=IndexError, text="[movedim] axis 2 is out of range")],
    ),
    case(
        "expand",
        lambda x, shape: np.broadcast_to(x, (4, 2, 3)),
        Sample((2, 1), Const((4, 2, 3))),
        Sample((2, 3), Const((4, -1, -1))),
        errors=[
            Fails((2, 3), Const((4, 3)), text="[expand] shape (2, 3) does not expand to (4, 3)"),
            Fails((2, 3), Const((3,)), text="has more dimensions than the target (3,)"),
        ],
    ),
    case("broadcast_to", lambda x, shape: np.broadcast_to(x, shape), Sample((2, 1), Const((4, 2, 3)))),
    case(
        "squeeze",
        lambda x, dim=None: np.squeeze(x, dim),
        Sample((1, 2, 1)),
        Sample((1, 2, 1), dim=0),
        Sample((1, 2, 1), dim=-1),
        errors=[Fails((1, 2), dim=2, error=IndexError, text="[squeeze] axis 2 is out of range for shape (1, 2)")],
    ),
    case(
        "unsqueeze",
        lambda x, dim: np.expand_dims(x, dim),
        Sample((2, 3), 0),
        Sample((2, 3), -1),
        Sample((2, 3), 1),
        errors=[Fails((2, 3), 3, error=IndexError, text="[unsqueeze] axis 3 is out of range for shape (2, 3)")],
    ),
    OpCase(
        "sum_to",
        dl.sum_to,
        sum_to,
        [Sample((4, 2, 3), Const((2, 1))), Sample((2, 3), Const((2, 3))), Sample((2, 3), Const(()))],
        magnitude=lambda x, shape: sum_to(np.abs(x), shape) * 4,
        twice=True,
        same_in_any_layout=False,
    ),
]
