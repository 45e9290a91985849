r"""
A variational autoencoder's map of the digits
=============================================

.. math::

    \log p(x) \ge \mathbb{E}_{q(z|x)}[\log p(x|z)] - \mathrm{KL}(q(z|x) \,\|\, \mathcal N(0, I)),
    \qquad z = \mu(x) + \sigma(x) \odot \varepsilon

An encoder says where on a small map an image lies, and how sure it is of that; a decoder draws what lies at any place.

**What to look at.** The digits lie in regions, without having been told apart, and none far from the middle: that is
what the KL term asks for. So every place of the map looks like a digit, and the way from one to another leads past
digits.
"""

import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits

import dlcore as dl
from dlcore import optim
from dlcore.models import VAE, VAEConfig

images, labels = load_digits(return_X_y=True)
x = dl.tensor((images / 16).reshape(-1, 1, 8, 8), dtype="float32")
dl.manual_seed(0)
model = VAE(VAEConfig(shape=(1, 8, 8), latent=2, hidden=(128, 64)))
optimizer = optim.Adam(model.parameters(), lr=3e-3)
bounds = []
for _ in range(25):
    for batch in dl.randperm(len(x))[:1792].reshape(-1, 64):
        optimizer.zero_grad()
        loss = model.loss(x[batch])
        loss.backward()
        optimizer.step()
    bounds.append(-loss.item())
print(f"log p(x) is at least {np.mean(bounds[-5:]):.1f} nats, after the first epoch {bounds[0]:.1f}")
assert np.mean(bounds[-5:]) > bounds[0] + 2

# %%
# Where the digits lie
# --------------------

model.eval()
with dl.no_grad():
    places = model.encode(x)[0].numpy()
figure, ax = plt.subplots(figsize=(5, 4.2), layout="constrained")
dots = ax.scatter(*places.T, c=labels, cmap="tab10", s=6)
ax.set(xlabel="$z_1$", ylabel="$z_2$", aspect="equal")
figure.colorbar(dots, ticks=range(10), label="digit")

# %%
# What lies where: the map, place by place
# ----------------------------------------

at = np.linspace(-2, 2, 12)
grid = np.stack(np.meshgrid(at, at[::-1]), -1).reshape(-1, 2)
with dl.no_grad():
    drawn = model.images(dl.tensor(grid, dtype="float32")).numpy()
figure, ax = plt.subplots(figsize=(4.6, 4.6), layout="constrained")
sheet = np.pad(drawn.reshape(12, 12, 8, 8), ((0, 0), (0, 0), (1, 1), (1, 1))).transpose(0, 2, 1, 3).reshape(120, 120)
ax.imshow(sheet, cmap="gray_r", extent=(-2.2, 2.2, -2.2, 2.2))
ax.set(xlabel="$z_1$", ylabel="$z_2$")

# %%
# Images, what is left of them, and a walk from a 0 to a 1
# --------------------------------------------------------


def typical(digit):
    """The image of a digit that lies in the middle of them."""
    kind = np.flatnonzero(labels == digit)
    return x[int(kind[np.abs(places[kind] - np.median(places[kind], 0)).sum(1).argmin()])]


with dl.no_grad():
    rows = [x[:10].numpy(), model.reconstruct(x[:10]).numpy(), model.walk(typical(0), typical(1), 10).numpy()]
figure, axes = plt.subplots(3, 10, figsize=(8, 2.6), layout="constrained")
for name, line, row in zip(("real", "decoded", "walk"), axes, rows, strict=True):
    line[0].set_ylabel(name)
    for ax, image in zip(line, row, strict=True):
        ax.imshow(image[0], cmap="gray_r", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
plt.show()
