"""New tensors: from data, filled, or as ranges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dlcore import _C

if TYPE_CHECKING:
    from typing import TypeGuard

    from dlcore.tensor import Tensor

__all__ = [
    "arange",
    "asarray",
    "empty",
    "empty_like",
    "eye",
    "from_dlpack",
    "from_numpy",
    "full",
    "full_like",
    "linspace",
    "ones",
    "ones_like",
    "tensor",
    "zeros",
    "zeros_like",
]


def is_tensor(x: Any) -> TypeGuard[Tensor]:
    """Whether `x` is a Tensor, the only class of which native functions make tensors (`_C.set_tensor_class`)."""
    return isinstance(x, _C.Tensor)


def check_device(device: Any, op: str) -> str:
    """ "cpu" or "cuda", the CPU for None; "cuda:0" is the only index. ValueError says why a device is not available."""
    if device is None or device == "cpu":
        return "cpu"
    name = "cuda" if str(device) == "cuda:0" else str(device)
    why_not = _C.why_no_device("cuda") if name == "cuda" else "expected 'cpu', 'cuda' or 'cuda:0'"
    if why_not:
        raise ValueError(f"[{op}] device {str(device)!r} is not available: {why_not}")
    return name


def named_device(targets: tuple[Any, ...], dtype: Any, device: Any) -> tuple[Any, Any]:
    """(dtype, device) of a call like ``to("cuda", dlcore.bfloat16)``, where each may come by position or by name."""
    for target in targets:
        if isinstance(target, str) and target.split(":")[0] in ("cpu", "cuda"):
            device = target
        else:
            dtype = target
    return dtype, device


def _leaf(t: Tensor, requires_grad: bool, op: str) -> Tensor:
    if requires_grad:
        if not t.dtype.is_floating_point:
            raise TypeError(f"[{op}] only floating dtypes can require a gradient, got {t.dtype!r}")
        t.requires_grad = True
    return t


def _to_numpy(data: Any, op: str) -> np.ndarray:
    try:
        array = np.asarray(data)
    except ValueError as e:
        raise ValueError(f"[{op}] the nested sequence is ragged: {e}") from None
    if array.dtype == object or array.dtype.kind not in "biuf":
        raise TypeError(f"[{op}] expected numbers, got {type(data).__name__} with NumPy dtype {array.dtype}")
    if array.dtype in (np.float16, np.longdouble):
        return array.astype(np.float32 if array.dtype == np.float16 else np.float64)
    if array.dtype.kind in "iu" and array.dtype not in (np.int64, np.int32, np.uint8):
        if array.dtype == np.uint64 and array.size and array.max() > np.iinfo(np.int64).max:
            raise ValueError(f"[{op}] a uint64 value of {array.max()} does not fit into int64")
        return array.astype(np.int64)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def tensor(data: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A new tensor holding a copy of `data`: a number, nested sequences, an array or a tensor.

    Python floats become float32 and integers int64, arrays keep their dtype; `dtype` overrides.

    Raises:
        TypeError: the data are not numbers, or an integer tensor is asked to require a gradient.
        ValueError: a ragged nested sequence, or a device that does not exist.
    """
    place = check_device(device, "tensor")
    if isinstance(data, _C.Tensor):
        copy = _C.clone(data)
        copy = copy if device is None else _C.to_device(copy, place)
        return _leaf(copy if dtype is None else _C.cast(copy, dtype), requires_grad, "tensor")
    array = _to_numpy(data, "tensor")
    if dtype is None and array.dtype == np.float64 and not isinstance(data, (np.ndarray, np.generic)):
        dtype = _C.float32
    theirs = _C.from_buffer(np.require(array, requirements="A"))
    ours = theirs if dtype is None else _C.cast(theirs, dtype)
    if ours._storage_ptr() == theirs._storage_ptr():
        ours = _C.clone(theirs)
    return _leaf(_C.to_device(ours, place), requires_grad, "tensor")


def from_numpy(array: np.ndarray) -> Tensor:
    """A tensor that shares the array's memory; read-only where the array is.

    Raises:
        TypeError: not an array, or a dtype without a counterpart.
        ValueError: misaligned data; copy the array first.
    """
    if not isinstance(array, np.ndarray):
        raise TypeError(f"[from_numpy] expected a numpy.ndarray, got {type(array).__name__}")
    return _C.from_buffer(array)


def from_dlpack(source: Any) -> Tensor:
    """A tensor that shares the memory of any object with `__dlpack__` (PyTorch, JAX, NumPy …) on the CPU."""
    if not hasattr(source, "__dlpack__"):
        raise TypeError(f"[from_dlpack] expected an object with __dlpack__, got {type(source).__name__}")
    if hasattr(source, "__dlpack_device__") and source.__dlpack_device__()[0] != 1:
        raise ValueError("[from_dlpack] expected data on the CPU")
    try:
        capsule = source.__dlpack__(max_version=(1, 0))
    except TypeError:  # a producer from before DLPack 1.0
        capsule = source.__dlpack__()
    return _C.from_dlpack(capsule)


def asarray(data: Any, dtype: Any = None) -> Tensor:
    """`data` as a tensor, sharing memory where possible: tensors, arrays and DLPack producers are not copied."""
    if is_tensor(data):
        t = data
    elif isinstance(data, np.ndarray) and data.dtype.isnative and data.flags.aligned and data.dtype.kind in "biuf":
        converted = _to_numpy(data, "asarray")
        t = _C.from_buffer(converted)
    elif hasattr(data, "__dlpack__") and not isinstance(data, np.generic):
        t = from_dlpack(data)
    else:
        return tensor(data, dtype)
    return t if dtype is None else _C.cast(t, dtype)


def full(shape: Any, fill_value: float, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of one value; the dtype is float32 for floats, int64 for integers, bool for booleans unless given."""
    place = check_device(device, "full")
    return _leaf(_C.full(tensor(fill_value, dtype, place), shape), requires_grad, "full")


def zeros(shape: Any, dtype: Any = _C.float32, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of zeros."""
    return _leaf(_C.zeros(shape, dtype, check_device(device, "zeros")), requires_grad, "zeros")


def ones(shape: Any, dtype: Any = _C.float32, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of ones."""
    return _leaf(_C.full(tensor(1, dtype, check_device(device, "ones")), shape), requires_grad, "ones")


def empty(shape: Any, dtype: Any = _C.float32, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor whose elements are not set."""
    return _leaf(_C.empty(shape, dtype, check_device(device, "empty")), requires_grad, "empty")


def zeros_like(x: Tensor, dtype: Any = None) -> Tensor:
    """Zeros in the shape and dtype and on the device of `x`."""
    return zeros(x.shape, x.dtype if dtype is None else dtype, x.device)


def ones_like(x: Tensor, dtype: Any = None) -> Tensor:
    """Ones in the shape and dtype and on the device of `x`."""
    return ones(x.shape, x.dtype if dtype is None else dtype, x.device)


def empty_like(x: Tensor, dtype: Any = None) -> Tensor:
    """Unset elements in the shape and dtype and on the device of `x`."""
    return empty(x.shape, x.dtype if dtype is None else dtype, x.device)


def full_like(x: Tensor, fill_value: float, dtype: Any = None) -> Tensor:
    """One value in the shape and dtype and on the device of `x`."""
    return full(x.shape, fill_value, x.dtype if dtype is None else dtype, x.device)


def arange(start: float, end: float | None = None, step: float = 1, dtype: Any = None, device: Any = None) -> Tensor:
    """start, start + step, … before `end`; `arange(n)` counts from 0. int64 for integers, float32 otherwise."""
    if end is None:
        start, end = 0, start
    if step == 0:
        raise ValueError("[arange] step must not be zero")
    values = np.arange(start, end, step)
    if dtype is None and values.dtype.kind == "f":
        dtype = _C.float32
    return tensor(values, dtype, check_device(device, "arange"))


def linspace(start: float, end: float, steps: int, dtype: Any = _C.float32, device: Any = None) -> Tensor:
    """`steps` evenly spaced numbers from `start` to `end`, both included."""
    if steps < 0:
        raise ValueError(f"[linspace] steps must not be negative, got {steps}")
    return tensor(np.linspace(start, end, steps), dtype, check_device(device, "linspace"))


def eye(n: int, m: int | None = None, dtype: Any = _C.float32, device: Any = None) -> Tensor:
    """The n x m matrix (m = n by default) with ones on its diagonal."""
    if n < 0 or (m is not None and m < 0):
        raise ValueError(f"[eye] sizes must not be negative, got n={n}, m={m}")
    return tensor(np.eye(n, m), dtype, check_device(device, "eye"))
