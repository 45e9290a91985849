r"""
Linear regression
=================

.. math::

    \hat y = Xw + b, \qquad
    w = (X^\top X + \lambda I)^{-1} X^\top y, \qquad
    w \leftarrow w - \eta\, \nabla_w \tfrac1N \lVert Xw + b - y \rVert^2

**What to look at.** Gradient descent (grey to red) arrives at the very line that the normal equations give at once
(black). On the right a growing penalty :math:`\lambda` shrinks all ten weights towards zero, the least certain first.
"""

import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import load_diabetes

import dlcore as dl
from dlcore import nn, optim
from dlcore.models import LinearRegression

x, y = load_diabetes(return_X_y=True)
names = load_diabetes().feature_names

# %%
# One feature, step by step
# -------------------------
# How far diabetes has gone a year later, from the body mass index alone, of 442 patients. Descent starts at zero.

bmi = x[:, 2:3]
exact = LinearRegression(1).fit(bmi, y)
steps = [0, 1, 2, 4, 8, 16, 64]

model = nn.Linear(1, 1).double()
nn.init.zeros_(model.weight)
nn.init.zeros_(model.bias)
optimizer = optim.SGD([{"params": [model.weight], "lr": 50.0}, {"params": [model.bias], "lr": 0.1}])
inputs, targets = dl.tensor(bmi), dl.tensor(y[:, None])
lines, losses = {}, []
for step in range(steps[-1] + 1):
    if step in steps:
        lines[step] = model.weight.item(), model.bias.item()
    loss = (model(inputs) - targets).square().mean()
    losses.append(loss.item())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

# %%
# All ten features, and a penalty
# -------------------------------

penalties = np.logspace(-3, 2, 40)
paths = np.array([LinearRegression(10, l2=p).fit(x, y).weight.detach().numpy()[0] for p in penalties])
assert np.abs(paths[-1]).max() < 0.1 * np.abs(paths[0]).max()

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
left.scatter(bmi[:, 0], y, s=6, color="0.75")
ends = np.array([bmi.min(), bmi.max()])
for i, (step, (w, b)) in enumerate(lines.items()):
    left.plot(ends, w * ends + b, color=plt.cm.Reds(0.25 + 0.7 * i / len(lines)), linewidth=1, label=f"step {step}")
w, b = exact.weight.item(), exact.bias.item()
left.plot(ends, w * ends + b, "k--", label="normal equations")
left.set(xlabel="body mass index (scaled)", ylabel="progression", title="Gradient descent arrives at the closed form")
left.legend(fontsize=7, ncol=2)
for path, name in zip(paths.T, names, strict=True):
    right.plot(penalties, path, label=name)
right.set(xscale="log", xlabel=r"penalty $\lambda$", ylabel="weight", title="Ridge regression")
right.axhline(0, color="k", linewidth=0.6)
right.legend(fontsize=7, ncol=2)

# %%
# Both methods of `fit` find the same weights, and explain about half of the variance.

by_descent = LinearRegression(10).fit(x, y, method="gd")
at_once = LinearRegression(10).fit(x, y)
assert np.abs((by_descent.weight - at_once.weight).detach().numpy()).max() < 1e-5
assert losses[-1] < 1.001 * (exact(inputs) - targets).square().mean().item()
print(f"R² = {at_once.score(x, y):.3f}")
plt.show()
