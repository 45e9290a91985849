// Reading and writing by position: slices as views, integer indices and masks through kernels.
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

// x[key] for a tuple of integers, slices, None and at most one Ellipsis: a view. Undefined when the key holds anything else.
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
      y = n > 1 ? y.slice(axis, start, stop, step) : y.slice(axis, start, start + n, 1);  // no product of a huge step with a stride
      ++axis;
      ++of_x;
    } else {
      const int64_t index = integer_of(item, i), size = y.shape()[axis];
      DL_CHECK_INDEX(-size <= index && index < size, "[index] index ", index, " at position ", i, " is out of range for axis ", of_x,
                     " of size ", size, " (shape ", x.shape(), ")");
      y = y.select(axis, index);
      ++of_x;
    }
  }
  return y;
}

}  // namespace
}  // namespace dl

DL_BIND(index) {
  using namespace dl;
  m.def("index_view", &index_view, py::arg("x"), py::arg("key"),
        "x[key] as a view for integers, slices, None and Ellipsis; None where the key needs a copy.");
}
