"""Parameters and the comparison that the tests of distributions share."""

import numpy as np

EPS = 2.0**-53
LOC = np.array([-2.0, 0.0, 0.5, 30.0])
SCALE = np.array([0.1, 1.0, 3.0, 20.0])
SIGMA = np.array([[2.0, 0.6, -0.3], [0.6, 1.0, 0.2], [-0.3, 0.2, 0.5]])
MU = np.array([1.0, -2.0, 0.5])
P = np.array([0.0, 0.2, 0.5, 1.0])
WEIGHTS = np.array([[0.1, 0.2, 0.7], [0.0, 0.5, 0.5]])


def close(ours, expected, terms=0.0, units=16):
    ours, expected = np.asarray(ours.detach()), np.asarray(expected)
    assert ours.shape == expected.shape
    bound = units * EPS * (np.abs(np.where(np.isfinite(expected), expected, 0)) + terms)
    with np.errstate(invalid="ignore"):
        good = (np.abs(ours - expected) <= bound) | (ours == expected)
    assert good.all(), (ours[~good][:5], expected[~good][:5])
