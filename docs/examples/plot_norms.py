r"""
Batch norm and layer norm
=========================

.. math::

    y = \gamma\, \frac{x - \mu}{\sqrt{\sigma^2 + \varepsilon}} + \beta

Batch norm takes :math:`\mu` and :math:`\sigma` of each feature over the batch, layer norm of each sample over its
features.

**What to look at.** Features have different levels (columns), and samples are loud or quiet (rows). Batch norm evens
out the columns and leaves the loud rows loud, layer norm evens out the rows and leaves the columns. On the right, what
batch norm makes of one and the same sample depends on who is in the batch with it; layer norm does not ask.
"""

import numpy as np
from matplotlib import pyplot as plt

import dlcore as dl
from dlcore.nn import functional as F

SAMPLES, FEATURES = 12, 16
rng = np.random.default_rng(0)
level, loudness = rng.normal(0, 1.5, FEATURES), np.exp(rng.normal(0, 0.8, (10_000, 1)))
data = dl.tensor((level + 0.7 * rng.standard_normal((10_000, FEATURES))) * loudness, dtype="float32")


def batch_norm(x):
    return F.batch_norm(x, None, None, training=True)


def layer_norm(x):
    return F.layer_norm(x, (FEATURES,))


batch = data[:SAMPLES]
figure, axes = plt.subplots(1, 4, figsize=(11, 3.3), width_ratios=(1, 1, 1, 1.3), layout="constrained")
pictures = {"as it comes": batch, "batch norm": batch_norm(batch), "layer norm": layer_norm(batch)}
for ax, (name, values) in zip(axes, pictures.items(), strict=False):
    ax.imshow(values.numpy(), cmap="RdBu", vmin=-3, vmax=3, aspect="auto")
    ax.set(title=name, xlabel="feature", ylabel="sample", xticks=[], yticks=[])
assert pictures["batch norm"].mean(0).abs().amax().item() < 1e-5
assert pictures["layer norm"].mean(1).abs().amax().item() < 1e-5

# %%
# One sample in the company of others, drawn 200 times.

sizes, spread = [2, 4, 8, 16, 32, 64, 128], {}
for name, norm in (("batch norm", batch_norm), ("layer norm", layer_norm)):
    spread[name] = []
    for size in sizes:
        results = [norm(dl.cat([data[:1], data[rng.integers(1, 10_000, size - 1)]]))[0] for _ in range(200)]
        spread[name].append(dl.stack(results).std(0).mean().item())
    axes[3].plot(sizes, spread[name], "o-", label=name)
axes[3].set(xscale="log", xlabel="batch size", title="Deviation of one sample's output", xticks=sizes)
axes[3].set_xticks(sizes, sizes)
axes[3].minorticks_off()
axes[3].legend()
assert max(spread["layer norm"]) < 1e-6 < 0.1 < spread["batch norm"][1]
plt.show()
