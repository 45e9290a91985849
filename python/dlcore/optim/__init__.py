"""Optimisers and learning rate schedules, by PyTorch's names and formulas."""

from dlcore.optim import lr_scheduler as lr_scheduler
from dlcore.optim.adagrad import *
from dlcore.optim.adam import *
from dlcore.optim.optimizer import *
from dlcore.optim.rmsprop import *
from dlcore.optim.sgd import *
