"""Networks: modules, their parameters, losses and initial values."""

from dlcore import functional as functional
from dlcore.nn import init as init
from dlcore.nn import utils as utils
from dlcore.nn.activation import *
from dlcore.nn.attention import *
from dlcore.nn.container import *
from dlcore.nn.conv import *
from dlcore.nn.linear import *
from dlcore.nn.loss import *
from dlcore.nn.module import *
from dlcore.nn.normalization import *
from dlcore.nn.parameter import *
from dlcore.nn.plan import *
from dlcore.nn.pooling import *
from dlcore.nn.recurrent import *
