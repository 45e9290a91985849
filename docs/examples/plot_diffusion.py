r"""
From digits to noise and back
=============================

.. math::

    x_t = \sqrt{\bar\alpha_t}\, x_0 + \sqrt{1 - \bar\alpha_t}\, \varepsilon, \qquad
    L = \mathbb{E}\,\lVert \varepsilon - \varepsilon_\theta(x_t, t) \rVert^2

Noise is added to an image step by step until nothing of it is left. A network learns to say what of a noisy image is
noise, and so finds the way back: from noise to an image that never was. It is told which digit it is.

**What to look at.** On the way there the digit is gone long before the end. On the way back the first steps decide
where the strokes will be, the last ones only clean them; ten steps of a good solver lead where thirty do.
"""

import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits

import dlcore as dl
from dlcore import optim
from dlcore.diffusion import EMA, DDPMSampler, DPMSolver, GaussianDiffusion
from dlcore.models import UNet2D, UNet2DConfig

images, labels = load_digits(return_X_y=True)
x, y = dl.tensor(images.reshape(-1, 1, 8, 8) / 8 - 1, dtype="float32"), dl.tensor(labels)
dl.manual_seed(0)
process = GaussianDiffusion(60, "cosine", prediction="v")
T = process.steps


def strip(rows, names, title):
    size = (8, 0.9 * len(rows) + 0.4)
    figure, axes = plt.subplots(len(rows), len(rows[0]), figsize=size, layout="constrained", squeeze=False)
    for line, row in zip(axes, rows, strict=True):
        for ax, image, name in zip(line, row, names, strict=True):
            ax.imshow(image.numpy()[0], cmap="gray_r", vmin=-1, vmax=1)
            ax.set(xticks=[], yticks=[])
            ax.set_xlabel(name, fontsize=8)
    figure.suptitle(title, fontsize=10)


times = [0, 6, 12, 21, 30, 39, 48, 59]
strip(
    [[process.q_sample(x[i : i + 1], t, dl.randn((1, 1, 8, 8)))[0] for t in times] for i in (0, 5)],
    [f"t = {t}" for t in times],
    "there",
)

# %%
# What the network learns
# -----------------------

config = UNet2DConfig(1, 1, (16, 32), 1, attention=(False, True), norm_num_groups=8, num_class_embeds=10)
model = UNet2D(config)
average = EMA(model, 0.95)
optimizer = optim.Adam(model.parameters(), lr=4e-3)
schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, 7 * 28)
losses = []
for _ in range(7):
    for batch in dl.randperm(len(x))[:1792].reshape(-1, 64):
        optimizer.zero_grad()
        loss = process.loss(model, x[batch], labels=y[batch])
        loss.backward()
        optimizer.step(max_norm=1.0)
        schedule.step()
        average.update()
        losses.append(loss.item())
figure, ax = plt.subplots(figsize=(6, 2.6), layout="constrained")
ax.semilogy(np.convolve(losses, np.ones(14) / 14, "valid"))
ax.set(xlabel="step", ylabel="mean squared error of v")
assert np.mean(losses[-28:]) < 0.5 * np.mean(losses[:5])

# %%
# Back, with the averaged weights: by sixty steps, and by ten of a good solver
# -----------------------------------------------------------------------------

asked = dl.arange(100) % 10
with average.applied() as network:
    network.eval()
    shown = {}
    sampler = DDPMSampler(process)
    sampler.sample(network, (10, 1, 8, 8), labels=asked[:10], callback=lambda t, x_t: shown.update({t: x_t}))
    names = times[::-1]
    strip([[shown[t][i] for t in names] for i in (0, 3, 6)], [f"t = {t}" for t in names], "back to a 0, a 3 and a 6")
    noise = dl.randn((100, 1, 8, 8))
    few, many = (DPMSolver(process, n, clip=1.0).sample(network, noise=noise, labels=asked) for n in (10, 30))
strip([list(few[:10]), list(many[:10])], list("0123456789"), "the same noise, by 10 steps and by 30")


def closest(a, b):
    """Squared distances of each a to the closest b, and which that is."""
    apart = ((a.reshape(-1, 1, 64) - b.reshape(1, -1, 64)) ** 2).mean(2).numpy()
    return apart.min(1), apart.argmin(1)


gap, which = closest(few, x)
real, _ = closest(x[:200], x[200:])
right = (labels[which] == asked.numpy()).mean()
print(f"squared distance to the closest real digit: {gap.mean():.3f}; of a real one to another: {real.mean():.3f}")
print(f"of {right:.0%} the closest real digit is the one that was asked for")
assert gap.mean() < 2 * real.mean() and right > 0.75
assert ((few - many) ** 2).mean().item() < 0.1 * real.mean()
plt.show()
