"""Functions under the names of PyTorch's `torch.nn.functional`: the same ones as in `dlcore.ops`."""

from dlcore.ops import dropout

__all__ = ["dropout"]
