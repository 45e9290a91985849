// Tensors joined along a dimension, and padded. The work is copies into slices of the result.
#include <cstring>

#include "ops/common.h"

namespace dl {
namespace {

constexpr size_t kSmall = 16384;

// Not copies of the tensors: of many small ones that would cost more than joining them.
using Parts = std::vector<const Tensor*>;

Parts parts_of(const py::list& items, const char* op) {
  Parts xs;
  xs.reserve(items.size());
  for (const py::handle item : items) {
    DL_CHECK_TYPE(is_tensor(item.ptr()), "[", op, "] expected tensors, got ", Py_TYPE(item.ptr())->tp_name,
                  " as input ", xs.size());
    xs.push_back(&unwrap(item.ptr()));
  }
  return xs;
}

DType promoted_dtype(const Parts& xs) {
  DType dtype = xs[0]->dtype();
  for (const Tensor* x : xs) dtype = promote(dtype, x->dtype());
  return dtype;
}

Tensor cat_tensors(const Parts& xs, int64_t dim) {
  DL_CHECK(!xs.empty(), "[cat] expected at least one tensor, got none");
  const Tensor& first = *xs[0];
  DL_CHECK(first.ndim() > 0, "[cat] 0-dimensional tensors have no dimension to join along; use stack");
  const int axis = normalize_axis(dim, first.ndim(), first.shape(), "cat");
  Dims shape = first.shape();
  for (size_t i = 1; i < xs.size(); ++i) {
    const Dims& other = xs[i]->shape();
    DL_CHECK(other.size() == shape.size(), "[cat] all tensors must have as many dimensions, got shapes ", first.shape(),
             " (input 0) and ", other, " (input ", i, ")");
    for (int d = 0; d < shape.size(); ++d)
      DL_CHECK(d == axis || other[d] == shape[d], "[cat] all sizes but those of dimension ", axis,
               " must match, got shapes ", first.shape(), " (input 0) and ", other, " (input ", i, "): dimension ", d,
               " has sizes ", shape[d], " and ", other[d]);
    shape[axis] += other[axis];
  }
  Tensor y = Tensor::empty(shape, promoted_dtype(xs));
  int64_t outer = 1, start = 0;
  for (int d = 0; d < axis; ++d) outer *= shape[d];
  const size_t step = shape[axis] ? y.nbytes() / static_cast<size_t>(shape[axis]) : 0;  // where outer is 1
  for (const Tensor* part : xs) {
    const Tensor& x = *part;
    const int64_t size = x.shape()[axis];
    // Many small parts: their copies must not cost more than they move.
    if (outer == 1 && x.nbytes() <= kSmall && y.device() == Device::cpu && x.dtype() == y.dtype() &&
        x.is_contiguous()) {
      if (x.nbytes() && !planning())
        std::memcpy(static_cast<char*>(y.raw()) + static_cast<size_t>(start) * step, x.raw(), x.nbytes());
    } else if (x.numel()) {
      copy_into(x, y.slice(axis, start, start + size, 1));
    }
    start += size;
  }
  return y;
}

Tensor stack_tensors(const Parts& xs, int64_t dim) {
  DL_CHECK(!xs.empty(), "[stack] expected at least one tensor, got none");
  const Dims& shape = xs[0]->shape();
  DL_CHECK_INDEX(-shape.size() - 1 <= dim && dim <= shape.size(), "[stack] dimension ", dim,
                 " is out of range for tensors of shape ", shape);
  const int64_t axis = dim < 0 ? dim + shape.size() + 1 : dim;
  std::vector<Tensor> views;
  views.reserve(xs.size());
  Parts parts;
  for (size_t i = 0; i < xs.size(); ++i) {
    DL_CHECK(xs[i]->shape() == shape, "[stack] all tensors must have one shape, got ", shape, " (input 0) and ",
             xs[i]->shape(), " (input ", i, ")");
    views.push_back(xs[i]->unsqueeze(axis));
    parts.push_back(&views.back());
  }
  return cat_tensors(parts, axis);
}

// `before` and `after` count the elements to add (or, where negative, to cut) at the two ends of each dimension.
Tensor pad(const Tensor& x, const Dims& before, const Dims& after, const Tensor& value) {
  Tensor inner = x;
  Dims shape = x.shape();
  for (int d = 0; d < x.ndim(); ++d) {
    shape[d] += before[d] + after[d];
    DL_CHECK(shape[d] >= 0 && before[d] >= -x.shape()[d] && after[d] >= -x.shape()[d], "[pad] ", before[d],
             " before and ", after[d], " after do not fit dimension ", d, " of shape ", x.shape());
    const int64_t start = before[d] < 0 ? -before[d] : 0;
    inner = inner.slice(d, start, inner.shape()[d] + (after[d] < 0 ? after[d] : 0), 1);
  }
  Tensor y = Tensor::empty(shape, x.dtype());
  // The borders, one dimension after another, each within what the earlier ones left; then the middle.
  Tensor middle = y;
  for (int d = 0; d < x.ndim(); ++d) {
    const int64_t n = shape[d], low = before[d] > 0 ? before[d] : 0, high = after[d] > 0 ? after[d] : 0;
    if (low) copy_into(value, middle.slice(d, 0, low, 1));
    if (high) copy_into(value, middle.slice(d, n - high, n, 1));
    middle = middle.slice(d, low, n - high, 1);
  }
  if (middle.numel()) copy_into(inner, middle);
  return y;
}

}  // namespace
}  // namespace dl

DL_BIND(join) {
  using namespace dl;
  m.def(
      any_device, "cat", [](const py::list& xs, int64_t dim) { return cat_tensors(parts_of(xs, "cat"), dim); },
      py::arg("xs"), py::arg("dim"), "Tensors joined along a dimension they have.");
  m.def(
      any_device, "stack", [](const py::list& xs, int64_t dim) { return stack_tensors(parts_of(xs, "stack"), dim); },
      py::arg("xs"), py::arg("dim"), "Tensors of one shape joined along a new dimension.");
  m.def(any_device, "pad", &pad, py::arg("x"), py::arg("before"), py::arg("after"), py::arg("value"),
        "x with elements added (negative: cut) at both ends of each dimension; value is a 0-d tensor.");
}
