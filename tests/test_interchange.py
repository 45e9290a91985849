"""Memory shared with NumPy and DLPack: no copies, right lifetimes, and errors where no view is possible."""

import gc
import weakref

import numpy as np
import pytest

import dlcore as dl
from dlcore import _C

DTYPES = ("float32", "float64", "int64", "int32", "uint8", "bool")


def sample(dtype, shape=(3, 4)):
    return (np.arange(np.prod(shape)) % 7).reshape(shape).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_from_numpy_shares_the_memory(dtype):
    array = sample(dtype)
    tensor = dl.from_numpy(array)
    assert tensor.data_ptr() == array.ctypes.data
    assert tensor.dtype.name == dtype and tensor.shape == array.shape
    array[1, 2] = 1
    array[0, 0] = 0
    np.testing.assert_array_equal(tensor.numpy(), array)


@pytest.mark.parametrize("dtype", DTYPES)
def test_to_numpy_shares_the_memory(dtype):
    tensor = dl.tensor(sample(dtype))
    for array in (tensor.numpy(), np.asarray(tensor), np.frombuffer(tensor, dtype=dtype).reshape(3, 4)):
        assert array.ctypes.data == tensor.data_ptr()
        assert array.dtype == dtype and array.flags.writeable
        np.testing.assert_array_equal(array, sample(dtype))


def test_tensor_copies_and_asarray_does_not():
    array = sample("float32")
    assert dl.tensor(array).data_ptr() != array.ctypes.data
    assert dl.asarray(array).data_ptr() == array.ctypes.data
    tensor = dl.tensor(array)
    assert dl.asarray(tensor).data_ptr() == tensor.data_ptr()


def test_an_array_lives_as_long_as_its_tensor():
    array = np.arange(1000.0)
    gone = weakref.ref(array)
    tensor = dl.from_numpy(array)
    del array
    gc.collect()
    assert gone() is not None
    np.testing.assert_array_equal(tensor.numpy(), np.arange(1000.0))
    view = tensor[10:20]
    del tensor
    gc.collect()
    np.testing.assert_array_equal(view.numpy(), np.arange(10.0, 20.0))
    del view
    gc.collect()
    assert gone() is None


def test_a_tensors_memory_lives_as_long_as_its_arrays():
    before = dl.memory_stats()["live"]
    tensor = dl.tensor(np.arange(1000.0))
    array = tensor.numpy()[5:]
    del tensor
    dl.tensor(np.zeros(1000))  # would reuse the block if it were free
    np.testing.assert_array_equal(array, np.arange(5.0, 1000.0))
    assert dl.memory_stats()["live"] > before
    del array
    assert dl.memory_stats()["live"] == before


def test_round_trips_keep_the_memory_and_its_owner():
    array = np.arange(12.0).reshape(3, 4)
    back = dl.from_numpy(dl.from_numpy(array).numpy()).numpy()
    assert back.ctypes.data == array.ctypes.data
    expected = array.copy()
    del array
    gc.collect()
    np.testing.assert_array_equal(back, expected)


VIEWS = {
    "transposed": lambda a: a.T,
    "stepped": lambda a: a[::2, 1::2],
    "reversed": lambda a: a[::-1, ::-1],
    "column": lambda a: a[:, 1],
    "expanded": lambda a: np.broadcast_to(a[:1], (5, a.shape[1])),
    "zero-dimensional": lambda a: a[1, 1, ...],
    "empty": lambda a: a[:, :0],
    "fortran": np.asfortranarray,
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_strided_views_both_ways(view, dtype):
    array = VIEWS[view](sample(dtype, (4, 6)))
    tensor = dl.from_numpy(array)
    assert tensor.shape == array.shape
    if array.size:
        assert tensor.data_ptr() == array.ctypes.data
        assert tuple(s * array.itemsize for s in tensor.strides) == array.strides or 1 in array.shape
    np.testing.assert_array_equal(tensor.numpy(), array)
    np.testing.assert_array_equal(dl.tensor(array).numpy(), array)
    assert dl.tensor(array).is_contiguous()


def test_read_only_memory_is_never_written():
    array = sample("float32")
    array.flags.writeable = False
    tensor = dl.from_numpy(array)
    assert not tensor._writable
    assert not tensor.numpy().flags.writeable
    with pytest.raises(ValueError, match=r"\[copy_\] the tensor is a view of read-only memory"):
        _C.copy_into(dl.tensor(1.0), tensor)
    np.testing.assert_array_equal(array, sample("float32"))
    assert dl.tensor(array)._writable


def test_misaligned_data_are_refused_or_copied():
    raw = np.zeros(4 * 8 + 1, np.uint8)
    array = raw[1:].view("float32")
    array[:] = np.arange(8)
    with pytest.raises(ValueError, match="not aligned to its 4-byte elements; copy it first"):
        dl.from_numpy(array)
    np.testing.assert_array_equal(dl.tensor(array).numpy(), np.arange(8, dtype="float32"))
    record = np.zeros(3, dtype=[("tag", "u1"), ("value", "<f4")])
    with pytest.raises(ValueError, match="not aligned"):
        dl.from_numpy(record["value"])


def test_foreign_byte_order():
    big = np.arange(5, dtype=">f4")
    with pytest.raises(TypeError, match=r"\[from_numpy\] expected float32.*got format '>f'"):
        dl.from_numpy(big)
    np.testing.assert_array_equal(dl.tensor(big).numpy(), np.arange(5, dtype="float32"))


@pytest.mark.parametrize("dtype", ["float16", "complex64", "int16", "uint32", "S3", "datetime64[s]", "O"])
def test_dtypes_without_a_counterpart(dtype):
    array = np.zeros(3, dtype)
    with pytest.raises((TypeError, ValueError)):
        dl.from_numpy(array)


def test_more_than_eight_dimensions():
    with pytest.raises(ValueError, match="at most 8 dimensions are supported, got 9"):
        dl.from_numpy(np.zeros((1,) * 9, "float32"))


def test_not_an_array():
    with pytest.raises(TypeError, match=r"\[from_numpy\] expected a numpy.ndarray, got list"):
        dl.from_numpy([1, 2])


def test_bfloat16_goes_to_numpy_as_a_converted_copy():
    tensor = dl.tensor([1.0, 1.00390625, -2.5], dtype=dl.bfloat16)
    assert tensor.numpy().dtype == np.float32
    np.testing.assert_array_equal(tensor.numpy(), [1.0, 1.0, -2.5])
    with pytest.raises(BufferError, match="bfloat16 has no NumPy dtype"):
        memoryview(tensor)


def test_array_protocol_arguments():
    tensor = dl.tensor([1.5, 2.5])
    assert np.asarray(tensor, dtype="float64").dtype == np.float64
    copied = np.array(tensor)
    copied[0] = 7
    assert tensor.tolist() == [1.5, 2.5]
    with pytest.raises(ValueError, match="allow a copy"):
        tensor.__array__("float64", copy=False)
    assert tensor.__array__("float32", copy=False).ctypes.data == tensor.data_ptr()


class Producer:
    """Offers a tensor or array through DLPack, as a library from before or after version 1.0 does."""

    def __init__(self, owner, versioned):
        self.owner, self.versioned = owner, versioned

    def __dlpack_device__(self):
        return (1, 0)

    def __dlpack__(self, **kwargs):
        if self.versioned:
            return self.owner.__dlpack__(max_version=(1, 0))
        if kwargs:
            raise TypeError("unexpected keyword argument")
        return self.owner.__dlpack__()


@pytest.mark.parametrize("versioned", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_dlpack_from_numpy(dtype, versioned):
    array = sample(dtype)
    gone = weakref.ref(array)
    tensor = dl.from_dlpack(Producer(array, versioned))
    assert tensor.data_ptr() == array.ctypes.data
    del array
    gc.collect()
    np.testing.assert_array_equal(tensor.numpy(), sample(dtype))
    del tensor
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("versioned", [False, True])
@pytest.mark.parametrize("view", [v for v in VIEWS if v != "expanded"])
def test_dlpack_to_numpy(view, versioned):
    base = sample("float32", (4, 6))
    tensor = dl.tensor(base)
    strided = dl.from_numpy(VIEWS[view](tensor.numpy()))
    array = np.from_dlpack(Producer(strided, versioned))
    np.testing.assert_array_equal(array, VIEWS[view](base))
    if array.size:
        assert array.ctypes.data == strided.data_ptr()
    del tensor, strided
    gc.collect()
    dl.zeros((4, 6))
    np.testing.assert_array_equal(array, VIEWS[view](base))


def test_dlpack_memory_is_freed_with_the_last_owner():
    before = dl.memory_stats()["live"]
    tensor = dl.zeros((1000,))
    capsule = tensor.__dlpack__(max_version=(1, 0))
    del tensor
    assert dl.memory_stats()["live"] > before
    del capsule  # never consumed: its destructor frees
    assert dl.memory_stats()["live"] == before


def test_dlpack_keeps_read_only_apart():
    array = sample("float32")
    array.flags.writeable = False
    tensor = dl.from_numpy(array)
    assert not np.from_dlpack(Producer(tensor, True)).flags.writeable
    with pytest.raises(ValueError, match="a read-only tensor can be shared with DLPack 1.0 consumers only"):
        tensor.__dlpack__()
    assert not dl.from_dlpack(Producer(tensor, True))._writable


def test_dlpack_carries_bfloat16():
    tensor = dl.tensor([1.0, -2.5], dtype=dl.bfloat16)
    back = dl.from_dlpack(tensor)
    assert back.dtype is dl.bfloat16 and back.data_ptr() == tensor.data_ptr()
    assert back.float().tolist() == [1.0, -2.5]


def test_dlpack_refusals():
    tensor = dl.tensor([1.0], requires_grad=True)
    with pytest.raises(BufferError, match="requires a gradient, which does not travel; use detach()"):
        tensor.__dlpack__()
    with pytest.raises(BufferError, match="the data lie on the CPU, got a request for DLPack device"):
        tensor.detach().__dlpack__(dl_device=(2, 0))
    with pytest.raises(TypeError, match="expected an object with __dlpack__, got list"):
        dl.from_dlpack([1])
    with pytest.raises(TypeError, match="no dtype for DLPack type code"):
        dl.from_dlpack(np.zeros(3, "complex64"))
    capsule = dl.tensor([1.0]).__dlpack__()
    _C.from_dlpack(capsule)
    with pytest.raises(ValueError, match="expected an unused DLPack capsule, got one named 'used_dltensor'"):
        _C.from_dlpack(capsule)


def test_dlpack_copy():
    tensor = dl.tensor([1.0, 2.0])

    class Copying(Producer):
        def __dlpack__(self, **kwargs):
            return self.owner.__dlpack__(max_version=(1, 0), copy=True)

    assert dl.from_dlpack(Copying(tensor, True)).data_ptr() != tensor.data_ptr()


def test_memoryview_attributes():
    view = memoryview(dl.tensor(sample("int32", (2, 3))))
    assert (view.format, view.shape, view.strides, view.readonly) == ("i", (2, 3), (12, 4), False)
    assert view.tolist() == sample("int32", (2, 3)).tolist()
    assert bytes(memoryview(dl.tensor(np.arange(3, dtype="uint8")))) == b"\x00\x01\x02"
