"""Bayes' theorem at work: conjugate updates, posteriors on a grid, and the most likely or most probable parameters."""

from dlcore.bayes.conjugate import *
from dlcore.bayes.fit import *
from dlcore.bayes.grid import *
