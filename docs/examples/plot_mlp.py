r"""
A multilayer perceptron bends its boundary
==========================================

.. math::

    a^l = \varphi(W^l a^{l-1} + b^l), \qquad \delta^l = (W^{l+1})^\top \delta^{l+1} \odot \varphi'(z^l)

Two spirals are wound into one another: no straight line parts them.

**What to look at.** Each hidden ReLU unit can fold the boundary once. A linear model cuts straight through, eight units
find a corner, and two layers of 32 follow the spirals all the way.
"""

import numpy as np
from matplotlib import pyplot as plt

import dlcore as dl
from dlcore import optim
from dlcore.models import MLP, MLPConfig
from dlcore.nn import functional as F

rng = np.random.default_rng(0)
angle = np.sqrt(rng.uniform(0.05, 1, 300)) * 3 * np.pi
arm = np.stack([np.cos(angle), np.sin(angle)], 1) * (angle / 9.5)[:, None]
points = np.concatenate([arm, -arm]) + 0.03 * rng.standard_normal((600, 2))
x, y = dl.tensor(points, dtype="float32"), dl.tensor(np.repeat([0, 1], 300))

u, v = np.meshgrid(np.linspace(-1.15, 1.15, 160), np.linspace(-1.15, 1.15, 160))
plane = dl.tensor(np.stack([u.ravel(), v.ravel()], 1), dtype="float32")

figure, axes = plt.subplots(1, 3, figsize=(10, 3.6), sharex=True, sharey=True, layout="constrained")
accuracies = []
for ax, hidden in zip(axes, [(), (8,), (32, 32)], strict=True):
    dl.manual_seed(1)
    model = MLP(MLPConfig(2, hidden, 2))
    optimizer = optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(800):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    with dl.no_grad():
        p = F.softmax(model(plane), 1)[:, 1].numpy().reshape(u.shape)
        accuracies.append((model(x).argmax(1) == y).float().mean().item())
    ax.contourf(u, v, p, np.linspace(0, 1, 11), cmap="RdBu", alpha=0.7)
    ax.contour(u, v, p, [0.5], colors="k", linewidths=1)
    for part, colour in ((points[:300], "darkred"), (points[300:], "darkblue")):
        ax.scatter(*part.T, color=colour, s=4)
    ax.set(title=f"hidden {hidden or 'none'}: {accuracies[-1]:.0%}", xticks=[], yticks=[], aspect="equal")

assert accuracies[0] < 0.75 and accuracies[-1] > 0.98
plt.show()
