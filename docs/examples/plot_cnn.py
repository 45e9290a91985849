r"""
What a convolutional network sees
=================================

.. math::

    \mathrm{out}[k, i, j] = \sum_{c, u, v} W[k, c, u, v]\; x[c, i + u, j + v] + b[k]

One small filter slides over the whole image, so that what it has learnt in one place it knows everywhere.

**What to look at.** The first layer's maps still show the digit, each what its filter asks for: all of the stroke, its
upper edges, its left side. The second layer's maps are coarser and say where such parts meet.
"""

import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits

import dlcore as dl
from dlcore import nn, optim
from dlcore.diagnostics import feature_maps
from dlcore.nn import functional as F

images, labels = load_digits(return_X_y=True)
images = dl.tensor((images / 16).reshape(-1, 1, 8, 8), dtype="float32").repeat_interleave(2, 2).repeat_interleave(2, 3)
labels = dl.tensor(labels)
dl.manual_seed(0)
order = dl.randperm(len(labels))
train, test = order[:1400], order[1400:]


class Net(nn.Module):
    """16 × 16 pixels, two convolutions, each with a pooling."""

    def __init__(self):
        self.conv1 = nn.Conv2d(1, 8, 5, padding=2)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(8, 16, 3, padding=1)
        self.relu2 = nn.ReLU()
        self.pool = nn.MaxPool2d(2)
        self.out = nn.Linear(16 * 4 * 4, 10)

    def forward(self, x):
        x = self.pool(self.relu1(self.conv1(x)))  # (N, 8, 8, 8)
        x = self.pool(self.relu2(self.conv2(x)))  # (N, 16, 4, 4)
        return self.out(x.flatten(1))


model = Net()
optimizer = optim.AdamW(model.parameters(), lr=4e-3)
for _ in range(8):
    for batch in train[dl.randperm(1400)].reshape(-1, 50):
        optimizer.zero_grad()
        F.cross_entropy(model(images[batch]), labels[batch]).backward()
        optimizer.step()
model.eval()
with dl.no_grad():
    accuracy = (model(images[test]).argmax(1) == labels[test]).float().mean().item()
print(f"{accuracy:.1%} of {len(test)} digits that it has not seen")
assert accuracy > 0.97

# %%
# The filters, red for positive weights and blue for negative ones
# ----------------------------------------------------------------

maps = feature_maps(model, images[test[:1]], ["conv1", "relu1", "conv2", "relu2"])
figure = maps.plot_filters()

# %%
# The maps of one digit
# ---------------------

figure, ax = plt.subplots(figsize=(1.6, 1.6), layout="constrained")
ax.imshow(images[test[0], 0].numpy(), cmap="gray_r")
ax.set(title=f"a {labels[test[0]].item()}", xticks=[], yticks=[])
figure = feature_maps(model, images[test[:1]], ["relu1", "relu2"]).plot()
assert np.isfinite(maps.maps["conv2"]).all()
plt.show()
