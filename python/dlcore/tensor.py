"""The Tensor: `_C.Tensor` plus operators, methods and gradients. Methods come from the families in `dlcore.ops`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dlcore import _C
from dlcore.autograd import HookHandle
from dlcore.ops.activation import ActivationMethods
from dlcore.ops.attention import AttentionMethods
from dlcore.ops.conv import ConvMethods
from dlcore.ops.copy import CopyMethods, cast, to_device
from dlcore.ops.creation import check_device, named_device
from dlcore.ops.elementwise import ElementwiseMethods
from dlcore.ops.embedding import EmbeddingMethods
from dlcore.ops.gather import GatherMethods
from dlcore.ops.index import IndexMethods
from dlcore.ops.inplace import InplaceMethods
from dlcore.ops.join import JoinMethods
from dlcore.ops.loss import LossMethods
from dlcore.ops.mask import MaskMethods
from dlcore.ops.matmul import MatmulMethods
from dlcore.ops.norm import NormMethods
from dlcore.ops.pool import PoolMethods
from dlcore.ops.random import RandomMethods
from dlcore.ops.reduce import ReduceMethods
from dlcore.ops.repeat import RepeatMethods
from dlcore.ops.shape import ShapeMethods
from dlcore.ops.softmax import SoftmaxMethods
from dlcore.ops.sort import SortMethods
from dlcore.ops.triangle import TriangleMethods
from dlcore.ops.unary import UnaryMethods

__all__ = ["Tensor"]


class Tensor(
    ElementwiseMethods,
    UnaryMethods,
    ActivationMethods,
    ReduceMethods,
    MatmulMethods,
    ConvMethods,
    PoolMethods,
    SoftmaxMethods,
    NormMethods,
    AttentionMethods,
    EmbeddingMethods,
    LossMethods,
    RandomMethods,
    CopyMethods,
    ShapeMethods,
    IndexMethods,
    GatherMethods,
    InplaceMethods,
    MaskMethods,
    RepeatMethods,
    TriangleMethods,
    JoinMethods,
    SortMethods,
    _C.Tensor,
):
    """A typed array of up to 8 dimensions that can record how it was computed.

    Made by `dlcore.tensor(data)`, `zeros`, `randn`, `from_numpy` … and by every operation. `requires_grad` asks for
    gradients; `backward()` on a result fills `grad` of the leaves.
    """

    __slots__ = ()

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size along one dimension."""
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        """The number of dimensions."""
        return self.ndim

    @property
    def is_leaf(self) -> bool:
        """True unless an operation recorded this tensor."""
        return self._node is None

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Sets `requires_grad` of a leaf and returns it.

        Raises:
            TypeError: not a floating dtype.
            RuntimeError: not a leaf.
        """
        if requires_grad and not self.dtype.is_floating_point:
            raise TypeError(f"[requires_grad_] only floating dtypes can require a gradient, got {self.dtype!r}")
        if self._node is not None and not requires_grad:
            raise RuntimeError("[requires_grad_] this tensor is the result of an operation; use detach()")
        self.requires_grad = requires_grad
        return self

    def backward(
        self, gradient: Tensor | None = None, retain_graph: bool | None = None, create_graph: bool = False
    ) -> None:
        """Adds d self / d leaf to `grad` of every leaf that this tensor depends on.

        Args:
            gradient: what to propagate, of this tensor's shape; 1 by default, for a single number.
            retain_graph: keep the saved values for another backward.
            create_graph: record the gradients themselves, for higher derivatives.
        """
        _C.run_backward([self], [gradient], retain_graph, create_graph, None, "backward")

    def detach(self) -> Tensor:
        """The same memory without history: gradients stop here."""
        return _C.alias(self)

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> HookHandle:
        """Calls `hook(gradient)` when the gradient of this tensor is known; what it returns replaces the gradient."""
        if not self.requires_grad:
            raise RuntimeError("[register_hook] this tensor does not require a gradient")
        if self._node is None:
            if self._hooks is None:
                self._hooks = []
            self._hooks.append(hook)
            return HookHandle(self._hooks, hook)
        return HookHandle(self._node.add_hook(self._index, hook), hook)

    def retain_grad(self) -> None:
        """Lets `backward` fill `grad` of this result as well, as it does for leaves."""
        if self._node is None:
            return

        def keep(dy: Tensor) -> None:
            self.grad = dy if self.grad is None else self.grad + dy

        self.register_hook(keep)

    def item(self) -> Any:
        """The value of a tensor with one element, as a Python number."""
        if self.numel() != 1:
            raise ValueError(f"[item] expected a tensor with one element, got shape {self.shape}")
        return self._on_host().numpy().reshape(()).item()

    def tolist(self) -> Any:
        """The values as nested Python lists."""
        return self._on_host().numpy().tolist()

    def _on_host(self) -> Tensor:
        """Where its numbers can be read: itself, but for a tensor on a GPU."""
        return self.detach().cpu() if self.is_cuda else self

    def numpy(self) -> np.ndarray:
        """An array over the same memory; a converted copy for bfloat16, which NumPy lacks."""
        source = cast(self.detach(), _C.float32) if self.dtype is _C.bfloat16 else self
        if source.numel() or self.is_cuda:  # which a view refuses
            return np.asarray(memoryview(source))
        return np.empty(source.shape, source.dtype.name)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.numpy()
        if dtype is not None and np.dtype(dtype) != array.dtype:
            if copy is False:
                raise ValueError(f"[__array__] a view of {self.dtype!r} cannot have NumPy dtype {dtype}; allow a copy")
            return array.astype(dtype)
        return array.copy() if copy else array

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        if self.requires_grad:
            raise BufferError("[__dlpack__] the tensor requires a gradient, which does not travel; use detach()")
        if dl_device is not None and dl_device[0] != 1:
            raise BufferError(f"[__dlpack__] the data lie on the CPU, got a request for DLPack device {dl_device}")
        return _C.to_dlpack(_C.clone(self) if copy else self, max_version is not None and max_version[0] >= 1)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (2 if self.is_cuda else 1, 0)

    def to(self, *targets: Any, dtype: Any = None, device: Any = None) -> Tensor:
        """Converted to a dtype and moved to a device: ``x.to(dlcore.float64)``, ``x.to("cuda", dlcore.bfloat16)``.

        Gradients take the way back.

        Raises:
            ValueError: the device is not available; the message says why.
        """
        dtype, device = named_device(targets, dtype, device)
        there = self if device is None else to_device(self, check_device(device, "to"))
        return there if dtype is None else cast(there, dtype)

    def type(self, dtype: Any) -> Tensor:
        """Converted to a dtype."""
        return cast(self, dtype)

    def cpu(self) -> Tensor:
        """On the CPU: the tensor itself where it lies there."""
        return self.to("cpu")

    def cuda(self) -> Tensor:
        """On the GPU: the tensor itself where it lies there."""
        return self.to("cuda")

    @property
    def is_cuda(self) -> bool:
        """Whether the tensor lies on a GPU."""
        return self.device == "cuda"

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("[len] a 0-dimensional tensor has no length")
        return self.shape[0]

    def __iter__(self) -> Any:
        if self.ndim == 0:
            raise TypeError("[iter] a 0-dimensional tensor cannot be iterated over")
        return (self[i] for i in range(self.shape[0]))

    def __bool__(self) -> bool:
        if self.numel() != 1:
            raise ValueError(
                f"[bool] the truth of a tensor with {self.numel()} elements is ambiguous, got shape {self.shape}; "
                "use any() or all()"
            )
        return bool(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.dtype.is_floating_point:
            raise TypeError(f"[index] only an integer tensor can be an index, got {self.dtype!r}")
        return int(self.item())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec and self.numel() == 1 else str(self)

    def __repr__(self) -> str:
        body = np.array2string(self._on_host().numpy(), separator=", ", prefix="tensor(", threshold=1000, precision=4)
        notes = "" if self.device == "cpu" else f", device='{self.device}'"
        notes += "" if self.dtype in (_C.float32, _C.int64, _C.bool_) else f", dtype={self.dtype.name}"
        if self._node is not None:
            notes += f", grad_fn={self._node!r}"
        elif self.requires_grad:
            notes += ", requires_grad=True"
        return f"tensor({body}{notes})"

    __hash__ = _C.Tensor.__hash__

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if self._node is not None:
            raise RuntimeError(
                "[deepcopy] only leaves can be copied with their gradient state; use clone() or detach()"
            )
        made = _C.clone(self)
        made.requires_grad = self.requires_grad
        made.grad = None if self.grad is None else _C.clone(self.grad)
        memo[id(self)] = made
        return made

    def __reduce__(self) -> Any:
        raise TypeError("[pickle] tensors are not pickled; save them with dlcore.io.save_file (safetensors)")


_C.set_tensor_class(Tensor)
