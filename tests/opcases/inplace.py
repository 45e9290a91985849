"""In-place changes as functions: of a copy, of a view of it, and with operands that overlap.

They have no public names of their own; what the protocol does to histories, versions and views is in
tests/test_inplace.py."""

import numpy as np

from tests.opcases import Eps, OpCase, Rand, Sample

OPERATORS = {"add": "__iadd__", "sub": "__isub__", "mul": "__imul__", "div": "__itruediv__"}


def fresh(x):
    return x.copy() if isinstance(x, np.ndarray) else x.clone()


def whole(method):
    def run(x, other):
        y = fresh(x)
        assert getattr(y, method)(other) is y
        return y

    return run


def part(method):
    """Of every other row, backwards: a strided view."""

    def run(x, other):
        y = fresh(x)
        getattr(y[::-2], method)(other)
        return y

    return run


def shifted(method):
    """An operand in the same memory, one row on."""

    def run(x):
        y = fresh(x)
        getattr(y[1:], method)(y[:-1])
        return y

    return run


def cases(name):
    method = OPERATORS[name]
    options = {"twice": True, "eps": Eps(forward=2, backward=16)}
    divisor = {"low": 1.0, "high": 2.0}
    return [
        OpCase(
            f"{name}:in place",
            op=whole(method),
            reference=whole(method),
            samples=[Sample((3, 17), Rand(s, **divisor)) for s in ((3, 17), (17,), (3, 1), ())]
            + [Sample((3, 17), 2.5)],
            big=[Sample((300, 300), Rand((300, 300), **divisor))],
            same_in_any_layout=False,  # gradients of broadcast operands are sums
            **options,
        ),
        OpCase(
            f"{name}:in place in a view",
            op=part(method),
            reference=part(method),
            samples=[Sample((5, 7), Rand(s, **divisor)) for s in ((3, 7), (7,))] + [Sample((5, 7), 2.5)],
            same_in_any_layout=False,
            **options,
        ),
        OpCase(
            f"{name}:in place from a shifted view",
            op=shifted(method),
            reference=shifted(method),
            samples=[Sample(Rand(s, **divisor)) for s in ((2, 3), (9,), (40, 33))],
            **options,
        ),
    ]


def filled(x, value):
    y = fresh(x)
    y.fill(value) if isinstance(y, np.ndarray) else y.fill_(value)
    return y


def copied(x, source):
    y = fresh(x)
    if isinstance(y, np.ndarray):
        y[...] = source
        return y
    return y.copy_(source)


CASES = [
    *(case for name in OPERATORS for case in cases(name)),
    OpCase(
        "full_like:in place",
        op=filled,
        reference=filled,
        samples=[Sample((3, 17), 2), Sample((), 3)],
        edges=[Sample((0, 2), 1), Sample((3,), np.inf)],
        exact=True,
    ),
    OpCase(
        "clone:in place",
        op=copied,
        reference=copied,
        samples=[Sample((3, 17), s) for s in ((3, 17), (17,), (3, 1), ())],
        exact=True,
        twice=True,
        same_in_any_layout=False,
    ),
    OpCase(
        "clamp:in place",
        op=lambda x, low, high: x.clone().clamp_(low, high),
        reference=lambda x, low, high: np.clip(x, low, high),
        samples=[Sample((3, 17), -1, 1), Sample((5,), 0, 2)],
        exact=True,
    ),
]
