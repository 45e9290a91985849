"""Linear layer and cross-entropy in one, against the two formulas in NumPy."""

import numpy as np

import dlcore as dl
from tests.opcases import Eps, Fails, OpCase, Rand, Sample
from tests.opcases.loss import REDUCTIONS, WEIGHT, classes, cross_entropy, some_ignored


def product(x, w, b):
    y = x @ w.T if b is None else x @ w.T + b
    return y.reshape(-1, w.shape[0])


def reference(x, w, target, linear_bias=None, **kwargs):
    logits = product(x, w, linear_bias)
    flat = target.reshape(-1, w.shape[0]) if target.dtype.kind == "f" else target.reshape(-1)
    loss = cross_entropy(logits, flat, **kwargs)
    return loss.reshape(x.shape[:-1]) if kwargs.get("reduction") == "none" else loss


def magnitude(x, w, target, linear_bias=None, **kwargs):
    """Every row's loss is as wrong as its most uncertain logit: so is the mean, and the sum by as many rows."""
    terms = product(np.abs(x), np.abs(w), None if linear_bias is None else np.abs(linear_bias))
    most = np.nan_to_num(terms, posinf=0).max(initial=0) * max(1.0, x.shape[-1] / 8) + np.log(w.shape[0]) + 1
    loss = np.abs(reference(x, w, target, linear_bias, **kwargs))
    return np.nan_to_num(loss) + most * (len(terms) if kwargs.get("reduction") == "sum" else 1)


def sample(rows, k, v, target=None, **kwargs):
    rows = rows if isinstance(rows, tuple) else (rows,)
    return Sample(Rand((*rows, k)), Rand((v, k)), classes(rows, v) if target is None else target, **kwargs)


CASES = [
    OpCase(
        "linear_cross_entropy",
        op=dl.linear_cross_entropy,
        reference=reference,
        magnitude=magnitude,
        samples=[
            *(sample(5, k, v) for k, v in [(1, 1), (3, 2), (8, 17), (17, 33), (33, 65)]),
            *(sample((2, 3), 7, 11, linear_bias=Rand((11,)), reduction=r) for r in REDUCTIONS),
            *(sample(9, 4, 6, some_ignored((9,), 6), weight=Rand((6,), **WEIGHT), reduction=r) for r in REDUCTIONS),
            *(sample(9, 4, 6, some_ignored((9,), 6, 2), ignore_index=2, label_smoothing=s) for s in (0.1, 1.0)),
            sample((), 5, 7),
            sample(4, 5, 7, Rand((4,), "int32", 0, 7)),
            *(sample((2, 3), 5, 7, Rand((2, 3, 7), low=0, high=0.3), reduction=r) for r in REDUCTIONS),
        ],
        edges=[
            sample(3, 4, 5, np.full((3,), -100)),
            sample(3, 4, 5, np.full((3,), -100), reduction="sum"),
            sample(0, 4, 5),
            sample(0, 4, 5, reduction="none"),
            Sample(np.full((2, 3), 1e4), np.full((4, 3), 1e4), classes((2,), 4)),
            Sample(np.array([[np.inf], [np.nan], [1.0]]), (4, 1), classes((3,), 4), reduction="none"),
        ],
        errors=[
            Fails(
                (3, 4),
                (5, 3),
                classes((3,), 5),
                text="[linear_cross_entropy] expected input (..., K) and linear_weight (V, K), got (3, 4) and (5, 3)",
            ),
            Fails((3, 4), (5, 4), classes((4,), 5), text="got input (3, 4) and target (4,)"),
            Fails(
                (3, 4),
                (5, 4),
                np.array([0, 1, 5]),
                error=IndexError,
                text="[linear_cross_entropy] target 5 at position 2 is out of range for 5 classes",
            ),
            Fails(
                (3, 4),
                (5, 4),
                classes((3,), 5),
                weight=Rand((3,)),
                text="[linear_cross_entropy] expected one weight for each of 5 classes, got shape (3,)",
            ),
            Fails((3, 4), (5, 4), classes((3,), 5), reduction="max", text="[linear_cross_entropy] reduction must be"),
            Fails(
                (3, 4),
                (5, 4),
                classes((3,), 5),
                label_smoothing=2.0,
                text="label_smoothing must lie in [0, 1], got 2.0",
            ),
            Fails((3, 4), (5, 4), classes((3,), 5), linear_bias=Rand((4,)), text="a bias of shape (5,), got (4,)"),
        ],
        eps=Eps(forward=8, backward=64),
        twice=True,
        same_in_any_layout=False,
        big=[sample(600, 33, 4000), sample(300, 16, 70000)],
        bench={"gpt2": sample(512, 768, 50257)},
        bytes=lambda x, w, *a, **k: x.nbytes + w.nbytes,
        flops=lambda x, w, *a, **k: 2 * x.size * w.shape[0],
    ),
]
