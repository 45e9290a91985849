// Reading and writing by position: slices as views, integer indices and masks through kernels.
#include "kernels/index/index.h"
#include "ops/common.h"

namespace dl {
namespace {

bool is_basic(PyObject* item) {
  if (item == Py_None || item == Py_Ellipsis || PySlice_Check(item)) return true;
  // Arrays and tensors have __index__ too, but are sequences.
  return PyIndex_Check(item) && !PyBool_Check(item) && !is_tensor(item) && !PySequence_Check(item);
}

int64_t integer_of(PyObject* item, int position) {
  const py::object number = py::reinterpret_steal<py::object>(PyNumber_Index(item));
  if (!number) throw py::error_already_set();
  const long long v = PyLong_AsLongLong(number.ptr());
  if (v == -1 && PyErr_Occurred()) {
    PyErr_Clear();
    throw IndexError(cat("[index] the index at position ", position, " does not fit into 64 bits"));
  }
  return v;
}

// x[key] for a tuple of integers, slices, None and at most one Ellipsis: a view. Undefined when the key holds anything
// else.
Tensor index_view(const Tensor& x, py::handle key) {
  const bool is_tuple = PyTuple_Check(key.ptr());
  const int count = is_tuple ? static_cast<int>(PyTuple_GET_SIZE(key.ptr())) : 1;
  auto item_at = [&](int i) { return is_tuple ? PyTuple_GET_ITEM(key.ptr(), i) : key.ptr(); };
  int consumed = 0, ellipses = 0;
  for (int i = 0; i < count; ++i) {
    PyObject* item = item_at(i);
    if (!is_basic(item)) return {};
    if (item == Py_Ellipsis) ++ellipses;
    else if (item != Py_None) ++consumed;
  }
  DL_CHECK_INDEX(ellipses <= 1, "[index] an index holds at most one Ellipsis, got ", ellipses);
  DL_CHECK_INDEX(consumed <= x.ndim(), "[index] ", consumed, " indices are too many for shape ", x.shape());
  Tensor y = x;
  int axis = 0, of_x = 0;  // the dimension of y, and of x, that comes next
  for (int i = 0; i < count; ++i) {
    PyObject* item = item_at(i);
    if (item == Py_None) {
      y = y.unsqueeze(axis++);
    } else if (item == Py_Ellipsis) {
      axis += x.ndim() - consumed;
      of_x += x.ndim() - consumed;
    } else if (PySlice_Check(item)) {
      Py_ssize_t start, stop, step;
      if (PySlice_Unpack(item, &start, &stop, &step) < 0) throw py::error_already_set();
      const Py_ssize_t n = PySlice_AdjustIndices(y.shape()[axis], &start, &stop, step);
      y = n > 1 ? y.slice(axis, start, stop, step)
                : y.slice(axis, start, start + n, 1);  // no product of a huge step with a stride
      ++axis;
      ++of_x;
    } else {
      const int64_t index = integer_of(item, i), size = y.shape()[axis];
      DL_CHECK_INDEX(-size <= index && index < size, "[index] index ", index, " at position ", i,
                     " is out of range for axis ", of_x, " of size ", size, " (shape ", x.shape(), ")");
      y = y.select(axis, index);
      ++of_x;
    }
  }
  return y;
}

// Appends a dimension, merged with the one before where both step evenly.
void append(IndexDims& dims, int64_t size, int64_t stride) {
  if (size == 1) return;
  const int last = dims.ndim - 1;
  if (dims.ndim > 0 && dims.strides[last] == size * stride) {
    dims.sizes[last] *= size;
    dims.strides[last] = stride;
  } else {
    dims.sizes[dims.ndim] = size;
    dims.strides[dims.ndim++] = stride;
  }
}

Dims common_shape(const Dims& a, const Dims& b) {
  try {
    return broadcast_shapes(a, b, "index");
  } catch (const ValueError& e) { throw IndexError(e.what()); }
}

// x with integer indices along `dims`. The result has the other dimensions of x in order, and the common shape of the
// indices inserted before the `at`-th of them.
struct Selection {
  IndexShape shape{};
  Dims result;
  Tensor offsets;  // int64; of every selection into x

  Selection(const Tensor& x, const Dims& dims, const std::vector<Tensor>& indices, int64_t at) {
    Dims picked;
    for (const Tensor& index : indices) {
      DL_CHECK_TYPE(is_integral(index.dtype()), "[index] indices must be integers, got ", index.dtype(), " of shape ",
                    index.shape());
      picked = common_shape(picked, index.shape());
    }
    bool indexed[kMaxDims] = {};
    for (int64_t d : dims) indexed[d] = true;
    int plain = 0;
    for (int d = 0; d < x.ndim(); ++d) {
      if (indexed[d]) continue;
      if (plain == at)
        for (int64_t n : picked) result.push_back(n);
      append(plain++ < at ? shape.outer : shape.inner, x.shape()[d], x.strides()[d]);
      result.push_back(x.shape()[d]);
    }
    if (plain <= at)
      for (int64_t n : picked) result.push_back(n);
    shape.count = product(picked);
    checked_numel(result, x.dtype(), "index");
    find_offsets(x, dims, indices, picked);
  }

 private:
  void find_offsets(const Tensor& x, const Dims& dims, const std::vector<Tensor>& indices, const Dims& picked) {
    offsets = Tensor::empty({shape.count}, DType::int64);
    if (shape.count == 0) return;
    IndexArrays arrays{static_cast<int>(indices.size()), {}, {}, {}};
    std::vector<Tensor> kept;
    for (int k = 0; k < arrays.n; ++k) {
      kept.push_back(contiguous(cast(indices[static_cast<size_t>(k)], DType::int64).expand(picked)));
      arrays.index[k] = kept.back().data<int64_t>();
      arrays.sizes[k] = x.shape()[dims[k]];
      arrays.strides[k] = x.strides()[dims[k]];
    }
    static const Kernel<index_offsets_fn> kernel{"index_offsets"};
    int out_of_range = 0;
    launch(shape.count * arrays.n, [&] { kernel(&arrays, shape.count, offsets.data<int64_t>(), &out_of_range); });
    if (out_of_range) raise_out_of_range(x, arrays, dims);
  }

  void raise_out_of_range(const Tensor& x, const IndexArrays& a, const Dims& dims) const {
    for (int64_t b = 0; b < shape.count; ++b)
      for (int k = 0; k < a.n; ++k)
        DL_CHECK_INDEX(-a.sizes[k] <= a.index[k][b] && a.index[k][b] < a.sizes[k], "[index] index ", a.index[k][b],
                       " at position ", b, " is out of range for axis ", dims[k], " of size ", a.sizes[k], " (shape ",
                       x.shape(), ")");
  }
};

template <class T> void run_read(const Tensor& x, const Selection& s, const Tensor& y, const char* name) {
  static const Kernel<index_read_fn<T>> kernel{name};
  launch(y.numel(), [&] {
    kernel(static_cast<const T*>(x.raw()), s.offsets.data<int64_t>(), static_cast<T*>(y.raw()), &s.shape);
  });
}

Tensor index_read(const Tensor& x, const Dims& dims, const std::vector<Tensor>& indices, int64_t at) {
  const Selection s(x, dims, indices, at);
  const Tensor y = Tensor::empty(s.result, x.dtype());
  if (y.numel() == 0) return y;
  switch (itemsize(x.dtype())) {
    case 1: run_read<uint8_t>(x, s, y, "index_read/1"); break;
    case 2: run_read<uint16_t>(x, s, y, "index_read/2"); break;
    case 4: run_read<uint32_t>(x, s, y, "index_read/4"); break;
    default: run_read<uint64_t>(x, s, y, "index_read/8");
  }
  return y;
}

template <class T> void run_write(const Tensor& x, const Selection& s, const Tensor& y, const char* name) {
  static const Kernel<index_write_fn<T>> kernel{name};
  launch(y.numel(), [&] {
    kernel(static_cast<T*>(x.raw()), s.offsets.data<int64_t>(), static_cast<const T*>(y.raw()), &s.shape);
  });
}

// The values as the kernel wants them: of x's dtype, contiguous in the selection's shape, and memory of their own.
Tensor values_for(const Tensor& x, const Tensor& values, const Selection& s, const char* op) {
  if (values.dtype() == x.dtype() && values.shape() == s.result && values.is_contiguous() && !values.shares_storage(x))
    return values;
  const Tensor y = Tensor::empty(s.result, x.dtype());
  copy_into(values, y, op);
  return y;
}

void index_write(const Tensor& x, const Dims& dims, const std::vector<Tensor>& indices, int64_t at,
                 const Tensor& values) {
  check_writable(x, "setitem");
  const Selection s(x, dims, indices, at);
  const Tensor y = values_for(x, values, s, "setitem");
  mark_written(x, "setitem");
  if (y.numel() == 0) return;
  switch (itemsize(x.dtype())) {
    case 1: return run_write<uint8_t>(x, s, y, "index_write/1");
    case 2: return run_write<uint16_t>(x, s, y, "index_write/2");
    case 4: return run_write<uint32_t>(x, s, y, "index_write/4");
    default: return run_write<uint64_t>(x, s, y, "index_write/8");
  }
}

template <class T> void run_add(const Tensor& x, const Selection& s, const Tensor& y, const char* name) {
  static const Kernel<index_add_fn<T>> kernel{name};
  launch(y.numel(), [&] { kernel(x.data<T>(), s.offsets.data<int64_t>(), y.data<T>(), &s.shape); });
}

void index_add(const Tensor& x, const Dims& dims, const std::vector<Tensor>& indices, int64_t at,
               const Tensor& values) {
  check_writable(x, "index_add");
  DL_CHECK_TYPE(x.dtype() != DType::boolean, "[index_add] bools cannot be added up; cast to an integer dtype first");
  if (x.dtype() == DType::bfloat16) {  // sums of many terms need more than bfloat16's eight bits on the way
    const Tensor wide = cast(x, DType::float32);
    index_add(wide, dims, indices, at, values);
    return copy_into(wide, x, "index_add");
  }
  const Selection s(x, dims, indices, at);
  const Tensor y = values_for(x, values, s, "index_add");
  mark_written(x, "index_add");
  if (y.numel() == 0) return;
  switch (x.dtype()) {
    case DType::float32: return run_add<float>(x, s, y, "index_add/float32");
    case DType::float64: return run_add<double>(x, s, y, "index_add/float64");
    case DType::int64: return run_add<int64_t>(x, s, y, "index_add/int64");
    case DType::int32: return run_add<int32_t>(x, s, y, "index_add/int32");
    default: return run_add<uint8_t>(x, s, y, "index_add/uint8");
  }
}

}  // namespace
}  // namespace dl

DL_BIND(index) {
  using namespace dl;
  m.def(each_device, "index_view", &index_view, py::arg("x"), py::arg("key"),
        "x[key] as a view for integers, slices, None and Ellipsis; None where the key needs a copy.");
  m.def("index_read", &index_read, py::arg("x"), py::arg("dims"), py::arg("indices"), py::arg("at"),
        "x with integer indices along dims; their common shape is inserted before the at-th of the other dimensions.");
  m.def("index_write", &index_write, py::arg("x"), py::arg("dims"), py::arg("indices"), py::arg("at"),
        py::arg("values"),
        "Writes values, broadcast, to what index_read reads; the last of several writes to one element stays.");
  m.def("index_add", &index_add, py::arg("x"), py::arg("dims"), py::arg("indices"), py::arg("at"), py::arg("values"),
        "Adds values, broadcast, to what index_read reads, in the order of the indices.");
}
