// Views: new shapes and strides over the same memory. No kernels but the copy that a reshape may need.
#include "ops/common.h"

namespace dl {
namespace {

Tensor reshape(const Tensor& x, const Dims& shape) {
  const Tensor view = x.view_as_shape(shape);
  return view ? view : contiguous(x).view_as_shape(shape);
}

Tensor view(const Tensor& x, const Dims& shape) {
  const Tensor v = x.view_as_shape(shape);
  DL_CHECK(v, "[view] shape ", x.shape(), " with strides ", x.strides(), " cannot be seen as ", shape, " without a copy; use reshape");
  return v;
}

// Python's slice.indices has been applied: start is in bounds when the result is not empty.
Tensor slice(const Tensor& x, int64_t axis, int64_t start, int64_t stop, int64_t step) { return x.slice(axis, start, stop, step); }

}  // namespace
}  // namespace dl

DL_BIND(shape) {
  using namespace dl;
  m.def("alias", [](const Tensor& x) { return x; }, py::arg("x"), "Another tensor object over the same memory, without history.");
  m.def("reshape", &reshape, py::arg("x"), py::arg("shape"), "The same elements in another shape; a copy only where no view can show it.");
  m.def("view", &view, py::arg("x"), py::arg("shape"), "The same memory in another shape.");
  m.def("permute", [](const Tensor& x, const Dims& axes) { return x.permute(axes); }, py::arg("x"), py::arg("axes"), "Axes reordered; a view.");
  m.def("transpose", [](const Tensor& x, int64_t a, int64_t b) { return x.transpose(a, b); }, py::arg("x"), py::arg("a"), py::arg("b"),
        "Two axes swapped; a view.");
  m.def("expand", [](const Tensor& x, const Dims& shape) { return x.expand(shape); }, py::arg("x"), py::arg("shape"),
        "Dimensions of size one repeated by a stride of zero; a view.");
  m.def("slice", &slice, py::arg("x"), py::arg("axis"), py::arg("start"), py::arg("stop"), py::arg("step"), "A range along one axis; a view.");
  m.def("select", [](const Tensor& x, int64_t axis, int64_t index) { return x.select(axis, index); }, py::arg("x"), py::arg("axis"),
        py::arg("index"), "One index along an axis, which goes away; a view.");
  m.def("squeeze", [](const Tensor& x, int64_t axis) { return x.squeeze(axis); }, py::arg("x"), py::arg("axis"),
        "An axis of size one removed; a view.");
  m.def("unsqueeze", [](const Tensor& x, int64_t axis) { return x.unsqueeze(axis); }, py::arg("x"), py::arg("axis"),
        "An axis of size one added; a view.");
  m.def("broadcast_shapes", [](const Dims& a, const Dims& b) { return broadcast_shapes(a, b, "broadcast"); }, py::arg("a"), py::arg("b"),
        "The shape that two shapes broadcast to.");
}
