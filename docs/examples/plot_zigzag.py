r"""
Zigzag: SGD, momentum and Adam in a narrow valley
=================================================

.. math::

    f(x, y) = \tfrac12 (x^2 + 100\, y^2): \qquad
    \theta \leftarrow \theta - \eta\, g, \qquad
    v \leftarrow \beta v + g,\;\; \theta \leftarrow \theta - \eta\, v

The curvatures differ by :math:`\kappa = 100`. The steep one allows no step above :math:`\eta = 2/100`, with which the
flat one hardly moves.

**What to look at.** SGD jumps from wall to wall and creeps along the valley. Momentum adds up what the steps have in
common, and Adam divides by each direction's own size; on the right both are done in a fraction of SGD's steps.
"""

import numpy as np
from matplotlib import pyplot as plt

import dlcore as dl
from dlcore import optim

CURVATURE = dl.tensor([1.0, 100.0], dtype="float64")
START = [-1.0, 0.25]


def descend(make, limit=4000):
    """The path to f < 1e-6, and f along it."""
    theta = dl.tensor(START, dtype="float64", requires_grad=True)
    optimizer = make([theta])
    path, values = [], []
    while len(path) < limit:
        f = 0.5 * (CURVATURE * theta * theta).sum()
        path.append(theta.tolist())
        values.append(f.item())
        if values[-1] < 1e-6:
            break
        optimizer.zero_grad()
        f.backward()
        optimizer.step()
    return np.array(path), np.array(values)


runs = {
    "SGD": descend(lambda p: optim.SGD(p, lr=0.0195)),
    "momentum 0.8": descend(lambda p: optim.SGD(p, lr=0.0195, momentum=0.8)),
    "Adam": descend(lambda p: optim.Adam(p, lr=0.06, betas=(0.8, 0.95))),
}
steps = {name: len(values) - 1 for name, (_, values) in runs.items()}
print(steps)
assert steps["momentum 0.8"] < steps["SGD"] / 2

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), width_ratios=(3, 2), layout="constrained")
u, v = np.meshgrid(np.linspace(-1.1, 0.4, 300), np.linspace(-0.3, 0.3, 200))
left.contour(u, v, 0.5 * (u**2 + 100 * v**2), np.logspace(-3, 1, 14), colors="0.8", linewidths=0.8)
for (name, (path, values)), colour in zip(runs.items(), ("tab:red", "tab:blue", "tab:green"), strict=True):
    left.plot(*path[:60].T, "o-", color=colour, markersize=2.5, linewidth=1, label=name)
    right.plot(values, color=colour, label=f"{name}: {steps[name]} steps")
left.plot(0, 0, "k*", markersize=10)
left.set(xlabel="x, curvature 1", ylabel="y, curvature 100", title="The first 60 steps")
left.legend(loc="lower right")
right.set(yscale="log", xlabel="step", ylabel="f", title="To $f < 10^{-6}$")
right.grid(alpha=0.3)
right.legend()
plt.show()
