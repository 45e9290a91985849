"""Models, one file each, with the configuration on top."""

from dlcore.models.dcgan import *
from dlcore.models.efficientnet import *
from dlcore.models.gan import *
from dlcore.models.gpt2 import *
from dlcore.models.lenet import *
from dlcore.models.linear_regression import *
from dlcore.models.mlp import *
from dlcore.models.resnet import *
from dlcore.models.unet2d import *
from dlcore.models.vae import *
