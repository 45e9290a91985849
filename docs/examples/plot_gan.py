r"""
Two networks that learn from each other
=======================================

.. math::

    \max_D\; \mathbb{E}[\log D(x)] + \mathbb{E}[\log(1 - D(G(z)))], \qquad \max_G\; \mathbb{E}[\log D(G(z))]

A generator turns noise into samples, a discriminator tells them from the data, and each gets better by the other.

**What to look at.** In the end the samples lie where the data lie, in all four heaps, and the discriminator's belief is
½ everywhere among them: nothing tells the two apart any more. Of digits, a classifier that has seen only real ones says
which the made ones are, and is mostly sure of it.
"""

import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits

import dlcore as dl
from dlcore import nn, optim
from dlcore.models import GAN, GANConfig
from dlcore.nn import functional as F


def turn(model, player, loss):
    model.zero_grad()
    loss.backward()
    player.step()


def play(model, batches, lr, rates=(0.0, 0.9)):
    """A turn of each for every batch; beliefs in real and in made samples."""
    critic = optim.Adam(model.discriminator.parameters(), lr=2 * lr, betas=rates)
    artist = optim.Adam(model.generator.parameters(), lr=lr, betas=rates)
    beliefs = []
    for x in batches:
        turn(model, critic, model.discriminator_loss(x))
        turn(model, artist, model.generator_loss(len(x)))
        with dl.no_grad():
            beliefs.append([dl.sigmoid(model.judge(s)).mean().item() for s in (x, model.sample(len(x)))])
    return np.array(beliefs)


rng = np.random.default_rng(0)
dl.manual_seed(0)
CENTRES = 1.2 * np.array([[1, 0], [0, 1], [-1, 0], [0, -1]])


def heaps(n):
    return dl.tensor(CENTRES[rng.integers(4, size=n)] + 0.25 * rng.standard_normal((n, 2)), dtype="float32")


mixture = GAN(GANConfig((2,), latent=4, hidden=(32, 32)))
beliefs = play(mixture, (heaps(128) for _ in range(800)), lr=1e-3)
made = mixture.sample(1000).numpy()
shares = np.bincount(np.linalg.norm(made[:, None] - CENTRES, axis=2).argmin(1), minlength=4) / 1000
print("shares of the four heaps:", *shares)
assert shares.min() > 0.1 and abs(beliefs[-200:].mean() - 0.5) < 0.05

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
side = np.linspace(-2.2, 2.2, 80)
plane = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
with dl.no_grad():
    field = dl.sigmoid(mixture.judge(dl.tensor(plane, dtype="float32"))).numpy().reshape(80, 80)
shown = left.pcolormesh(side, side, field, cmap="RdBu_r", vmin=0, vmax=1, shading="auto")
figure.colorbar(shown, ax=left, label="belief that it is real")
left.scatter(*heaps(500).numpy().T, s=4, c="black", label="data")
left.scatter(*made[:500].T, s=4, c="gold", label="made")
left.legend(loc="upper right")
smooth = np.apply_along_axis(lambda b: np.convolve(b, np.ones(25) / 25, "valid"), 0, beliefs)
right.plot(smooth, label=["of data", "of what is made"])
right.axhline(0.5, color="gray", lw=0.8)
right.set(xlabel="round", ylabel="belief that it is real", ylim=(0, 1))
right.legend()

# %%
# Digits, judged by a classifier that has seen only real ones
# -----------------------------------------------------------

images, labels = load_digits(return_X_y=True)
x, y = dl.tensor(images / 8 - 1, dtype="float32"), dl.tensor(labels)
classifier = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
optimizer = optim.AdamW(classifier.parameters(), lr=4e-3)
for _ in range(12):
    for batch in dl.randperm(len(x))[:1792].reshape(-1, 64):
        optimizer.zero_grad()
        F.cross_entropy(classifier(x[batch]), y[batch]).backward()
        optimizer.step()

digits = GAN(GANConfig((64,), latent=16, hidden=(128, 128)))
play(digits, (x[batch] for _ in range(30) for batch in dl.randperm(len(x))[:1792].reshape(-1, 64)), lr=1e-3)
with dl.no_grad():
    made = digits.sample(1000)
    odds = F.softmax(classifier(made), 1).numpy()
sure, kinds = odds.max(1).mean(), np.bincount(odds.argmax(1), minlength=10)
print(f"the classifier is {sure:.0%} sure on average, of digits in these numbers:", *kinds)
assert sure > 0.7 and (kinds > 10).sum() >= 8
figure, axes = plt.subplots(3, 10, figsize=(8, 2.8), layout="constrained")
for i, ax in enumerate(axes.flat):
    ax.imshow(made[i].numpy().reshape(8, 8), cmap="gray_r", vmin=-1, vmax=1)
    ax.set(xticks=[], yticks=[], xlabel=str(odds[i].argmax()))
plt.show()
