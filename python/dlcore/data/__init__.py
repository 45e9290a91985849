"""Data: datasets, the order they are read in, and a loader that reads ahead in background threads."""

from dlcore.data.collate import *
from dlcore.data.dataset import *
from dlcore.data.loader import *
from dlcore.data.sampler import *
from dlcore.data.text import *
