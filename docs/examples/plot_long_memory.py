r"""
A long memory: RNN, LSTM and GRU
================================

.. math::

    h_t = \tanh(W x_t + U h_{t-1} + b)
    \qquad
    c_t = f_t \odot c_{t-1} + i_t \odot g_t, \quad h_t = o_t \odot \tanh(c_t)
    \qquad
    h_t = (1 - z_t) \odot n_t + z_t \odot h_{t-1}

The first number of a sequence is a class, noise follows, and at the end the network is to name the class.

**What to look at.** The plain RNN learns it over 10 steps and not over 60: each step multiplies the gradient by a
matrix once more. The gates of LSTM and GRU, open for about as long as the sequence at first, let the cell pass
unchanged, and with it the gradient.
"""

import numpy as np
from matplotlib import pyplot as plt

import dlcore as dl
from dlcore import nn, optim
from dlcore.nn import functional as F
from dlcore.nn.utils import clip_grad_norm_

CLASSES, HIDDEN, BATCH, STEPS = 4, 32, 32, 250


class Memory(nn.Module):
    """A recurrent layer, whose last state says the class."""

    def __init__(self, layer):
        self.layer = layer(CLASSES, HIDDEN, batch_first=True)
        self.out = nn.Linear(HIDDEN, CLASSES)

    def forward(self, x):
        return self.out(self.layer(x)[0][:, -1])


def batch(length):
    """(B, T, C): a class, one-hot, and then noise."""
    y = dl.randint(0, CLASSES, (BATCH,))
    first = F.one_hot(y, CLASSES).float().unsqueeze(1)
    return dl.cat([first, 0.3 * dl.randn(BATCH, length - 1, CLASSES)], 1), y


def learn(layer, length):
    """The share of right answers, step by step."""
    dl.manual_seed(0)
    model = Memory(layer)
    if layer is not nn.RNN:  # the forget (LSTM) and update (GRU) gates; C. Tallec and Y. Ollivier, 2018
        with dl.no_grad():
            model.layer.bias_ih_l0[HIDDEN : 2 * HIDDEN] = np.log(length)
    optimizer = optim.Adam(model.parameters(), lr=5e-3)
    right = []
    for _ in range(STEPS):
        x, y = batch(length)
        logits = model(x)
        optimizer.zero_grad()
        F.cross_entropy(logits, y).backward()
        clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        right.append((logits.argmax(1) == y).float().mean().item())
    return np.convolve(right, np.ones(20) / 20, "valid")


figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), sharey=True, layout="constrained")
at_the_end = {}
for ax, length in zip(axes, (10, 60), strict=True):
    for layer, colour in ((nn.RNN, "tab:red"), (nn.LSTM, "tab:blue"), (nn.GRU, "tab:green")):
        right = learn(layer, length)
        at_the_end[layer.__name__, length] = right[-1]
        ax.plot(right, color=colour, label=layer.__name__)
    ax.axhline(1 / CLASSES, color="k", linewidth=0.8, linestyle=":", label="by chance")
    ax.set(xlabel="training step", title=f"{length} steps to remember", ylim=(0, 1.05))
axes[0].set_ylabel("right answers, mean of 20 batches")
axes[0].legend(loc="lower right")

print({f"{name}, {length} steps": f"{share:.0%}" for (name, length), share in at_the_end.items()})
assert at_the_end["RNN", 10] > 0.9 and at_the_end["RNN", 60] < 0.6
assert min(at_the_end[name, 60] for name in ("LSTM", "GRU")) > 0.7
plt.show()
