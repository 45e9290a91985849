"""The diffusion process, its samplers and the U-Net against diffusers: step by step from the same numbers."""

import itertools
import math

import numpy as np
import pytest
import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from diffusers.training_utils import EMAModel

import dlcore as dl
from dlcore import nn
from dlcore.diffusion import EMA, DDIMSampler, DDPMSampler, DPMSolver, GaussianDiffusion
from dlcore.models import UNet2D, UNet2DConfig
from tests.opcases import EPS
from tests.parity.compare import assert_as_good
from tests.parity.test_nn import check, load_into_torch, to_torch

rng = np.random.default_rng(0)


def normal(*shape):
    return rng.standard_normal(shape).astype(np.float32)


@pytest.fixture(autouse=True)
def same_numbers_in_any_order():
    global rng
    rng = np.random.default_rng(1)


SCHEDULES = {"linear": "linear", "cosine": "squaredcos_cap_v2"}
PREDICTIONS = {"epsilon": "epsilon", "v": "v_prediction", "x0": "sample"}


def options(schedule, prediction, **more):
    return {
        "num_train_timesteps": 1000,
        "beta_start": 1e-4,
        "beta_end": 0.02,
        "beta_schedule": SCHEDULES[schedule],
        "prediction_type": PREDICTIONS[prediction],
        **more,
    }


def exact(scheduler, diffusion, steps):
    """A scheduler of theirs in float64: its own numbers are rounded to float32, and multiplied up a thousand times."""
    # A β of theirs is rounded to float32, and so is each step of a linear schedule.
    assert np.abs(diffusion.betas - scheduler.betas.numpy()).max() <= 4 * EPS["float32"]
    betas = np.linspace(1e-4, 0.02, 1000) if diffusion.schedule == "linear" else scheduler.betas.double().numpy()
    if diffusion.schedule == "cosine":
        bars = [math.cos((i / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2 for i in range(1001)]
        betas = np.array([min(1 - b / a, 0.999) for a, b in itertools.pairwise(bars)])
    scheduler.betas = torch.from_numpy(betas)
    scheduler.alphas = 1 - scheduler.betas
    scheduler.alphas_cumprod = torch.cumprod(scheduler.alphas, 0)
    if steps:
        scheduler.set_timesteps(steps)
    if hasattr(scheduler, "sigmas") and steps:
        bar = scheduler.alphas_cumprod[scheduler.timesteps]
        scheduler.sigmas = torch.cat([((1 - bar) / bar).sqrt(), torch.zeros(1, dtype=torch.float64)])
    return scheduler


def close(ours, theirs, diffusion, dtype, roundings):
    """Each step rounds what it computes, and dividing by √ᾱ makes the rounding larger."""
    scale = max(1.0, theirs.abs().max().item()) / math.sqrt(diffusion.alphas_bar.min())
    assert np.abs(ours.numpy() - theirs.numpy()).max() <= roundings * 8 * EPS[dtype] * scale


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_forward(schedule):
    ours = GaussianDiffusion(schedule=schedule, prediction="v")
    theirs = exact(DDPMScheduler(**options(schedule, "v")), ours, None)
    x0, noise, t = *(normal(4, 3, 5, 5).astype(np.float64) for _ in range(2)), np.array([0, 17, 500, 998])
    theirs_at, ours_at = ([tensor(a) for a in (x0, noise, t)] for tensor in (torch.from_numpy, dl.tensor))
    close(ours.q_sample(ours_at[0], ours_at[2], ours_at[1]), theirs.add_noise(*theirs_at), ours, "float64", 1)
    close(ours.target(*ours_at), theirs.get_velocity(*theirs_at), ours, "float64", 1)


def follow(sampler, scheduler, step, dtype="float64"):
    """Both go down all steps, each from its own last sample, with outputs that depend on the place alone."""
    scheduler = exact(scheduler, sampler.diffusion, sampler.steps)
    assert sampler.timesteps == scheduler.timesteps.tolist()
    rng = np.random.default_rng(3)
    start = rng.standard_normal((2, 3, 4, 4))
    x, y = dl.tensor(start), torch.from_numpy(start)
    for i, t in enumerate(sampler.timesteps):
        output, noise = rng.standard_normal(start.shape), rng.standard_normal(start.shape)
        x = sampler.step(dl.tensor(output), t, x, dl.tensor(noise))
        y = step(scheduler, torch.from_numpy(output), t, y, torch.from_numpy(noise))
        close(x, y, sampler.diffusion, dtype, i + 1)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("schedule", SCHEDULES)
class TestSamplers:
    @pytest.mark.parametrize("steps, variance, clip", [(1000, "fixed_small", 1.0), (40, "fixed_large", None)])
    def test_ddpm(self, schedule, prediction, steps, variance, clip, monkeypatch):
        drawn = {}
        monkeypatch.setattr("diffusers.schedulers.scheduling_ddpm.randn_tensor", lambda *args, **kwargs: drawn["noise"])
        scheduler = DDPMScheduler(**options(schedule, prediction, variance_type=variance, clip_sample=clip is not None))

        def step(scheduler, output, t, y, noise):
            drawn["noise"] = noise
            return scheduler.step(output, t, y).prev_sample

        follow(DDPMSampler(GaussianDiffusion(1000, schedule, prediction), steps, clip, variance), scheduler, step)

    @pytest.mark.parametrize("eta", [0.0, 0.7])
    def test_ddim(self, schedule, prediction, eta):
        scheduler = DDIMScheduler(**options(schedule, prediction))

        def step(scheduler, output, t, y, noise):
            return scheduler.step(output, t, y, eta=eta, variance_noise=noise if eta else None).prev_sample

        follow(DDIMSampler(GaussianDiffusion(1000, schedule, prediction), 50, eta=eta), scheduler, step)

    @pytest.mark.parametrize("order, steps", [(1, 10), (2, 10), (2, 25)])
    def test_dpm_solver(self, schedule, prediction, order, steps):
        scheduler = DPMSolverMultistepScheduler(**options(schedule, prediction, solver_order=order))

        def step(scheduler, output, t, y, _):
            return scheduler.step(output, t, y).prev_sample

        # Theirs rounds samples to float32.
        follow(DPMSolver(GaussianDiffusion(1000, schedule, prediction), steps, order=order), scheduler, step, "float32")


def unets(**more):
    torch.manual_seed(0)
    theirs = UNet2DModel(
        sample_size=8,
        block_out_channels=(16, 32, 32),
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=8,
        **more,
    )
    config = UNet2DConfig(block_out_channels=(16, 32, 32), attention=(False, True, False), norm_num_groups=8, **more)
    dl.manual_seed(0)
    return UNet2D(config), theirs


def test_unet():
    """The same names in the same order, the same outputs and gradients from the same weights."""
    ours, theirs = unets(layers_per_block=1)
    assert [(k, v.shape) for k, v in ours.state_dict().items()] == [
        (k, tuple(v.shape)) for k, v in theirs.state_dict().items()
    ]
    t = np.array([3, 977])

    def call(module, x):
        return module(x, dl.tensor(t)) if module is ours else module(x, torch.tensor(t)).sample

    convolutions = sum(isinstance(m, torch.nn.Conv2d) for m in theirs.modules())
    check(ours, theirs, normal(2, 3, 8, 12), call=call, products=convolutions)


def test_unet_told_classes():
    ours, theirs = unets(num_class_embeds=5)
    load_into_torch(ours, theirs)
    x, t, labels = normal(2, 3, 8, 8), np.array([0, 500]), np.array([4, 1])
    with torch.no_grad():
        expected = theirs.eval()(to_torch(x), torch.tensor(t), torch.tensor(labels)).sample
        truth = theirs.double()(to_torch(x).double(), torch.tensor(t), torch.tensor(labels)).sample
    y = ours.eval()(dl.tensor(x), dl.tensor(t), dl.tensor(labels))
    assert_as_good(y, expected, truth, products=30)


def test_ema():
    ours = nn.Linear(3, 2)
    theirs = load_into_torch(ours, torch.nn.Linear(3, 2))
    average, their_average = EMA(ours, 0.4), EMAModel(theirs.parameters(), decay=0.4)
    for i in range(8):
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            step = np.full(p.shape, 0.1 * i, np.float32)
            with dl.no_grad(), torch.no_grad():
                p += dl.tensor(step)
                q += torch.from_numpy(step)
        average.update()
        their_average.step(theirs.parameters())
        for a, b in zip(average.average.values(), their_average.shadow_params, strict=True):
            assert np.abs(a.numpy() - b.numpy()).max() <= 8 * 8 * EPS["float32"]  # updates of numbers below 4
