"""UNet2D: shapes, configurations, learning to denoise, errors."""

import numpy as np
import pytest

import dlcore as dl
from dlcore import optim
from dlcore.diffusion import DDIMSampler, GaussianDiffusion
from dlcore.models import UNet2D, UNet2DConfig
from dlcore.models.unet2d import time_embedding


def small(**options):
    dl.manual_seed(0)
    config = {"in_channels": 1, "out_channels": 1, "block_out_channels": (8, 16), "layers_per_block": 1}
    return UNet2D(UNet2DConfig(**{**config, "attention": (False, True), "norm_num_groups": 4, **options}))


@pytest.mark.parametrize(
    "options", [{}, {"attention_head_dim": None}, {"layers_per_block": 2, "dropout": 0.1}], ids=str
)
def test_shapes(options):
    assert small(**options)(dl.zeros((2, 1, 6, 10)), dl.tensor([0, 999])).shape == (2, 1, 6, 10)
    told = small(num_class_embeds=3, **options)
    assert told(dl.zeros((2, 1, 4, 4)), dl.tensor([0, 1]), dl.tensor([2, 0])).shape == (2, 1, 4, 4)


def test_time_embedding():
    waves = time_embedding(dl.tensor([0, 3]), 6).numpy()
    frequencies = 10000.0 ** (-np.arange(3) / 3)
    expected = np.concatenate([np.cos(3 * frequencies), np.sin(3 * frequencies)])
    assert np.array_equal(waves[0], [1, 1, 1, 0, 0, 0]) and np.abs(waves[1] - expected).max() <= 2**-24


def test_learning():
    """One image by heart: what is sampled from noise is that image."""
    model, process = small(), GaussianDiffusion(100, "cosine", "x0")
    image = dl.tensor(np.kron([[1.0, -1.0], [-1.0, 1.0]], np.ones((4, 4))), dtype=dl.float32)
    x0 = dl.expand(image, (8, 1, 8, 8))
    optimizer = optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(40):
        loss = process.loss(model, x0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x = DDIMSampler(process, 10).sample(model.eval(), (4, 1, 8, 8))
    assert loss.item() < 0.05 and ((x - image) ** 2).mean().item() < 0.05


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda: small(norm_num_groups=3), r"\[UNet2D\] 8 channels are no multiple of norm_num_groups 3"),
        (lambda: small(attention_head_dim=5), r"\[UNet2D\] 16 channels are no multiple of attention_head_dim 5"),
        (lambda: small(attention=(True,)), r"\[UNet2D\] expected attention for each of 2 levels, got \(True,\)"),
        (lambda: small(in_channels=0), r"\[UNet2D\] expected sizes of at least 1"),
        (
            lambda: small()(dl.zeros((1, 1, 5, 4)), dl.tensor([0])),
            r"\[UNet2D\] expected \(N, C, H, W\) with H and W multiples of 2, .*, got \(1, 1, 5, 4\)",
        ),
        (
            lambda: small()(dl.zeros((2, 1, 4, 4)), dl.tensor([0])),
            r"\[UNet2D\] expected one t for each of 2 images, got shape \(1,\)",
        ),
        (lambda: small()(dl.zeros((1, 3, 4, 4)), dl.tensor([0])), r"^conv_in: expected 1 channels, got 3"),
        (
            lambda: small()(dl.zeros((1, 1, 4, 4)), dl.tensor([0]), dl.tensor([0])),
            r"\[UNet2D\] expected no labels: num_class_embeds is None, got \(1,\)",
        ),
        (lambda: small(num_class_embeds=2)(dl.zeros((1, 1, 4, 4)), dl.tensor([0])), "expected labels, got none"),
    ],
)
def test_errors(make, text):
    with pytest.raises(ValueError, match=text):
        make()
