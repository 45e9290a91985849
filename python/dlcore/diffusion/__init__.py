"""Denoising diffusion: the process, the samplers that go back along it, and averaged weights."""

from dlcore.diffusion.ema import *
from dlcore.diffusion.gaussian import *
from dlcore.diffusion.samplers import *
