"""Files: safetensors by memory map, and checkpoints that survive a crash at any moment."""

from dlcore.io.checkpoint import *
from dlcore.io.safetensors import *
