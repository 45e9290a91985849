r"""
Overfitting, L2 and dropout
===========================

.. math::

    L + \lambda \lVert\theta\rVert^2
    \qquad\qquad
    \tilde a_i = \frac{m_i\, a_i}{1 - p}, \quad m_i \sim \mathrm{Bernoulli}(1 - p)

A network with 80,000 parameters learns 300 digits of 8 × 8 pixels, a fifth of them with a wrong label.

**What to look at.** Without a brake the training loss goes to zero, wrong labels and all, while the test loss turns and
rises. L2 keeps the weights small and dropout keeps units from relying on each other: their training losses stay up, and
their test losses down.
"""

import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits

import dlcore as dl
from dlcore import optim
from dlcore.models import MLP, MLPConfig
from dlcore.nn import functional as F

EPOCHS, ROWS = 80, 300

pixels, labels = load_digits(return_X_y=True)
rng = np.random.default_rng(0)
order = rng.permutation(len(labels))
pixels, labels = (pixels[order] / 16).astype(np.float32), labels[order]
noisy = labels[:ROWS].copy()
noisy[: ROWS // 5] = rng.integers(0, 10, ROWS // 5)
x, y = dl.tensor(pixels[:ROWS]), dl.tensor(noisy)
x_test, y_test = dl.tensor(pixels[ROWS:]), dl.tensor(labels[ROWS:])


def train(l2=0.0, dropout=0.0):
    """Training loss (of the data alone) and test loss of each epoch, and the accuracy at the end."""
    dl.manual_seed(0)
    model = MLP(MLPConfig(64, (256, 256), 10, dropout=dropout))
    optimizer = optim.Adam(model.parameters(), lr=2e-3)
    history = []
    for _ in range(EPOCHS):
        for batch in dl.randperm(ROWS).reshape(-1, 50):
            loss = F.cross_entropy(model(x[batch]), y[batch])
            if l2:
                loss = loss + F.l2_penalty(model.parameters(), l2)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with dl.no_grad():
            logits = model(x_test)
            history.append([F.cross_entropy(model(x), y).item(), F.cross_entropy(logits, y_test).item()])
        model.train()
    return np.array(history), (logits.argmax(1) == y_test).float().mean().item()


RUNS = {"nothing": {}, r"L2, $\lambda = 0.003$": {"l2": 3e-3}, "dropout, $p = 0.6$": {"dropout": 0.6}}
results = {name: train(**options) for name, options in RUNS.items()}

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), sharex=True, layout="constrained")
for (name, (history, accuracy)), colour in zip(results.items(), ("tab:red", "tab:blue", "tab:green"), strict=True):
    left.plot(history[:, 0], color=colour, label=name)
    right.plot(history[:, 1], color=colour, label=f"{name}: {accuracy:.1%} right")
left.set(xlabel="epoch", ylabel="cross-entropy", title="Training data, a fifth of the labels wrong", ylim=(0, 2.5))
right.set(xlabel="epoch", title="Test data", ylim=(0, 2.5))
for ax in (left, right):
    ax.grid(alpha=0.3)
    ax.legend()

plain, *braked = results.values()
assert plain[0][-1, 0] < 0.05 and plain[0][-1, 1] > 1.5 * plain[0][:, 1].min()
assert all(history[-1, 1] < 0.7 * plain[0][-1, 1] and accuracy > plain[1] for history, accuracy in braked)
plt.show()
