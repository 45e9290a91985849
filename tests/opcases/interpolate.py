"""Resampling by sums over the elements of a full matrix for each direction, in NumPy float64."""

import math

import numpy as np

from dlcore.functional import interpolate as ours
from tests.opcases import Eps, Fails, OpCase, Rand, Sample, around_simd_widths


def matrix(old, size, factor, mode, align_corners):
    """(new, old): how much of each old element is in each new one."""
    new = size if factor is None else math.floor(old * factor)
    scale = old / new if factor is None else 1 / factor
    m = np.zeros((new, old))
    for i in range(new):
        if mode == "nearest":
            m[i, min(int(np.float32(i) * np.float32(scale)), old - 1)] = 1
        elif mode == "nearest-exact":
            m[i, min(int(np.float32(i + 0.5) * np.float32(scale)), old - 1)] = 1
        else:
            at = i * (old - 1) / max(new - 1, 1) if align_corners else max((i + 0.5) * scale - 0.5, 0)
            at = min(at, old - 1)
            m[i, int(at)] += 1 - (at - int(at))
            m[i, min(int(at) + 1, old - 1)] += at - int(at)
    return m


def interpolate(x, size=None, scale_factor=None, mode="nearest", align_corners=None):
    n = x.ndim - 2
    sizes, factors = ((v if isinstance(v, tuple) else (v,) * n) for v in (size, scale_factor))
    for axis, (s, f) in enumerate(zip(sizes, factors, strict=True), 2):
        x = np.moveaxis(np.tensordot(matrix(x.shape[axis], s, f, mode, align_corners), x, (1, axis)), 0, axis)
    return x


def magnitude(x, **options):
    return interpolate(np.abs(x), **options)


def fails(x, *rest, text, **kwargs):
    return Fails(x, *rest, text=text, **kwargs)


X = (2, 3, 5, 6)
NEAREST = [
    *(Sample((2, *s), size=2 * s[1] + 1) for s in around_simd_widths()[::3]),
    Sample(X, scale_factor=2),
    Sample(X, scale_factor=2.0, mode="nearest-exact"),
    Sample(X, size=(10, 3)),
    Sample(X, size=(2, 17), mode="nearest-exact"),
    Sample(X, scale_factor=(0.5, 1.7)),
    Sample((1, 2, 7), scale_factor=3),
]
LINEAR = [
    *(Sample((2, *s), size=2 * s[1] + 1, mode="linear") for s in around_simd_widths()[::3]),
    Sample(X, scale_factor=2, mode="bilinear"),
    Sample(X, scale_factor=2, mode="bilinear", align_corners=True),
    Sample(X, size=(10, 3), mode="bilinear", align_corners=False),
    Sample(X, size=(1, 17), mode="bilinear", align_corners=True),
    Sample(X, scale_factor=(0.6, 1.7), mode="bilinear"),
    Sample(X, size=(5, 6), mode="bilinear"),
    Sample((1, 2, 7), size=4, mode="linear", align_corners=True),
]
BENCH = {"unet_up": Sample((8, 128, 16, 16), scale_factor=2)}

CASES = [
    OpCase(
        "interpolate",
        op=ours,
        reference=interpolate,
        samples=NEAREST,
        edges=[Sample((0, 3, 4, 4), size=2), Sample((1, 1, 1, 1), size=3)],
        errors=[
            fails(
                (4, 5), size=3, text="[interpolate] expected x with dimensions (N, C, L) or (N, C, H, W), got shape (4,"
            ),
            fails(
                X, size=3, mode="linear", text="[interpolate] mode must be one of ('nearest', 'nearest-exact', 'bilin"
            ),
            fails(
                X, size=3, align_corners=True, text="[interpolate] align_corners is for 'linear' and 'bilinear', got m"
            ),
            fails(X, text="[interpolate] expected size or scale_factor, got size None and scale_factor None"),
            fails(X, 3, 2.0, text="[interpolate] expected size or scale_factor, got size 3 and scale_factor 2.0"),
            fails(X, size=(3, 4, 5), text="[interpolate] size must be a positive number or 2 of them, got (3"),
            fails(X, size=0, text="[interpolate] size must be a positive number or 2 of them, got 0"),
            fails(X, size=2.5, text="[interpolate] size must be a positive number or 2 of them, got 2.5"),
            fails(
                X, scale_factor=0.1, text="[interpolate] sizes must be at least 1 and below 2^20, got (5, 6) to be made"
            ),
            fails(Rand(X, "int64"), size=3, error=TypeError, text="[interpolate] expected a floating dtype, got int64"),
            fails("x", size=3, error=TypeError, text="[interpolate] expected a Tensor, got str"),
        ],
        eps=Eps(forward=0, backward=8),
        exact=True,
        twice=True,
        big=[Sample((9, 40, 20, 30), scale_factor=2)],
        bench=BENCH,
        numpy=lambda x, scale_factor: x.repeat(2, 2).repeat(2, 3),
        bytes=lambda x, **_: 5 * x.nbytes,
    ),
    OpCase(
        "interpolate:linear",
        op=ours,
        reference=interpolate,
        magnitude=magnitude,
        samples=LINEAR,
        eps=Eps(forward=8, backward=16),
        twice=True,
        big=[Sample((9, 40, 20, 30), scale_factor=2, mode="bilinear")],
        bench={"segmentation": Sample((2, 21, 64, 64), size=(512, 512), mode="bilinear", align_corners=False)},
        bytes=lambda x, size, **_: x.nbytes + 4 * x.shape[0] * x.shape[1] * size[0] * size[1],
    ),
]
