"""The evidence lower bound, from its two terms in NumPy float64."""

import numpy as np

from dlcore.functional import elbo as ours
from tests.opcases import Eps, Fails, OpCase, Rand, Sample


def elbo(output, x, mean, log_variance, beta=1.0, likelihood="bernoulli", parts=lambda v: v):
    if likelihood == "bernoulli":
        log_p = parts(x * output).sum() - parts(np.logaddexp(0, output)).sum()
    else:
        log_p = -0.5 * (np.square(x - output).sum() + x.size * np.log(2 * np.pi))
    kl = 0.5 * (parts(mean**2).sum() + parts(np.exp(log_variance)).sum() - parts(1 + log_variance).sum())
    return (log_p - beta * kl) / len(x)


def magnitude(output, x, mean, log_variance, beta=1.0, likelihood="bernoulli"):
    """The sums of all terms' sizes."""
    terms = np.abs(x * output).sum() + np.abs(output).sum() + np.square(x - output).sum() + 2 * x.size
    kl = np.square(mean).sum() + np.exp(log_variance).sum() + np.abs(log_variance).sum() + mean.size
    return (terms + abs(beta) * kl) / len(x)


def sample(shape, latent, **options):
    pixels = Rand(shape, low=0, high=1)
    return Sample(shape, pixels, (shape[0], latent), (shape[0], latent), **options)


def fails(*args, text, **kwargs):
    return Fails(*args, text=text, **kwargs)


CASES = [
    OpCase(
        "elbo",
        op=ours,
        reference=elbo,
        magnitude=magnitude,
        samples=[
            sample((1, 1), 1),
            sample((3, 17), 5),
            sample((4, 1, 5, 7), 3, beta=4.0),
            sample((3, 33), 2, likelihood="gaussian"),
            sample((2, 3, 4), 2, beta=0.0, likelihood="gaussian"),
        ],
        edges=[Sample(np.array([[1e3, -1e3]]), np.array([[1.0, 0.0]]), np.zeros((1, 2)), np.zeros((1, 2)))],
        errors=[
            fails(
                (2, 3),
                (2, 4),
                (2, 1),
                (2, 1),
                text="[elbo] expected output and x of one shape (N, ...), got (2, 3) and",
            ),
            fails(
                (0, 3),
                (0, 3),
                (0, 1),
                (0, 1),
                text="[elbo] expected output and x of one shape (N, ...), got (0, 3) and",
            ),
            fails(
                (2, 3),
                (2, 3),
                (3, 1),
                (3, 1),
                text="[elbo] expected mean and log_variance of one shape (2, Z), got (3,",
            ),
            fails(
                (2, 3), (2, 3), (2, 1), (2, 1), likelihood="laplace", text="[elbo] likelihood must be 'bernoulli' or"
            ),
        ],
        eps=Eps(forward=8, backward=32),
        twice=True,
        same_in_any_layout=False,  # sums over all elements, in the order of memory
        big=[sample((200, 784), 20)],
        bench={"mnist": sample((128, 784), 20)},
        flops=lambda output, *a, **k: 10 * output.size,
    ),
]
