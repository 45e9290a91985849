r"""
Deep, and deeper: residual networks
===================================

.. math::

    y = F(x) \qquad\text{or}\qquad y = x + F(x)

Stacks of blocks, each of two convolutions and batch norms, learn to read digits: plain ones, and ones with a connection
past each block.

**What to look at.** Of the plain stacks the deepest is by far the slowest, although it could do whatever the shallow
ones can; with connections it is ahead of them. On the right one block is taken out of a trained network: the plain one
is broken whichever it is, the residual one reads on without any but the first few, since each block only adds a little
to what goes past it.
"""

import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits

import dlcore as dl
from dlcore import nn, optim
from dlcore.nn import functional as F

CHANNELS, STEPS = 8, 150

pixels, labels = load_digits(return_X_y=True)
images, labels = dl.tensor((pixels / 16).reshape(-1, 1, 8, 8), dtype="float32"), dl.tensor(labels)
dl.manual_seed(0)
order = dl.randperm(len(labels))
train, test = order[:1400], order[1400:]


class Block(nn.Module):
    """relu(F(x)) or relu(x + F(x))."""

    def __init__(self, residual):
        self.conv1 = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(CHANNELS)
        self.conv2 = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(CHANNELS)
        self.residual = residual

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(x + y if self.residual else y)


class Net(nn.Module):
    """8 × 8 pixels, `depth` blocks between a convolution and a linear layer."""

    def __init__(self, depth, residual):
        self.stem = nn.Conv2d(1, CHANNELS, 3, padding=1)
        self.blocks = nn.ModuleList([Block(residual) for _ in range(depth)])
        self.out = nn.Linear(4 * CHANNELS, 10)

    def forward(self, x, without=None):
        x = F.relu(self.stem(x))  # (N, C, 8, 8)
        for i, block in enumerate(self.blocks):
            x = x if i == without else block(x)
        return self.out(F.avg_pool2d(x, 4).flatten(1))  # the mean of each quarter


def learn(depth, residual):
    """The trained network, and its loss step by step, a mean of ten."""
    dl.manual_seed(0)
    model = Net(depth, residual)
    optimizer = optim.Adam(model.parameters(), lr=5e-3)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    losses = []
    while len(losses) < STEPS:
        batch = train[dl.randperm(1400)[:32]]
        loss = F.cross_entropy(model(images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return model.eval(), np.convolve(losses, np.ones(10) / 10, "valid")


def accuracy(model, without=None):
    """The share of right answers on digits it has not seen, with all blocks or without one."""
    with dl.no_grad():
        return (model(images[test], without).argmax(1) == labels[test]).float().mean().item()


figure, axes = plt.subplots(1, 3, figsize=(11, 3.7), width_ratios=(1, 1, 1.2), layout="constrained")
models, losses, right = {}, {}, {}
for ax, kind in zip(axes, ("plain", "residual"), strict=False):
    for depth, colour in ((2, "tab:blue"), (6, "tab:green"), (18, "tab:red")):
        models[kind, depth], losses[kind, depth] = learn(depth, kind == "residual")
        right[kind, depth] = accuracy(models[kind, depth])
        label = f"{2 * depth + 1} convolutions: {right[kind, depth]:.0%} right"
        ax.plot(losses[kind, depth], color=colour, label=label)
    ax.set(xlabel="training step", title=f"{kind}: $y = {'x + ' * (kind == 'residual')}F(x)$", ylim=(0, 3))
    ax.grid(alpha=0.3)
    ax.legend()
axes[0].set_ylabel("cross-entropy")

# %%
# One block less
# --------------

without = {}
for (kind, depth), style in ((("plain", 6), "o--"), (("residual", 6), "o-"), (("residual", 18), "o-")):
    without[kind, depth] = [accuracy(models[kind, depth], i) for i in range(depth)]
    colour = "tab:green" if depth == 6 else "tab:red"
    axes[2].plot(range(1, depth + 1), without[kind, depth], style, color=colour, label=f"{kind}, {depth} blocks")
axes[2].axhline(0.1, color="k", linewidth=0.8, linestyle=":", label="by chance")
axes[2].set(xlabel="the block that is taken out", ylabel="right answers", title="Without one block", ylim=(0, 1.03))
axes[2].set_xticks([1, 6, 12, 18])
axes[2].legend(loc="center right")

print({f"{kind}, {depth} blocks": f"{share:.0%}" for (kind, depth), share in right.items()})
assert losses["plain", 18][-1] > 2 * losses["plain", 2][-1] and right["plain", 18] < 0.85
assert losses["residual", 18][-1] < losses["residual", 2][-1] and right["residual", 18] > 0.9
assert max(without["plain", 6]) < 0.4 and min(without["residual", 18][6:]) > 0.8
plt.show()
