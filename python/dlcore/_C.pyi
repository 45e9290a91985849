"""Native core of dlcore. Written by tools/make_stub.py: edit the bindings in cpp/, not this file."""

from collections.abc import Sequence
from typing import Any

from dlcore.tensor import Tensor as _Tensor  # what every native function returns: see set_tensor_class

class dtype:
    """The type of a tensor's elements."""

    @property
    def name(self) -> str:
        """Such as 'float32'."""

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""

    @property
    def is_floating_point(self) -> bool:
        """True for float32, bfloat16 and float64."""

_DType = dtype  # Tensor has an attribute of that name

class Tensor:
    """A strided, typed array in memory: the base of dlcore.Tensor."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the dimensions, as a tuple."""

    @property
    def strides(self) -> tuple[int, ...]:
        """Steps between neighbours along each dimension, in elements."""

    @property
    def dtype(self) -> _DType:
        """The element type, such as dlcore.float32."""

    @property
    def ndim(self) -> int:
        """The number of dimensions."""

    @property
    def device(self) -> str:
        """Where the data lies: 'cpu'."""

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""

    @property
    def _version(self) -> int:
        """How often the storage was written in place."""

    @property
    def _writable(self) -> bool:
        """False for a view of read-only foreign memory."""

    grad: _Tensor | None
    """The gradient that backward() accumulated, or None."""

    _node: Any
    """The Function that made this tensor, or None for a leaf."""

    _hooks: list[Any] | None
    """Gradient hooks of a leaf."""

    _index: int
    """Which output of its node this is."""

    requires_grad: bool
    """Whether gradients flow to this tensor."""

    def numel(self) -> int:
        """The number of elements."""

    def is_contiguous(self) -> bool:
        """Whether the elements lie in row-major order without gaps."""

    def data_ptr(self) -> int:
        """The address of the first element."""

    def _storage_ptr(self) -> int:
        """Identity of the storage: equal for views of the same memory."""

    def _storage_users(self) -> int:
        """How many tensors share the storage."""

    def __buffer__(self, flags: int, /) -> memoryview: ...

bfloat16: dtype
bool_: dtype
float32: dtype
float64: dtype
int32: dtype
int64: dtype
uint8: dtype

compiler: str
version: str

def alias(x: Tensor) -> _Tensor:
    """Another tensor object over the same memory, without history."""

def all(x: Tensor, dim: int | Sequence[int] | None, keepdim: bool) -> _Tensor:
    """Whether all elements over axes are not zero."""

def amax(x: Tensor, dim: int | Sequence[int] | None, keepdim: bool) -> _Tensor:
    """Largest element over axes; NaN where there is one."""

def amin(x: Tensor, dim: int | Sequence[int] | None, keepdim: bool) -> _Tensor:
    """Smallest element over axes; NaN where there is one."""

def any(x: Tensor, dim: int | Sequence[int] | None, keepdim: bool) -> _Tensor:
    """Whether any element over axes is not zero."""

def argmax(x: Tensor, dim: int | None, keepdim: bool) -> _Tensor:
    """Index of the largest element; None: in the flattened tensor."""

def argmin(x: Tensor, dim: int | None, keepdim: bool) -> _Tensor:
    """Index of the smallest element; None: in the flattened tensor."""

def available_cores() -> int:
    """Cores allowed by the affinity mask and the cgroup quota."""

def broadcast_shapes(a: int | Sequence[int], b: int | Sequence[int]) -> tuple[int, ...]:
    """The shape that two shapes broadcast to."""

def cast(x: Tensor, dtype: Any) -> _Tensor:
    """x converted to a dtype; x itself where nothing changes."""

def cat(xs: Sequence[Tensor], dim: int) -> _Tensor:
    """Tensors joined along a dimension they have."""

def clone(x: Tensor) -> _Tensor:
    """A contiguous copy."""

def contiguous(x: Tensor) -> _Tensor:
    """x in row-major order: x itself where it already is, else a copy."""

def copy_into(x: Tensor, y: Tensor) -> None:
    """Writes x into y, broadcasting and converting."""

def cumsum(x: Tensor, dim: int, reverse: bool) -> _Tensor:
    """Running sums along an axis, from its end in reverse; integers and bool add up in int64."""

def empty(shape: int | Sequence[int], dtype: Any) -> _Tensor:
    """A new tensor with unset elements."""

def empty_cache() -> None:
    """Gives free blocks back to the system."""

def expand(x: Tensor, shape: int | Sequence[int]) -> _Tensor:
    """Dimensions of size one repeated by a stride of zero; a view."""

def fma_peak(seconds: float = 0.1) -> float:
    """The machine's peak in float32 operations per second, measured with fused multiply-adds in registers."""

def from_buffer(Any: Any) -> _Tensor:
    """A tensor over the memory of an object with the buffer protocol; no copy."""

def from_dlpack(capsule: Any) -> _Tensor:
    """A tensor over the memory of a DLPack capsule; no copy."""

def full(scalar: Tensor, shape: int | Sequence[int]) -> _Tensor:
    """A new tensor of one value, given as a 0-d tensor."""

def index_view(x: Tensor, key: Any) -> _Tensor:
    """x[key] as a view for integers, slices, None and Ellipsis; None where the key needs a copy."""

def kernel_names() -> list[str]:
    """Names of all registered kernels."""

def logsumexp(x: Tensor, dim: int | Sequence[int] | None, keepdim: bool) -> _Tensor:
    """Logarithm of the sum of exponentials over axes."""

def max_along(x: Tensor, dim: int, keepdim: bool) -> tuple[_Tensor, _Tensor]:
    """Largest elements along an axis and their indices."""

def mean(x: Tensor, dim: int | Sequence[int] | None, keepdim: bool) -> _Tensor:
    """Mean over axes."""

def memory_stats() -> dict[str, int]:
    """Figures of the caching allocator, in bytes and counts."""

def min_along(x: Tensor, dim: int, keepdim: bool) -> tuple[_Tensor, _Tensor]:
    """Smallest elements along an axis and their indices."""

def norm1(x: Tensor, dim: int | Sequence[int] | None, keepdim: bool) -> _Tensor:
    """Sum of magnitudes over axes."""

def norm2(x: Tensor, dim: int | Sequence[int] | None, keepdim: bool) -> _Tensor:
    """Root of the sum of squares over axes."""

def num_threads() -> int:
    """How many threads kernels use."""

def pad(x: Tensor, before: int | Sequence[int], after: int | Sequence[int], value: Tensor) -> _Tensor:
    """x with elements added (negative: cut) at both ends of each dimension; value is a 0-d tensor."""

def permute(x: Tensor, axes: int | Sequence[int]) -> _Tensor:
    """Axes reordered; a view."""

def prod(x: Tensor, dim: int | Sequence[int] | None, keepdim: bool) -> _Tensor:
    """Product over axes; integers and bool multiply in int64."""

def promote_types(a: Any, b: Any) -> dtype:
    """The dtype of an operation on two tensors."""

def reinterpret(x: Tensor, dtype: Any, shape: int | Sequence[int]) -> _Tensor:
    """The memory of a contiguous tensor seen as another dtype and shape of as many bytes; no copy."""

def reset_peak_memory() -> None:
    """Sets the peak to what is live now."""

def reshape(x: Tensor, shape: int | Sequence[int]) -> _Tensor:
    """The same elements in another shape; a copy only where no view can show it."""

def select(x: Tensor, axis: int, index: int) -> _Tensor:
    """One index along an axis, which goes away; a view."""

def set_memory_limit(bytes: int) -> None:
    """Limits the allocator; 0 lifts the limit."""

def set_num_threads(n: int) -> None:
    """Sets how many threads kernels use."""

def set_target(name: str) -> None:
    """Chooses among reference, baseline, avx2 and avx512."""

def set_tensor_class(cls: type) -> None:
    """Sets the class that every native function returns."""

def slice(x: Tensor, axis: int, start: int, stop: int, step: int) -> _Tensor:
    """A range along one axis; a view."""

def squeeze(x: Tensor, axis: int) -> _Tensor:
    """An axis of size one removed; a view."""

def stack(xs: Sequence[Tensor], dim: int) -> _Tensor:
    """Tensors of one shape joined along a new dimension."""

def sum(x: Tensor, dim: int | Sequence[int] | None, keepdim: bool) -> _Tensor:
    """Sum over axes (None: all); integers and bool add up in int64."""

def supported_targets() -> list[str]:
    """The targets that this CPU runs."""

def target() -> str:
    """The instruction set in use."""

def to_dlpack(x: Tensor, versioned: bool) -> Any:
    """A DLPack capsule that shares the tensor's memory."""

def transpose(x: Tensor, a: int, b: int) -> _Tensor:
    """Two axes swapped; a view."""

def unsqueeze(x: Tensor, axis: int) -> _Tensor:
    """An axis of size one added; a view."""

def var(x: Tensor, dim: int | Sequence[int] | None, correction: float, keepdim: bool) -> _Tensor:
    """Variance over axes."""

def view(x: Tensor, shape: int | Sequence[int]) -> _Tensor:
    """The same memory in another shape."""

def zeros(shape: int | Sequence[int], dtype: Any) -> _Tensor:
    """A new tensor of zeros."""
