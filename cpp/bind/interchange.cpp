// Memory shared with others: the buffer protocol (NumPy) and DLPack, both ways and without a copy.
// Whoever imports keeps the owner alive; whoever exports is kept alive by the consumer's deleter.
#include <cstring>
#include <memory>

#include "bind/py_tensor.h"

namespace py = pybind11;

namespace dl {
namespace {

// struct-module codes; bfloat16 has none, so it travels by DLPack alone.
const char* buffer_format(DType t) {
  switch (t) {
    case DType::float32: return "f";
    case DType::float64: return "d";
    case DType::int64: return "q";
    case DType::int32: return "i";
    case DType::uint8: return "B";
    case DType::boolean: return "?";
    default: return nullptr;
  }
}

DType dtype_of_buffer(const Py_buffer& view) {
  const char* f = view.format ? view.format : "B";
  if (*f == '@' || *f == '=' || *f == '<') ++f;
  if (f[0] && !f[1]) {
    const char c = f[0];
    if (c == 'f') return DType::float32;
    if (c == 'd') return DType::float64;
    if (c == '?') return DType::boolean;
    if (c == 'B') return DType::uint8;
    const bool is_signed = c == 'i' || c == 'l' || c == 'q' || c == 'n';
    if (is_signed && view.itemsize == 8) return DType::int64;
    if (is_signed && view.itemsize == 4) return DType::int32;
  }
  throw TypeError(cat("[from_numpy] expected float32, float64, int64, int32, uint8 or bool data, got format '",
                      view.format ? view.format : "B",
                      "'; convert it first, such as with array.astype(numpy.float32)"));
}

// Runs at the last owner's death, on whatever thread that happens.
template <class F> std::function<void()> under_gil(F body) {
  return [body = std::move(body)] {
    if (!Py_IsInitialized()) return;
    py::gil_scoped_acquire gil;
    body();
  };
}

Tensor from_foreign(void* data, bool writable, const Dims& shape, const Dims& strides, DType dtype,
                    std::function<void()> release) {
  const int64_t n = checked_numel(shape, dtype, "from_numpy");
  auto storage =
      std::make_shared<Storage>(data, static_cast<size_t>(n) * itemsize(dtype), writable, std::move(release));
  return Tensor::from_storage(std::move(storage), 0, shape, strides, dtype);
}

Tensor from_buffer(py::object object) {
  auto view = std::make_unique<Py_buffer>();
  bool writable = true;
  if (PyObject_GetBuffer(object.ptr(), view.get(), PyBUF_RECORDS) != 0) {
    PyErr_Clear();
    writable = false;
    if (PyObject_GetBuffer(object.ptr(), view.get(), PyBUF_RECORDS_RO) != 0) throw py::error_already_set();
  }
  // From here on the view is released exactly once: by the storage, or by this guard when a check fails.
  struct Guard {
    Py_buffer* held;
    ~Guard() {
      if (held) PyBuffer_Release(held);
    }
  } guard{view.get()};
  const DType dtype = dtype_of_buffer(*view);
  const int64_t size = static_cast<int64_t>(itemsize(dtype));
  DL_CHECK(view->ndim <= kMaxDims, "[from_numpy] at most ", kMaxDims, " dimensions are supported, got ", view->ndim);
  bool aligned = reinterpret_cast<uintptr_t>(view->buf) % itemsize(dtype) == 0;
  Dims shape, strides;
  for (int i = 0; i < view->ndim; ++i) {
    shape.push_back(view->shape[i]);
    aligned &= view->strides[i] % size == 0 || view->shape[i] <= 1;
    strides.push_back(view->strides[i] / size);
  }
  DL_CHECK(aligned || product(shape) == 0, "[from_numpy] the array's data or strides are not aligned to its ", size,
           "-byte elements; copy it first (array.copy())");
  guard.held = nullptr;
  Py_buffer* raw = view.release();
  return from_foreign(raw->buf, writable, shape, strides, dtype, under_gil([raw] {
                        PyBuffer_Release(raw);
                        delete raw;
                      }));
}

// The DLPack ABI (https://dmlc.github.io/dlpack), version 1.
struct DLDevice { int32_t type, id; };
struct DLDataType {
  uint8_t code, bits;
  uint16_t lanes;
};
struct DLTensor {
  void* data;
  DLDevice device;
  int32_t ndim;
  DLDataType dtype;
  int64_t* shape;
  int64_t* strides;
  uint64_t byte_offset;
};
struct DLManagedTensor {
  DLTensor tensor;
  void* context;
  void (*deleter)(DLManagedTensor*);
};
struct DLManagedTensorVersioned {
  uint32_t major, minor;
  void* context;
  void (*deleter)(DLManagedTensorVersioned*);
  uint64_t flags;
  DLTensor tensor;
};
constexpr uint64_t kReadOnly = 1;
constexpr int32_t kCpu = 1;
enum Code : uint8_t { kInt = 0, kUInt = 1, kFloat = 2, kBfloat = 4, kBool = 6 };

DLDataType to_dlpack_type(DType t) {
  const uint8_t bits = static_cast<uint8_t>(8 * itemsize(t));
  switch (t) {
    case DType::bfloat16: return {kBfloat, bits, 1};
    case DType::int64:
    case DType::int32: return {kInt, bits, 1};
    case DType::uint8: return {kUInt, bits, 1};
    case DType::boolean: return {kBool, bits, 1};
    default: return {kFloat, bits, 1};
  }
}

DType from_dlpack_type(DLDataType t) {
  for (int i = 0; i < kNumDTypes; ++i) {
    const DLDataType ours = to_dlpack_type(static_cast<DType>(i));
    if (ours.code == t.code && ours.bits == t.bits && t.lanes == 1) return static_cast<DType>(i);
  }
  throw TypeError(cat("[from_dlpack] no dtype for DLPack type code ", int{t.code}, " of ", int{t.bits}, " bits and ",
                      t.lanes, " lanes"));
}

// What an exported capsule points to: the managed struct and the tensor that keeps the memory.
template <class Managed> struct Export {
  Managed managed;
  Tensor tensor;
  Dims shape, strides;
};

template <class Managed> py::capsule export_as(const Tensor& t, const char* capsule_name) {
  auto* e = new Export<Managed>{{}, t, t.shape(), t.strides()};
  DLTensor& out = e->managed.tensor;
  out.data = t.raw();
  out.device = {kCpu, 0};
  out.ndim = t.ndim();
  out.dtype = to_dlpack_type(t.dtype());
  out.shape = e->shape.begin();
  out.strides = e->strides.begin();
  out.byte_offset = 0;
  e->managed.context = e;
  e->managed.deleter = [](Managed* m) { delete static_cast<Export<Managed>*>(m->context); };
  if constexpr (std::is_same_v<Managed, DLManagedTensorVersioned>) {
    e->managed.major = 1;
    e->managed.minor = 0;
    e->managed.flags = t.storage()->writable ? 0 : kReadOnly;
  }
  return py::reinterpret_steal<py::capsule>(PyCapsule_New(&e->managed, capsule_name, [](PyObject* capsule) {
    // Renamed to "used_…" by the consumer once it has taken over.
    const char* current = PyCapsule_GetName(capsule);
    if (!current || std::strncmp(current, "used_", 5) == 0) return;
    auto* m = static_cast<Managed*>(PyCapsule_GetPointer(capsule, current));
    m->deleter(m);
  }));
}

py::capsule to_dlpack(const Tensor& t, bool versioned) {
  DL_CHECK(t.device() == Device::cpu, "[__dlpack__] expected a tensor on the CPU, got one on ", t.device(),
           "; use .cpu() first");
  if (versioned) return export_as<DLManagedTensorVersioned>(t, "dltensor_versioned");
  DL_CHECK(t.storage()->writable, "[__dlpack__] a read-only tensor can be shared with DLPack 1.0 consumers only");
  return export_as<DLManagedTensor>(t, "dltensor");
}

template <class Managed> Tensor import_from(py::handle capsule, const char* used_name, Managed* m, bool writable) {
  const DLTensor& in = m->tensor;
  if (in.device.type != kCpu)
    throw ValueError(cat("[from_dlpack] expected data on the CPU, got DLPack device type ", in.device.type));
  const DType dtype = from_dlpack_type(in.dtype);
  DL_CHECK(in.ndim <= kMaxDims, "[from_dlpack] at most ", kMaxDims, " dimensions are supported, got ", in.ndim);
  Dims shape, strides;
  for (int i = 0; i < in.ndim; ++i) shape.push_back(in.shape[i]);
  if (in.strides)
    for (int i = 0; i < in.ndim; ++i) strides.push_back(in.strides[i]);
  else strides = contiguous_strides(shape);
  void* data = static_cast<char*>(in.data) + in.byte_offset;
  DL_CHECK(reinterpret_cast<uintptr_t>(data) % itemsize(dtype) == 0,
           "[from_dlpack] the data is not aligned to its elements");
  if (PyCapsule_SetName(capsule.ptr(), used_name) != 0) throw py::error_already_set();
  return from_foreign(data, writable, shape, strides, dtype, under_gil([m] {
                        if (m->deleter) m->deleter(m);
                      }));
}

Tensor from_dlpack(py::capsule capsule) {
  const char* current = capsule.name();
  if (current && std::strcmp(current, "dltensor_versioned") == 0) {
    auto* m = static_cast<DLManagedTensorVersioned*>(PyCapsule_GetPointer(capsule.ptr(), current));
    DL_CHECK(m->major == 1, "[from_dlpack] expected DLPack version 1, got ", m->major);
    return import_from(capsule, "used_dltensor_versioned", m, !(m->flags & kReadOnly));
  }
  DL_CHECK(current && std::strcmp(current, "dltensor") == 0,
           "[from_dlpack] expected an unused DLPack capsule, got one named '", current ? current : "", "'");
  auto* m = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule.ptr(), current));
  return import_from(capsule, "used_dltensor", m, true);
}

// The bytes of a contiguous tensor as another dtype: how files of all dtypes (bfloat16 has no buffer format) work.
Tensor reinterpret(const Tensor& x, DType dtype, const Dims& shape) {
  const int64_t n = checked_numel(shape, dtype, "reinterpret");
  DL_CHECK(x.is_contiguous(), "[reinterpret] expected a contiguous tensor, got shape ", x.shape(), " with strides ",
           x.strides());
  DL_CHECK(static_cast<size_t>(n) * itemsize(dtype) == x.nbytes(), "[reinterpret] ", x.nbytes(),
           " bytes cannot be seen as ", shape, " of ", dtype);
  const size_t first = static_cast<size_t>(x.offset()) * itemsize(x.dtype());
  DL_CHECK(n == 0 || (reinterpret_cast<uintptr_t>(x.address()) % itemsize(dtype) == 0 && first % itemsize(dtype) == 0),
           "[reinterpret] the data is not aligned to the ", itemsize(dtype), "-byte elements of ", dtype);
  return Tensor::from_storage(x.storage(), static_cast<int64_t>(first / itemsize(dtype)), shape,
                              contiguous_strides(shape), dtype);
}

}  // namespace

int tensor_get_buffer(PyObject* self, Py_buffer* view, int flags) {
  const Tensor& t = reinterpret_cast<PyTensor*>(self)->tensor;
  const char* format = buffer_format(t.dtype());
  view->obj = nullptr;
  if (!format) {
    PyErr_SetString(PyExc_BufferError,
                    "[numpy] bfloat16 has no NumPy dtype; convert first, such as with tensor.float()");
    return -1;
  }
  if ((flags & PyBUF_WRITABLE) == PyBUF_WRITABLE && !t.storage()->writable) {
    PyErr_SetString(PyExc_BufferError, "[numpy] the tensor is a view of read-only memory");
    return -1;
  }
  if (t.device() != Device::cpu) {
    PyErr_Format(PyExc_BufferError, "[numpy] the tensor lies on '%s', NumPy reads the CPU's memory; use .cpu() first",
                 name(t.device()));
    return -1;
  }
  const bool wants_strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES;
  if (!wants_strides && !t.is_contiguous()) {
    PyErr_SetString(PyExc_BufferError, "[numpy] the tensor is not contiguous and the consumer asks for no strides");
    return -1;
  }
  auto* numbers =
      new Py_ssize_t[2 * kMaxDims];  // shape, then byte strides; freed by release below through view->internal
  for (int i = 0; i < t.ndim(); ++i) {
    numbers[i] = t.shape()[i];
    numbers[kMaxDims + i] = t.strides()[i] * static_cast<int64_t>(itemsize(t.dtype()));
  }
  static char empty_data[8];
  view->buf = t.raw() ? t.raw() : empty_data;
  view->len = static_cast<Py_ssize_t>(t.nbytes());
  view->itemsize = static_cast<Py_ssize_t>(itemsize(t.dtype()));
  view->readonly = !t.storage()->writable;
  view->ndim = t.ndim();
  view->format = (flags & PyBUF_FORMAT) ? const_cast<char*>(format) : nullptr;
  view->shape = (flags & PyBUF_ND) == PyBUF_ND ? numbers : nullptr;
  view->strides = wants_strides ? numbers + kMaxDims : nullptr;
  view->suboffsets = nullptr;
  view->internal = numbers;
  view->obj = self;
  Py_INCREF(self);
  return 0;
}

void tensor_release_buffer(PyObject*, Py_buffer* view) { delete[] static_cast<Py_ssize_t*>(view->internal); }

void bind_interchange(py::module_& m) {
  m.def("from_buffer", &from_buffer, py::arg("object"),
        "A tensor over the memory of an object with the buffer protocol; no copy.");
  m.def("reinterpret", &reinterpret, py::arg("x"), py::arg("dtype"), py::arg("shape"),
        "The memory of a contiguous tensor seen as another dtype and shape of as many bytes; no copy.");
  m.def(
      "rebind",
      [](py::object x, const Tensor& y) {
        unwrap(x.ptr());
        reinterpret_cast<PyTensor*>(x.ptr())->tensor = y;
      },
      py::arg("x"), py::arg("y"),
      "Lets the object x show the memory of y, whatever its dtype: a parameter stays the same object to all who hold "
      "it.");
  m.def("to_dlpack", &to_dlpack, py::arg("x"), py::arg("versioned"),
        "A DLPack capsule that shares the tensor's memory.");
  m.def("from_dlpack", &from_dlpack, py::arg("capsule"), "A tensor over the memory of a DLPack capsule; no copy.");
}

}  // namespace dl
