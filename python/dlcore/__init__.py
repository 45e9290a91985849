"""dlcore: a small, fast deep-learning core."""

# First: importing the submodule binds the name `tensor`, which the function of `dlcore.ops` then takes for good.
from dlcore.tensor import Tensor

# isort: split
from typing import TYPE_CHECKING

from dlcore import _C
from dlcore._C import bfloat16, bool_, float32, float64, int32, int64, uint8
from dlcore.amp import autocast, is_autocast_enabled
from dlcore.autograd import Function, grad
from dlcore.ops import *
from dlcore.runtime import *
from dlcore.state import enable_grad, is_grad_enabled, no_grad, set_grad_enabled

__version__: str = _C.version

if not TYPE_CHECKING:  # type checkers see a submodule where it is imported

    def __getattr__(name: str) -> object:
        """Submodules such as `dlcore.nn` are imported when they are first asked for: most programs need few of them."""
        import importlib
        import importlib.util

        if name.startswith("_") or importlib.util.find_spec(f"dlcore.{name}") is None:
            raise AttributeError(f"module 'dlcore' has no attribute {name!r}")
        return importlib.import_module(f"dlcore.{name}")
