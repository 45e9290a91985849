r"""
The Gaussian, and Bayes' theorem
================================

.. math::

    N(x; \mu, \sigma^2) = \frac{1}{\sqrt{2\pi\sigma^2}}\, e^{-(x-\mu)^2 / 2\sigma^2}
    \qquad\qquad
    p(\theta \mid x) = \frac{p(x \mid \theta)\, p(\theta)}{p(x)}

**What to look at.** In the first picture the histogram of samples fills the density, and 68 % of them lie within one
:math:`\sigma`. In the second the posterior stands between the prior and the likelihood, and with more flips it becomes
narrower and leaves the prior behind.
"""

import numpy as np
from matplotlib import pyplot as plt

import dlcore as dl
from dlcore import bayes
from dlcore.distributions import Bernoulli, MultivariateNormal, Normal

dl.manual_seed(1)

# %%
# A Gaussian and its samples
# --------------------------
# In two dimensions :math:`\sigma^2` becomes a matrix :math:`\Sigma`, whose Cholesky factor turns round clouds of
# standard normal numbers into tilted ones.

normal = Normal(1.0, 2.0)
x = dl.linspace(-6, 8, 400)
draws = normal.sample((20_000,))
within = ((draws - 1).abs() < 2).float().mean().item()
assert abs(within - 0.6827) < 0.01

cloud = MultivariateNormal([0.0, 0.0], [[2.0, 1.2], [1.2, 1.0]])
points = cloud.sample((1500,)).numpy()
u, v = np.meshgrid(np.linspace(-5, 5, 120), np.linspace(-4, 4, 120))
density = cloud.log_prob(np.stack([u, v], -1).astype(np.float32)).exp().numpy()

figure, (left, middle, right) = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
left.hist(draws.numpy(), 80, density=True, color="0.85", label="20,000 samples")
left.plot(x.numpy(), normal.log_prob(x).exp().numpy(), color="tab:blue", label=r"density $N(1, 2^2)$")
left.axvspan(-1, 3, color="tab:blue", alpha=0.1, label=rf"$\mu \pm \sigma$: {within:.1%} of the samples")
left.set(xlabel="x", title="One dimension", ylim=(0, 0.3))
left.legend(fontsize=8, loc="upper left")
steps = np.sort(draws[:50].numpy())
middle.step(steps, np.arange(1, 51) / 50, where="post", color="0.6", label="share of 50 samples up to x")
middle.plot(x.numpy(), normal.cdf(x).numpy(), color="tab:blue", label="cumulative probability")
middle.set(xlabel="x", title="Its integral", ylim=(0, 1.3))
middle.legend(fontsize=8, loc="upper left")
right.scatter(*points.T, s=3, color="0.6")
right.contour(u, v, density, 6, cmap="viridis")
right.set(
    xlabel="$x_1$", ylabel="$x_2$", title=r"Two dimensions, $\Sigma = \binom{2\;\;\;1.2}{1.2\;\;\;1}$", aspect="equal"
)

# %%
# Is the coin fair?
# -----------------
# The prior believes in a roughly fair coin; in truth heads have the probability 3/4 (dotted). Each flip multiplies it
# by a likelihood, and a Beta prior stays a Beta. The dots are the same posterior on a grid, which works for any
# likelihood.

flips = Bernoulli(0.75).sample((200,))
prior = bayes.BetaBernoulli(5.0, 5.0)
theta = dl.linspace(0, 1, 401, dtype="float64")

figure, axes = plt.subplots(1, 3, figsize=(10, 3.2), layout="constrained", sharex=True)
for ax, n in zip(axes, (3, 20, 200), strict=True):
    seen = flips[:n]
    heads = int(seen.sum().item())
    posterior = prior.update(seen)

    def log_likelihood(t, heads=heads, n=n):
        return heads * t.clamp(1e-12, 1).log() + (n - heads) * (1 - t).clamp(1e-12, 1).log()

    grid = bayes.posterior_grid(log_likelihood, prior, theta)
    assert abs(grid.mean() - posterior.mean) < 1e-6
    likelihood = log_likelihood(theta).exp().numpy()
    ax.plot(theta.numpy(), prior.log_prob(theta).exp().numpy(), color="0.6", label="prior")
    area = np.trapezoid(likelihood, theta.numpy())
    ax.plot(theta.numpy(), likelihood / area, "--", color="tab:orange", label="likelihood, scaled")
    ax.plot(theta.numpy(), posterior.log_prob(theta).exp().numpy(), color="tab:blue", label="posterior")
    ax.plot(theta.numpy()[::10], grid.density.numpy()[::10], ".", color="tab:blue", label="posterior on a grid")
    ax.axvline(0.75, color="k", linewidth=0.8, linestyle=":")
    ax.set(xlabel=r"$\theta$, the probability of heads", title=f"{heads} heads in {n} flips")
axes[2].legend(fontsize=8, loc="upper left")
plt.show()
