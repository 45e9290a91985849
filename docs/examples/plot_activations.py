r"""
Activations and their slopes
============================

.. math::

    \mathrm{relu}(x) = \max(0, x), \qquad
    \sigma(x) = \frac{1}{1 + e^{-x}}, \qquad
    \mathrm{gelu}(x) = x\,\Phi(x), \qquad
    \mathrm{silu}(x) = x\,\sigma(x)

**What to look at.** The dashed slopes are what a gradient is multiplied by on its way back. Sigmoid's is never above
1/4 and goes to zero on both sides, ReLU's is 0 or 1, and GELU and SiLU are ReLU with a soft corner.
"""

from matplotlib import pyplot as plt

import dlcore as dl
from dlcore.nn import functional as F

ACTIVATIONS = {
    "ReLU": F.relu,
    "leaky ReLU, 0.1": lambda x: F.leaky_relu(x, 0.1),
    "sigmoid": F.sigmoid,
    "tanh": F.tanh,
    "GELU": F.gelu,
    "SiLU": F.silu,
    "softplus": F.softplus,
    "ELU": F.elu,
}

# %%
# Autograd gives every slope at once: the sum's gradient is the slope at each point.

x = dl.linspace(-5, 5, 501).requires_grad_()
figure, axes = plt.subplots(2, 4, figsize=(11, 5), sharex=True, sharey=True, layout="constrained")
for ax, (name, f) in zip(axes.flat, ACTIVATIONS.items(), strict=True):
    y = f(x)
    (slope,) = dl.grad(y.sum(), x)
    ax.axhline(0, color="0.8", linewidth=0.8)
    ax.axvline(0, color="0.8", linewidth=0.8)
    ax.plot(x.detach().numpy(), y.detach().numpy(), color="tab:blue", label="value")
    ax.plot(x.detach().numpy(), slope.numpy(), "--", color="tab:orange", label="slope")
    ax.set(title=f"{name}: slope up to {slope.amax().item():.2f}", ylim=(-1.5, 3))
    if name == "sigmoid":
        assert abs(slope.amax().item() - 0.25) < 1e-6
axes[0, 0].legend()
plt.show()
