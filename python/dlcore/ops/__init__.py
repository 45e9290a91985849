"""Every operation, by family: one file here, one in cpp/ops, one folder in cpp/kernels and one in tests/opcases."""

from dlcore.ops.activation import *
from dlcore.ops.attention import *
from dlcore.ops.batch_norm import *
from dlcore.ops.conv import *
from dlcore.ops.copy import *
from dlcore.ops.creation import *
from dlcore.ops.elementwise import *
from dlcore.ops.embedding import *
from dlcore.ops.gather import *
from dlcore.ops.index import *
from dlcore.ops.join import *
from dlcore.ops.loss import *
from dlcore.ops.mask import *
from dlcore.ops.matmul import *
from dlcore.ops.norm import *
from dlcore.ops.pool import *
from dlcore.ops.random import *
from dlcore.ops.reduce import *
from dlcore.ops.repeat import *
from dlcore.ops.rnn import *
from dlcore.ops.shape import *
from dlcore.ops.softmax import *
from dlcore.ops.sort import *
from dlcore.ops.triangle import *
from dlcore.ops.unary import *
