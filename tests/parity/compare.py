"""How a float32 result is compared with PyTorch's: both against PyTorch in float64."""

import numpy as np

import dlcore as dl
from tests.opcases import EPS


def as_numpy(t):
    return np.asarray(t.numpy()) if isinstance(t, dl.Tensor) else t.detach().double().numpy()


def assert_as_good(ours, theirs, truth, what="", products=1):
    """Our error against the truth is at most twice PyTorch's in the same dtype, or a few units of rounding.

    A few for each of the products that follow one another on the way: each rounds anew.
    """
    ours, theirs, truth = (as_numpy(t).astype(np.float64) for t in (ours, theirs, truth))
    assert ours.shape == truth.shape, (what, ours.shape, truth.shape)
    scale = np.abs(truth[np.isfinite(truth)]).max(initial=0.0)
    allowed = max(2 * np.abs(np.nan_to_num(theirs - truth)).max(initial=0.0), 8 * products * EPS["float32"] * scale)
    same_kind = np.array_equal(np.isnan(ours), np.isnan(truth))
    error = np.abs(np.nan_to_num(ours - truth)).max(initial=0.0)
    assert same_kind and error <= allowed, f"{what}: error {error:.3g}, allowed {allowed:.3g}"
