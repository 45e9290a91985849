"""Probability distributions: densities, samples, entropies and divergences, by PyTorch's names."""

from dlcore.distributions.continuous import *
from dlcore.distributions.discrete import *
from dlcore.distributions.distribution import *
from dlcore.distributions.multivariate_normal import *
