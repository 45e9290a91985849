// Views: new shapes and strides over the same memory. No kernels but the copy that a reshape may need.
#include <algorithm>

#include "ops/common.h"

namespace dl {
namespace {

Tensor reshape(const Tensor& x, const Dims& shape) {
  const Tensor view = x.view_as_shape(shape);
  return view ? view : contiguous(x).view_as_shape(shape);
}

Tensor view(const Tensor& x, const Dims& shape) {
  const Tensor v = x.view_as_shape(shape);
  DL_CHECK(v, "[view] shape ", x.shape(), " with strides ", x.strides(), " cannot be seen as ", shape,
           " without a copy; use reshape");
  return v;
}

// Python's slice.indices has been applied: start is in bounds when the result is not empty.
Tensor slice(const Tensor& x, int64_t axis, int64_t start, int64_t stop, int64_t step) {
  return x.slice(axis, start, stop, step);
}

// Any view of the memory that x lies in; the offset counts elements from x's first one.
Tensor as_strided(const Tensor& x, const Dims& shape, const Dims& strides, int64_t offset) {
  DL_CHECK(strides.size() == shape.size(), "[as_strided] expected one stride for each dimension of ", shape, ", got ",
           strides);
  const Tensor y = x.as_strided(shape, strides, x.offset() + offset);
  if (checked_numel(shape, x.dtype(), "as_strided") == 0) return y;
  int64_t low = 0, high = 0;
  for (int d = 0; d < shape.size(); ++d) (strides[d] < 0 ? low : high) += (shape[d] - 1) * strides[d];
  // Foreign memory is known by its elements' bytes alone, and x may start anywhere in it: x's own reach is fine too.
  int64_t x_low = -x.offset(), x_high = x_low + static_cast<int64_t>(x.storage()->bytes / itemsize(x.dtype())) - 1;
  int64_t reach_low = 0, reach_high = 0;
  for (int d = 0; d < x.ndim(); ++d)
    (x.strides()[d] < 0 ? reach_low : reach_high) += (x.shape()[d] - 1) * x.strides()[d];
  x_low = std::min(x_low, reach_low);
  x_high = std::max(x_high, reach_high);
  DL_CHECK(low + offset >= x_low && high + offset <= x_high, "[as_strided] shape ", shape, " with strides ", strides,
           " and offset ", offset, " leaves the memory of the tensor of shape ", x.shape());
  return y;
}

}  // namespace
}  // namespace dl

DL_BIND(shape) {
  using namespace dl;
  m.def(
      any_device, "alias", [](const Tensor& x) { return x; }, py::arg("x"),
      "Another tensor object over the same memory, without history.");
  m.def(any_device, "reshape", &reshape, py::arg("x"), py::arg("shape"),
        "The same elements in another shape; a copy only where no view can show it.");
  m.def(any_device, "view", &view, py::arg("x"), py::arg("shape"), "The same memory in another shape.");
  m.def(
      any_device, "permute", [](const Tensor& x, const Dims& axes) { return x.permute(axes); }, py::arg("x"),
      py::arg("axes"), "Axes reordered; a view.");
  m.def(
      any_device, "transpose", [](const Tensor& x, int64_t a, int64_t b) { return x.transpose(a, b); }, py::arg("x"),
      py::arg("a"), py::arg("b"), "Two axes swapped; a view.");
  m.def(
      any_device, "expand", [](const Tensor& x, const Dims& shape) { return x.expand(shape); }, py::arg("x"),
      py::arg("shape"), "Dimensions of size one repeated by a stride of zero; a view.");
  m.def(any_device, "slice", &slice, py::arg("x"), py::arg("axis"), py::arg("start"), py::arg("stop"), py::arg("step"),
        "A range along one axis; a view.");
  m.def(
      any_device, "select", [](const Tensor& x, int64_t axis, int64_t index) { return x.select(axis, index); },
      py::arg("x"), py::arg("axis"), py::arg("index"), "One index along an axis, which goes away; a view.");
  m.def(
      any_device, "squeeze", [](const Tensor& x, int64_t axis) { return x.squeeze(axis); }, py::arg("x"),
      py::arg("axis"), "An axis of size one removed; a view.");
  m.def(
      any_device, "unsqueeze", [](const Tensor& x, int64_t axis) { return x.unsqueeze(axis); }, py::arg("x"),
      py::arg("axis"), "An axis of size one added; a view.");
  m.def(any_device, "as_strided", &as_strided, py::arg("x"), py::arg("shape"), py::arg("strides"), py::arg("offset"),
        "Any view of the memory that x lies in; the offset counts elements from x's first one.");
  m.def(
      any_device, "broadcast_shapes", [](const Dims& a, const Dims& b) { return broadcast_shapes(a, b, "broadcast"); },
      py::arg("a"), py::arg("b"), "The shape that two shapes broadcast to.");
}
