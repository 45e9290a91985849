"""VAEs: shapes, the bound against closed forms, learning, errors."""

import math

import numpy as np
import pytest

import dlcore as dl
from dlcore import optim
from dlcore.functional import elbo
from dlcore.models import VAE, VAEConfig

DENSE = {"shape": (1, 8, 8), "hidden": (32, 16), "latent": 3}
CONVOLUTIONAL = {"shape": (1, 8, 8), "channels": (8, 16), "latent": 3}


@pytest.mark.parametrize("options", [DENSE, CONVOLUTIONAL, {"shape": (5,), "hidden": (), "latent": 2}], ids=str)
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_shapes(options, likelihood):
    dl.manual_seed(0)
    model = VAE(VAEConfig(**options, likelihood=likelihood))
    x = dl.rand((4, *options["shape"]))
    output, mean, log_variance = model(x)
    assert output.shape == x.shape and mean.shape == log_variance.shape == (4, options["latent"])
    assert model.loss(x).shape == () and model.sample(3).shape == (3, *options["shape"])
    walk = model.walk(x[0], x[1], 5)
    assert walk.shape == (5, *options["shape"])
    ends = model.reconstruct(x[:2]).numpy()
    assert np.allclose(walk.numpy()[[0, -1]], ends, atol=1e-5)
    if likelihood == "bernoulli":
        assert 0 <= ends.min() and ends.max() <= 1


def test_bound_is_tight_at_the_posterior():
    """z ~ N(0, 1), x ~ N(z, 1): with the true posterior N(x/2, 1/2) each draw bounds log p(x), and their mean is it."""
    n, x = 200_000, 1.3
    dl.manual_seed(0)
    mean, log_variance = dl.full((n, 1), x / 2), dl.full((n, 1), math.log(0.5))
    z = mean + dl.exp(0.5 * log_variance) * dl.randn((n, 1))
    bound = elbo(z, dl.full((n, 1), x), mean, log_variance, likelihood="gaussian").item()
    log_p = -0.5 * (x * x / 2 + math.log(2 * math.pi * 2))
    # log p(x | z) has a variance below 1 there.
    assert abs(bound - log_p) < 5 / math.sqrt(n)
    worse = elbo(z, dl.full((n, 1), x), mean + 0.5, log_variance, likelihood="gaussian").item()
    assert worse < bound


def test_kl_in_closed_form():
    """N(m, s²) and N(0, 1): (m² + s² - 1)/2 - log s."""
    x = dl.zeros((1, 1))
    for m, s in ((0.0, 1.0), (2.0, 1.0), (-1.0, 0.1)):
        given = [dl.tensor([[v]], dtype=dl.float64) for v in (m, 2 * math.log(s))]
        kl = elbo(x.double(), x.double(), *given, beta=0.0) - elbo(x.double(), x.double(), *given)
        assert abs(kl.item() - ((m * m + s * s - 1) / 2 - math.log(s))) < 1e-14


def bars(n):
    """Images with a bright row or a bright column, and a little noise: 16 kinds."""
    rng = np.random.default_rng(0)
    x = np.full((n, 1, 8, 8), 0.05)
    for image in x:
        at = rng.integers(8)
        if rng.random() < 0.5:
            image[0, at] = 0.95
        else:
            image[0, :, at] = 0.95
    return dl.tensor((rng.random(x.shape) < x).astype(np.float32))


@pytest.mark.parametrize("options", [{**DENSE, "hidden": (64,)}, CONVOLUTIONAL], ids=["dense", "convolutional"])
def test_learning(options):
    dl.manual_seed(0)
    model, x = VAE(VAEConfig(**{**options, "latent": 8})), bars(256)
    optimizer = optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(200):
        loss = model.loss(x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    # Without z there is nothing better to say than the mean of all pixels, whose entropy this is.
    p = x.numpy().mean()
    assert loss.item() < 0.95 * -64 * (p * math.log(p) + (1 - p) * math.log(1 - p))


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda: VAEConfig(latent=0), r"\[VAE\] expected sizes of at least 1"),
        (lambda: VAEConfig(likelihood="laplace"), "expected likelihood 'bernoulli' or 'gaussian', got 'laplace'"),
        (lambda: VAEConfig((1, 6, 8), channels=(4, 4)), "H and W multiples of 4 for 2 convolutions, got \\(1, 6, 8\\)"),
        (
            lambda: VAE(VAEConfig(**DENSE))(dl.zeros((2, 64))),
            r"\[VAE\] expected samples of shape \(N, 1, 8, 8\), got \(2",
        ),
    ],
)
def test_errors(make, text):
    with pytest.raises(ValueError, match=text):
        make()
