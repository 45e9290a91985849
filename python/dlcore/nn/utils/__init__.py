"""Clipping of gradients, folding of batch norm, packing of weights, and sequences of different lengths."""

from dlcore.nn.utils import rnn as rnn
from dlcore.nn.utils.clip_grad import *
from dlcore.nn.utils.fusion import *
from dlcore.nn.utils.prepack import *
