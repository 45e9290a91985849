"""Central differences with an error bound that is derived, not picked.

For a step h the error of a central difference is h^2 f'''/6 plus the evaluations' rounding over h. Two steps give both:
|D(2h) - D(h)| = h^2 f'''/2 is three times the first; the second is known from the size of the terms.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

RELATIVE_STEP = 1e-4  # balances the two errors in float64: h^2 = 1e-8 against 1e-16 / h = 1e-12


def central_difference(
    f: Callable[[], tuple[float, float]], array: np.ndarray, at: tuple[int, ...]
) -> tuple[float, float]:
    """d f / d array[at] and a bound of its error. `f` reads `array` and gives its value and its rounding error."""
    x = array[at]
    step = RELATIVE_STEP * max(abs(float(x)), 0.01)

    def difference(h: float) -> tuple[float, float]:
        high, low = x + h, x - h
        try:
            array[at] = high
            above, noise_above = f()
            array[at] = low
            below, noise_below = f()
        finally:
            array[at] = x
        return (above - below) / float(high - low), (noise_above + noise_below) / float(high - low)

    fine, noise = difference(step)
    coarse, _ = difference(2 * step)
    return fine, abs(coarse - fine) + noise


def dot(a: np.ndarray, b: np.ndarray) -> float:
    """sum(a * b) without the rounding of a running sum."""
    return math.fsum((a * b).ravel().tolist())


def some_places(shape: tuple[int, ...], most: int, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """The first and the last index, and random ones up to `most`."""
    n = math.prod(shape)
    chosen = {0, n - 1, *rng.permutation(n)[: most - 2].tolist()} if n else set()
    return [tuple(int(i) for i in np.unravel_index(k, shape)) for k in sorted(chosen)]
