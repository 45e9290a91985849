// Triangles and diagonals of matrices.
#include "kernels/triangle/triangle.h"

#include <algorithm>

#include "ops/common.h"

namespace dl {
namespace {

template <class T> void run(const Tensor& x, const Tensor& y, int64_t diagonal, bool upper, const char* name) {
  static const Kernel<triangle_fn<T>> kernel{name};
  const int64_t rows = x.size(-2), cols = x.size(-1), batch = x.numel() / (rows * cols);
  launch(x.numel(),
         [&] { kernel(static_cast<const T*>(x.raw()), static_cast<T*>(y.raw()), batch, rows, cols, diagonal, upper); });
}

Tensor triangle(const Tensor& x, int64_t diagonal, bool upper) {
  DL_CHECK(x.ndim() >= 2, "[", upper ? "triu" : "tril", "] expected at least two dimensions, got shape ", x.shape());
  const Tensor y = Tensor::empty(x.shape(), x.dtype()), source = contiguous(x);
  if (x.numel() == 0) return y;
  // Beyond the matrix all diagonals are alike; a small number cannot overflow in the kernel.
  diagonal = std::clamp(diagonal, -x.size(-2) - 1, x.size(-1) + 1);
  switch (itemsize(x.dtype())) {
    case 1: run<uint8_t>(source, y, diagonal, upper, "triangle/1"); break;
    case 2: run<uint16_t>(source, y, diagonal, upper, "triangle/2"); break;
    case 4: run<uint32_t>(source, y, diagonal, upper, "triangle/4"); break;
    default: run<uint64_t>(source, y, diagonal, upper, "triangle/8");
  }
  return y;
}

Tensor diagonal_view(const Tensor& x, int64_t offset, int64_t dim1, int64_t dim2) {
  const int rows = normalize_axis(dim1, x.ndim(), x.shape(), "diagonal");
  const int cols = normalize_axis(dim2, x.ndim(), x.shape(), "diagonal");
  DL_CHECK(rows != cols, "[diagonal] the two dimensions must differ, got ", dim1, " and ", dim2, " for shape ",
           x.shape());
  const int64_t r0 = std::min(std::max<int64_t>(-offset, 0), x.shape()[rows]);
  const int64_t c0 = std::min(std::max<int64_t>(offset, 0), x.shape()[cols]);
  const int64_t length = std::min(x.shape()[rows] - r0, x.shape()[cols] - c0);
  Dims shape, strides;
  for (int d = 0; d < x.ndim(); ++d) {
    if (d == rows || d == cols) continue;
    shape.push_back(x.shape()[d]);
    strides.push_back(x.strides()[d]);
  }
  shape.push_back(length);
  strides.push_back(x.strides()[rows] + x.strides()[cols]);
  const int64_t start = length > 0 ? r0 * x.strides()[rows] + c0 * x.strides()[cols] : 0;
  return x.as_strided(shape, strides, x.offset() + start);
}

}  // namespace
}  // namespace dl

DL_BIND(triangle) {
  using namespace dl;
  m.def("triangle", &triangle, py::arg("x"), py::arg("diagonal"), py::arg("upper"),
        "Matrices with zeros above (upper: below) a diagonal.");
  m.def(any_device, "diagonal", &diagonal_view, py::arg("x"), py::arg("offset"), py::arg("dim1"), py::arg("dim2"),
        "A diagonal of the last dimension of the result; a view.");
}
