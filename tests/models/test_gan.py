"""GANs: losses against their formulas, all modes of a mixture, DCGAN's names and shapes, errors."""

import math

import numpy as np
import pytest

import dlcore as dl
from dlcore import nn, optim
from dlcore.models import DCGAN, GAN, DCGANConfig, GANConfig
from tests.opcases import EPS


def fixed(loss, a=0.5, b=-1.0):
    """A GAN of numbers whose generator is z + 3 and whose discriminator is a x + b."""
    dl.manual_seed(0)
    model = GAN(GANConfig((1,), 1, (), loss)).double()
    for layer, (w, c) in ((model.generator[0], (1.0, 3.0)), (model.discriminator[0], (a, b))):
        nn.init.constant_(layer.weight, w)
        nn.init.constant_(layer.bias, c)
    return model


def logits(model, x):
    return 0.5 * x.numpy()[:, 0] - 1


@pytest.mark.parametrize("loss", ["non_saturating", "minimax", "wasserstein"])
def test_losses_are_their_formulas(loss):
    model, x = fixed(loss), dl.tensor([[1.0], [-2.0], [4.0]], dtype=dl.float64)
    dl.manual_seed(1)
    d, g = model.discriminator_loss(x).item(), model.generator_loss(3).item()
    dl.manual_seed(1)
    real, first = logits(model, x), logits(model, model.sample(3))
    if loss == "wasserstein":
        dl.rand((3, 1), dtype=dl.float64)  # what the penalty draws
        second = logits(model, model.sample(3))
        assert (
            abs(d - (first.mean() - real.mean() + 10 * (math.sqrt(0.25 + 1e-12) - 1) ** 2)) < 64 * EPS["float64"] * 10
        )
        assert abs(g + second.mean()) < 64 * EPS["float64"]
        return
    second = logits(model, model.sample(3))
    sigmoid = lambda v: 1 / (1 + np.exp(-v))  # noqa: E731
    expected = -np.log(sigmoid(real)) - np.log(1 - sigmoid(first))
    assert abs(d - expected.mean()) < 64 * EPS["float64"]
    best = -np.log(sigmoid(second)) if loss == "non_saturating" else np.log(1 - sigmoid(second))
    assert abs(g - best.mean()) < 64 * EPS["float64"]


def test_the_discriminators_loss_leaves_the_generator_alone():
    model = GAN()
    model.discriminator_loss(dl.randn((5, 2))).backward()
    assert all(p.grad is None for p in model.generator.parameters())
    assert all(p.grad is not None for p in model.discriminator.parameters())


def test_gradient_penalty():
    """A linear critic's gradient is its weight; of a curved one the penalty has a gradient itself."""
    model, x = fixed("wasserstein", a=3.0), dl.ones((4, 1), dtype=dl.float64)
    penalty = model.gradient_penalty(x, x * 2)
    assert abs(penalty.item() - 4) < 1e-10
    (slope,) = dl.grad(penalty, model.discriminator[0].weight)
    assert abs(slope.item() - 2 * (3 - 1)) < 1e-10  # d (|w| - 1)² / dw


MODES = 1.2 * np.array([[math.cos(a), math.sin(a)] for a in np.arange(4) * math.pi / 2])


def mixture(rng, n):
    return MODES[rng.integers(4, size=n)] + 0.4 * rng.standard_normal((n, 2))


def test_all_modes_of_a_mixture():
    """Four bumps get a quarter of the samples each, and at the end nothing tells real from made: D is ½ of both."""
    rng = np.random.default_rng(0)
    dl.manual_seed(0)
    model = GAN(GANConfig((2,), 4, (32, 32)))
    critic = optim.Adam(model.discriminator.parameters(), lr=2e-3, betas=(0.0, 0.9))
    artist = optim.Adam(model.generator.parameters(), lr=1e-3, betas=(0.0, 0.9))
    for _ in range(800):
        x = dl.tensor(mixture(rng, 128), dtype=dl.float32)
        turn(model, critic, model.discriminator_loss(x))
        turn(model, artist, model.generator_loss(128))
    samples = model.sample(4000).numpy()
    shares = np.bincount(np.linalg.norm(samples[:, None] - MODES, axis=2).argmin(1), minlength=4) / 4000
    assert shares.min() > 0.15, shares
    for x in (samples, mixture(rng, 4000)):
        belief = dl.sigmoid(model.judge(dl.tensor(x, dtype=dl.float32))).mean().item()
        assert abs(belief - 0.5) < 0.05, belief


def turn(model, player, loss):
    model.zero_grad()
    loss.backward()
    player.step()


def small(**options):
    dl.manual_seed(0)
    return DCGAN(DCGANConfig(**{"size": 16, "latent": 10, "width": 4, "channels": 1, **options}))


def test_dcgan_shapes():
    for size in (8, 16, 32):
        model = small(size=size)
        images = model.sample(3)
        assert images.shape == (3, 1, size, size) and abs(images.numpy()).max() <= 1
        assert model.judge(images).shape == (3,)


def test_dcgan_has_the_examples_names():
    """Those of PyTorch's DCGAN example, and of checkpoints made with it."""
    with nn.init.skip():
        model = DCGAN()
    shapes = {k: v.shape for k, v in model.generator.state_dict().items() if k.endswith("weight")}
    convolutions = [(100, 512, 4, 4), (512, 256, 4, 4), (256, 128, 4, 4), (128, 64, 4, 4), (64, 3, 4, 4)]
    assert [shapes[f"main.{3 * i}.weight"] for i in range(5)] == convolutions
    assert [shapes[f"main.{3 * i + 1}.weight"] for i in range(4)] == [(512,), (256,), (128,), (64,)]
    keys = list(model.discriminator.state_dict())
    assert keys[:2] == ["main.0.weight", "main.2.weight"] and keys[-1] == "main.11.weight"


@pytest.mark.parametrize("loss", ["non_saturating", "wasserstein"])
def test_dcgan_learns(loss):
    """Dark images with a bright middle: what is made becomes dark at the rim and bright in the middle."""
    model = small(size=8, loss=loss, width=16)
    image = np.full((8, 8), -0.8, np.float32)
    image[2:6, 2:6] = 0.8
    x = dl.tensor(image) + dl.zeros((16, 1, 8, 8))
    artist, critic = (
        optim.Adam(p.parameters(), lr=5e-3, betas=(0.5, 0.9)) for p in (model.generator, model.discriminator)
    )
    for _ in range(120):
        turn(model, critic, model.discriminator_loss(x))
        turn(model, artist, model.generator_loss(16))
    made = model.sample(32).numpy().mean((0, 1))
    assert made[image > 0].mean() - made[image < 0].mean() > 0.8


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda: GANConfig(latent=0), r"\[GAN\] expected sizes of at least 1"),
        (
            lambda: GANConfig(loss="hinge"),
            r"\[GAN\] expected loss of \('non_saturating', 'minimax', 'wasserstein'\), got 'h",
        ),
        (lambda: GAN().judge(dl.zeros((3, 5))), r"\[GAN\] expected samples of shape \(N, 2\), got \(3, 5\)"),
        (lambda: DCGANConfig(size=20), r"\[DCGAN\] expected a size that is a power of 2 from 8 on, got 20"),
        (lambda: DCGANConfig(width=0), r"\[DCGAN\] expected sizes of at least 1 and loss of"),
        (
            lambda: small().judge(dl.zeros((2, 1, 8, 8))),
            r"\[DCGAN\] expected images of shape \(N, 1, 16, 16\), got \(2, ",
        ),
    ],
)
def test_errors(make, text):
    with pytest.raises(ValueError, match=text):
        make()
