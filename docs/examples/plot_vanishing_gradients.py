r"""
Vanishing and exploding gradients
=================================

.. math::

    \frac{\partial a^L}{\partial a^l} = \prod_{k=l+1}^{L} \mathrm{diag}\big(\varphi'(z^k)\big)\, W^k

Thirty factors: if each shrinks by a little the product vanishes, if each grows by a little it explodes.

**What to look at.** Straight lines on the logarithmic axis are constant factors a layer. The sigmoid network's first
layers learn nothing, weights twice too large explode, and with residual connections, :math:`a + f(a)`, the line is
flat.
"""

import numpy as np
from matplotlib import pyplot as plt

import dlcore as dl
from dlcore import nn, optim
from dlcore.diagnostics import gradient_flow, jacobian_flow

DEPTH, WIDTH = 30, 64


class Layer(nn.Module):
    """φ(W a + b), or a + φ(W a + b) / √depth."""

    def __init__(self, activation, gain=None, residual=False):
        self.linear = nn.Linear(WIDTH, WIDTH)
        if gain is not None:
            nn.init.normal_(self.linear.weight, 0.0, gain * WIDTH**-0.5)
        self.activation, self.residual = activation, residual

    def forward(self, a):
        y = self.activation(self.linear(a))
        return a + y * DEPTH**-0.5 if self.residual else y


NETWORKS = {
    "sigmoid": lambda: Layer(dl.sigmoid),
    "tanh": lambda: Layer(dl.tanh),
    "ReLU, He's weights": lambda: Layer(dl.relu, 2**0.5),
    "ReLU, weights twice as large": lambda: Layer(dl.relu, 2 * 2**0.5),
    "ReLU and residuals": lambda: Layer(dl.relu, 2**0.5, True),
}


def network(make):
    dl.manual_seed(0)
    return nn.Sequential(*(make() for _ in range(DEPTH)))


# %%
# Before training: the Jacobians
# ------------------------------

x = dl.randn(32, WIDTH)
figure, ax = plt.subplots(figsize=(8, 4.5), layout="constrained")
flows = {}
for name, make in NETWORKS.items():
    flows[name] = jacobian_flow(network(make), x)
    flows[name].plot(ax, label=name)
ax.set_xticks(range(0, DEPTH, 5), range(1, DEPTH + 1, 5), rotation=0)
ax.set(
    xlabel="layer $l$ of 30",
    ylabel=r"$\Vert\partial a^L / \partial z^l\Vert$",
    title="How much of the output's change comes from layer $l$",
)
ax.legend()

first_to_last = {name: flow.norms[0] / flow.norms[-1] for name, flow in flows.items()}
assert first_to_last["sigmoid"] < 1e-15
assert first_to_last["ReLU, weights twice as large"] > 1e6
assert 0.1 < first_to_last["ReLU and residuals"] < 20

# %%
# While training
# --------------
# The norm of each layer's gradient, step by step, while both learn 32 vectors by heart. Of the sigmoid network only the
# last layers ever see the loss, and it learns no more than the targets' mean, whose loss is about 1.

STEPS, losses = 150, {}
target = dl.randn(32, WIDTH)
figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), sharey=True, layout="constrained")
for ax, name in zip(axes, ("sigmoid", "ReLU and residuals"), strict=True):
    layers = network(lambda name=name: Layer(dl.sigmoid) if name == "sigmoid" else Layer(dl.relu, residual=True))
    model = nn.Sequential(*layers, nn.Linear(WIDTH, WIDTH))
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    history = []
    for _ in range(STEPS):
        loss = (model(x) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        history.append(gradient_flow(model).norms)
        optimizer.step()
    picture = ax.imshow(
        np.log10(np.array(history).T + 1e-20),
        aspect="auto",
        vmin=-8,
        vmax=-1,
        cmap="viridis",
        extent=(0, STEPS, 31.5, 0.5),
    )
    ax.set(xlabel="step", title=f"{name}: loss {loss.item():.2f} after {STEPS} steps")
    losses[name] = loss.item()
axes[0].set_ylabel("layer")
assert losses["sigmoid"] > 0.9 and losses["ReLU and residuals"] < 0.1
figure.colorbar(picture, ax=axes, label=r"$\log_{10} \Vert\partial L / \partial W\Vert$")
plt.show()
