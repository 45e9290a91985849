"""Losses, against their formulas in NumPy."""

import numpy as np

import dlcore as dl
from tests.opcases import Eps, Fails, OpCase, Rand, Sample


def log_softmax(x, axis):
    wide = x.astype(np.longdouble) if x.dtype == np.float64 else x
    d = wide - wide.max(axis=axis, keepdims=True, initial=-np.inf)
    return (d - np.log(np.exp(d).sum(axis=axis, keepdims=True))).astype(x.dtype)


def reduced(loss, reduction):
    return loss if reduction == "none" else np.mean(loss) if reduction == "mean" else np.sum(loss)


def picked(lp, target, weight, ignore_index, smoothing):
    """(loss, class weight) of each target, for log-probabilities with the classes last."""
    n, classes = target.size, lp.shape[-1]
    lp, flat = lp.reshape(n, classes), target.reshape(-1)
    weight = np.ones(classes, lp.dtype) if weight is None else weight
    counted = flat != ignore_index
    places = np.where(counted, flat, 0)
    loss = -(1 - smoothing) * weight[places] * lp[np.arange(n), places]
    if smoothing:
        loss = loss - smoothing / classes * (lp * weight).sum(axis=1)
    return (loss * counted).reshape(target.shape), (weight[places] * counted).reshape(target.shape)


def of_classes(lp, target, weight, ignore_index, reduction, smoothing):
    lp = np.moveaxis(lp, 1, -1) if lp.ndim > 1 else lp
    loss, norm = picked(lp, target, weight, ignore_index, smoothing)
    if reduction == "mean":
        return loss.sum() / norm.sum()
    return reduced(loss, reduction)


def cross_entropy(input, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    axis = 1 if input.ndim > 1 else 0
    lp = log_softmax(input, axis)
    if target.dtype.kind != "f":
        return of_classes(lp, target, weight, ignore_index, reduction, label_smoothing)
    target = target * (1 - label_smoothing) + label_smoothing / input.shape[axis]
    if weight is not None:
        target = target * weight.reshape(-1, *[1] * (input.ndim - 1 - axis))
    loss = -(lp * target).sum(axis=axis)
    return loss.sum() / max(loss.size, 1) if reduction == "mean" else reduced(loss, reduction)


def nll_loss(input, target, weight=None, ignore_index=-100, reduction="mean"):
    return of_classes(input, target, weight, ignore_index, reduction, 0.0)


def classes(shape, n, dtype="int64"):
    return Rand(shape, dtype, 0, n)


def some_ignored(shape, n, ignore_index=-100):
    target = np.random.default_rng(5).integers(0, n, shape)
    target.reshape(-1)[::3] = ignore_index
    return target


WEIGHT = {"low": 0.5, "high": 1.5, "grad": False}
REDUCTIONS = ("mean", "sum", "none")
SIZES = (1, 3, 5, 7, 8, 9, 15, 16, 17, 33, 65, 130)


def class_samples(**fixed):
    """Logits or log-probabilities against class indices: sizes, layouts, weights, ignored rows, reductions."""
    return [
        *(Sample((5, n), classes((5,), n), **fixed) for n in SIZES),
        *(Sample((4, 7), classes((4,), 7), reduction=r, **fixed) for r in REDUCTIONS),
        *(
            Sample((2, 5, 3, 2), classes((2, 3, 2), 5), weight=Rand((5,), **WEIGHT), reduction=r, **fixed)
            for r in REDUCTIONS
        ),
        *(Sample((9, 6), some_ignored((9,), 6), reduction=r, **fixed) for r in REDUCTIONS),
        Sample((9, 6), some_ignored((9,), 6, 2), weight=Rand((6,), **WEIGHT), ignore_index=2, **fixed),
        Sample((6,), classes((), 6), **fixed),
        Sample((3, 4), classes((3,), 4, "int32"), **fixed),
        Sample((2, 5, 3), some_ignored((2, 3), 5), **fixed),
    ]


def class_errors(op):
    return [
        Fails(
            (3, 4),
            np.array([0, 4, 1]),
            error=IndexError,
            text=f"[{op}] target 4 at position 1 is out of range for 4 classes",
        ),
        Fails((3, 4), np.array([0, -1, 1]), error=IndexError, text=f"[{op}] target -1 at position 1 is out of range"),
        Fails((3, 4), classes((4,), 3), text="got input (3, 4) and target (4,)"),
        Fails((3, 4, 2), classes((3,), 3), text="got input (3, 4, 2) and target (3,)"),
        Fails(
            (3, 4),
            classes((3,), 4),
            weight=Rand((3,)),
            text=f"[{op}] expected one weight for each of 4 classes, got shape (3,)",
        ),
        Fails(
            (3, 4),
            classes((3,), 4),
            reduction="max",
            text=f"[{op}] reduction must be 'mean', 'sum' or 'none', got 'max'",
        ),
        Fails(Rand((3, 4), "int64"), classes((3,), 4), error=TypeError, text=f"[{op}] expected a floating input"),
        Fails(
            (3, 4), Rand((3,), "bool"), error=TypeError, text=f"[{op}] expected int64 or int32 class indices, got bool"
        ),
    ]


def smoothed():
    return [
        Sample((4, 7), some_ignored((4,), 7), weight=w, reduction=r, label_smoothing=s)
        for r in REDUCTIONS
        for s, w in [(0.1, None), (0.1, Rand((7,), **WEIGHT)), (1.0, None)]
    ]


def terms(input, target, *args, **kwargs):
    """Of each row: its loss and the reach of its logits, which the loss is a difference of."""
    loss = cross_entropy(input, target, *args, **kwargs)
    axis = 1 if input.ndim > 1 else 0
    finite = np.where(np.isfinite(input), input, 0)
    reach = np.ptp(finite, axis=axis).max(initial=0) + np.log(input.shape[axis]) + 1
    return np.abs(loss) + reach * (input.size / input.shape[axis] if kwargs.get("reduction") == "sum" else 1)


def pair(
    name, op, formula, low=None, high=None, target=None, errors=(), edges=(), tolerance=16, options=({},), **others
):
    """A loss of two tensors of the same shape."""
    target = {"low": low, "high": high} if target is None else target

    def sample(shape, seed=0, **kwargs):
        return Sample(Rand(shape, low=low, high=high), Rand(shape, **target), seed=seed, **kwargs)

    def reference(input, target, reduction="mean", **kwargs):
        return reduced(formula(input, target, **kwargs), reduction)

    def magnitude(input, target, reduction="mean", **kwargs):
        """Sums of terms of either sign are measured by their magnitudes."""
        return reduced(
            np.abs(formula(input, target, **kwargs)) + others.get("term", lambda *a: 0)(input, target), reduction
        )

    return OpCase(
        name,
        op=op,
        reference=reference,
        magnitude=magnitude,
        samples=[
            *(sample((3, n)) for n in SIZES),
            *(sample((5, 7), reduction=r, seed=1, **o) for r in REDUCTIONS for o in options),
            sample((), seed=2),
        ],
        edges=[sample((0, 3), reduction="sum"), sample((0, 3)), *edges],
        errors=[
            Fails((3, 4), (4,), text=f"[{name}] input and target must have the same shape, got (3, 4) and (4,)"),
            Fails((3,), (3,), reduction="max", text=f"[{name}] reduction must be 'mean', 'sum' or 'none', got 'max'"),
            Fails((3,), Rand((3,), "int64"), error=TypeError, text=f"[{name}] expected floating input and target"),
            *errors,
        ],
        eps=Eps(forward=tolerance, backward=32),
        twice=True,
        big=[sample((3, 70001))],
        bench={"regression": sample((8192, 768))},
        bytes=lambda input, target, **_: input.nbytes + target.nbytes,
        flops=lambda input, target, **_: 8 * input.size,
        same_in_any_layout=False,
    )


def huber(x, t, delta=1.0):
    d = np.abs(x - t)
    return np.where(d < delta, d * d / 2, delta * (d - delta / 2))


def smooth_l1(x, t, beta=1.0):
    d = np.abs(x - t)
    return np.where(d < beta, d * d / 2 / beta, d - beta / 2) if beta else d


def bce_with_logits(x, t, weight=1, pos_weight=1):
    log_s, log_rest = -np.logaddexp(0, -x), -np.logaddexp(0, x)
    return -(pos_weight * t * log_s + (1 - t) * log_rest) * weight


def bce(x, t, weight=1):
    with np.errstate(divide="ignore"):
        return -(t * np.maximum(np.log(x), -100) + (1 - t) * np.maximum(np.log1p(-x), -100)) * weight


def kl(x, t, log_target=False):
    if log_target:
        return np.exp(t) * (t - x)
    return np.where(t > 0, t * np.log(np.where(t > 0, t, 1)), 0) - t * x


PROBABILITY = {"low": 0.05, "high": 0.95}

CASES = [
    OpCase(
        "cross_entropy",
        op=dl.cross_entropy,
        reference=cross_entropy,
        magnitude=terms,
        samples=[*class_samples(), *smoothed()],
        edges=[
            Sample(np.random.default_rng(1).normal(0, 1e4, (6, 40)), classes((6,), 40)),
            Sample(np.random.default_rng(1).normal(0, 1e4, (6, 40)), classes((6,), 40), reduction="none"),
            Sample(
                np.array([[1.0, np.inf, 2], [np.nan, 1, 2], [-np.inf, 1, 2], [-np.inf] * 3]),
                classes((4,), 3),
                reduction="none",
            ),
            Sample((3, 4), np.full((3,), -100)),
            Sample((3, 4), np.full((3,), -100), reduction="sum"),
            Sample((0, 4), classes((0,), 4), reduction="none"),
            Sample((0, 4), classes((0,), 4)),
        ],
        errors=[
            *class_errors("cross_entropy"),
            Fails(
                (3, 4),
                classes((3,), 4),
                label_smoothing=1.5,
                text="[cross_entropy] label_smoothing must lie in [0, 1], got 1.5",
            ),
        ],
        eps=Eps(forward=8, backward=32),
        twice=True,
        big=[
            Sample((300, 700), classes((300,), 700)),
            Sample((3, 30000), classes((3,), 30000), weight=Rand((30000,), **WEIGHT), label_smoothing=0.1),
        ],
        bench={
            "gpt2_logits": Sample((1024, 50257), classes((1024,), 50257)),
            "byte_logits": Sample((768, 256), classes((768,), 256)),
            "digits": Sample((256, 10), classes((256,), 10)),
        },
        bytes=lambda input, *a, **k: input.nbytes,
        flops=lambda input, *a, **k: 24 * input.size,
    ),
    OpCase(
        "cross_entropy:probabilities",
        op=dl.cross_entropy,
        reference=cross_entropy,
        magnitude=terms,
        samples=[
            *(Sample((4, n), Rand((4, n), low=0, high=2 / n)) for n in SIZES),
            *(
                Sample((2, 5, 3), Rand((2, 5, 3), low=0, high=0.4), weight=w, reduction=r, label_smoothing=s)
                for r in REDUCTIONS
                for s, w in [(0.0, None), (0.1, Rand((5,), **WEIGHT))]
            ),
            Sample((6,), Rand((6,), low=0, high=0.3)),
        ],
        errors=[
            Fails(
                (3, 4), (4, 3), text="[cross_entropy] input and target must have the same shape, got (3, 4) and (4, 3)"
            )
        ],
        eps=Eps(forward=16, backward=32),
        same_in_any_layout=False,
        twice=True,
    ),
    OpCase(
        "nll_loss",
        op=dl.nll_loss,
        reference=nll_loss,
        magnitude=lambda input, *a, **k: nll_loss(-np.abs(input), *a, **k),
        samples=class_samples(),
        edges=[Sample((3, 4), np.full((3,), -100)), Sample((0, 4), classes((0,), 4), reduction="none")],
        errors=class_errors("nll_loss"),
        twice=True,
        big=[Sample((3000, 70), classes((3000,), 70))],
        bench={"gpt2_logits": Sample((1024, 50257), classes((1024,), 50257))},
    ),
    pair("mse_loss", dl.mse_loss, lambda x, t: (x - t) ** 2),
    pair("l1_loss", dl.l1_loss, lambda x, t: np.abs(x - t)),
    pair(
        "huber_loss",
        dl.huber_loss,
        huber,
        options=({}, {"delta": 0.4}),
        errors=[Fails((3,), (3,), delta=0.0, text="[huber_loss] delta must be positive, got 0.0")],
    ),
    pair(
        "smooth_l1_loss",
        dl.smooth_l1_loss,
        smooth_l1,
        options=({}, {"beta": 0.4}, {"beta": 0.0}),
        errors=[Fails((3,), (3,), beta=-1.0, text="[smooth_l1_loss] beta must not be negative, got -1.0")],
    ),
    pair(
        "binary_cross_entropy_with_logits",
        dl.binary_cross_entropy_with_logits,
        bce_with_logits,
        target={"low": 0, "high": 1},
        options=({}, {"weight": Rand((7,), **WEIGHT)}, {"pos_weight": Rand((7,), **WEIGHT)}),
        term=lambda x, t: np.abs(x),
        edges=[Sample(np.array([1e4, -1e4, 3e38, -3e38, 0.0]), np.array([1.0, 0, 1, 0, 0.5]), reduction="none")],
    ),
    pair(
        "binary_cross_entropy",
        dl.binary_cross_entropy,
        bce,
        target={"low": 0, "high": 1},
        options=({}, {"weight": Rand((7,), **WEIGHT)}),
        **PROBABILITY,
        term=lambda x, t: np.maximum(-np.log(x), -np.log1p(-x)).clip(0, 100),
        edges=[Sample(np.array([0.0, 1.0, 0.0, 1.0]), np.array([0.0, 1.0, 1.0, 0.0]), reduction="none")],
        errors=[
            Fails(
                np.array([0.5, 1.5]),
                np.array([0.0, 1.0]),
                text="[binary_cross_entropy] the input must lie in [0, 1], got values from 0.5 to 1.5",
            )
        ],
    ),
    pair(
        "kl_div",
        dl.kl_div,
        kl,
        target=PROBABILITY,
        term=lambda x, t: np.abs(t * x) + np.abs(t * np.log(np.where(t > 0, t, 1))),
        edges=[Sample(np.array([-1.0, -2, -3]), np.array([0.0, 1.0, 0.5]), reduction="none")],
    ),
    OpCase(
        "kl_div:batchmean",
        op=dl.kl_div,
        reference=lambda x, t, reduction, log_target=False: kl(x, t, log_target).sum() / x.shape[0],
        magnitude=lambda x, t, reduction, log_target=False: (np.exp(t) * (np.abs(t) + np.abs(x))).sum() / x.shape[0],
        samples=[
            Sample((4, 7), Rand((4, 7), **PROBABILITY), reduction="batchmean"),
            Sample((4, 7), (4, 7), reduction="batchmean", log_target=True),
        ],
        eps=Eps(forward=8, backward=32),
        same_in_any_layout=False,
        twice=True,
    ),
]
