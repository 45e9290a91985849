// Sorting along an axis, the largest or smallest elements, and searches in sorted ones.
#include "kernels/sort/sort.h"

#include "ops/common.h"

namespace dl {
namespace {

// bool is sorted as uint8: its bytes are 0 and 1.
template <class F> void visit_ordered(DType dtype, F&& f) {
  visit(dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    if constexpr (std::is_same_v<T, bool>) f(Type<uint8_t>{}, DType::uint8);
    else f(type, dtype);
  });
}

Rows checked_rows(const Tensor& x, int64_t axis, const char* op, int& normalized) {
  normalized = x.ndim() == 0 ? 0 : normalize_axis(axis, x.ndim(), x.shape(), op);
  if (x.ndim() == 0)
    DL_CHECK_INDEX(axis == 0 || axis == -1, "[", op, "] axis ", axis, " is out of range for shape ", x.shape());
  const Rows in = rows_along(x, normalized);
  DL_CHECK(in.cols < int64_t{1} << 32, "[", op, "] at most 2^32 - 1 elements along an axis are supported, got shape ",
           x.shape());
  return in;
}

void run_sort(const Rows& in, const Tensor& values, const Tensor& indices, bool descending) {
  visit_ordered(in.data.dtype(), [&](auto type, DType dtype) {
    using T = typename decltype(type)::type;
    static const Kernel<sort_fn<T>> kernel{cat("sort/", name(dtype)).c_str()};
    const Tensor workspace = Tensor::empty({sort_workspace(in.cols, sizeof(T))}, DType::uint8);
    launch(in.rows * in.cols * 4, [&] {
      kernel(static_cast<const T*>(in.data.raw()), values ? static_cast<T*>(values.raw()) : nullptr,
             indices.data<int64_t>(), in.rows, in.cols, descending, workspace.raw());
    });
  });
}

py::tuple sort(const Tensor& x, int64_t dim, bool descending) {
  int axis;
  const Rows in = checked_rows(x, dim, "sort", axis);
  const Tensor values = Tensor::empty(in.data.shape(), x.dtype()),
               indices = Tensor::empty(in.data.shape(), DType::int64);
  if (x.numel()) run_sort(in, values, indices, descending);
  return py::make_tuple(restore_axis(values, axis), restore_axis(indices, axis));
}

Tensor argsort(const Tensor& x, int64_t dim, bool descending) {
  int axis;
  const Rows in = checked_rows(x, dim, "argsort", axis);
  const Tensor indices = Tensor::empty(in.data.shape(), DType::int64);
  if (x.numel()) run_sort(in, Tensor(), indices, descending);
  return restore_axis(indices, axis);
}

py::tuple topk(const Tensor& x, int64_t k, int64_t dim, bool largest) {
  int axis;
  const Rows in = checked_rows(x, dim, "topk", axis);
  DL_CHECK(0 <= k && k <= (x.ndim() ? x.shape()[axis] : 1), "[topk] k must be between 0 and ",
           x.ndim() ? x.shape()[axis] : 1, ", the size of axis ", axis, " of shape ", x.shape(), ", got ", k);
  Dims shape = in.data.shape();
  if (x.ndim()) shape.back() = k;
  Tensor values = Tensor::empty(shape, x.dtype()), indices = Tensor::empty(shape, DType::int64);
  if (values.numel() && k > most_scanned(in.cols)) {
    const Tensor all = Tensor::empty(in.data.shape(), x.dtype()), places = Tensor::empty(in.data.shape(), DType::int64);
    run_sort(in, all, places, largest);
    if (x.ndim() == 0) return py::make_tuple(all, places);
    copy_into(all.slice(-1, 0, k, 1), values);
    copy_into(places.slice(-1, 0, k, 1), indices);
  } else if (values.numel()) {
    visit_ordered(x.dtype(), [&](auto type, DType dtype) {
      using T = typename decltype(type)::type;
      static const Kernel<topk_fn<T>> kernel{cat("topk/", name(dtype)).c_str()};
      const Tensor workspace = Tensor::empty({topk_workspace(in.rows, in.cols, k, sizeof(T))}, DType::uint8);
      launch(x.numel(), [&] {
        kernel(static_cast<const T*>(in.data.raw()), static_cast<T*>(values.raw()), indices.data<int64_t>(), in.rows,
               in.cols, k, largest, workspace.raw());
      });
    });
  }
  return py::make_tuple(restore_axis(values, axis), restore_axis(indices, axis));
}

Tensor searchsorted(const Tensor& sorted, const Tensor& values, bool right) {
  DL_CHECK(sorted.ndim() >= 1, "[searchsorted] expected at least one dimension to search in, got shape ",
           sorted.shape());
  const bool shared = sorted.ndim() == 1;
  bool fits = shared || sorted.ndim() == values.ndim();
  for (int d = 0; !shared && fits && d + 1 < sorted.ndim(); ++d) fits = sorted.shape()[d] == values.shape()[d];
  DL_CHECK(fits, "[searchsorted] expected a vector to search in, or one row for each row of values; got shapes ",
           sorted.shape(), " to search in and ", values.shape(), " of values");
  DType dtype = promote(sorted.dtype(), values.dtype());
  if (dtype == DType::bfloat16) dtype = DType::float32;
  if (itemsize(dtype) < 4) dtype = DType::int32;
  const Tensor s = cast(sorted, dtype), v = cast(values, dtype), y = Tensor::empty(values.shape(), DType::int64);
  if (y.numel() == 0) return y;
  const int64_t m = shared ? v.numel() : v.size(-1), rows = v.numel() / m, n = s.size(-1);
  visit(dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    if constexpr (std::is_same_v<T, float> || std::is_same_v<T, double> || std::is_same_v<T, int64_t> ||
                  std::is_same_v<T, int32_t>) {
      static const Kernel<searchsorted_fn<T>> kernel{cat("searchsorted/", name(dtype_of<T>())).c_str()};
      launch(y.numel() * 32, [&] { kernel(s.data<T>(), v.data<T>(), y.data<int64_t>(), rows, n, m, shared, right); });
    }
  });
  return y;
}

}  // namespace
}  // namespace dl

DL_BIND(sort) {
  using namespace dl;
  m.def("sort", &dl::sort, py::arg("x"), py::arg("dim"), py::arg("descending"),
        "Sorted values and where they came from; stable, NaN last.");
  m.def("argsort", &argsort, py::arg("x"), py::arg("dim"), py::arg("descending"),
        "The indices that sort along an axis; stable, NaN last.");
  m.def("topk", &dl::topk, py::arg("x"), py::arg("k"), py::arg("dim"), py::arg("largest"),
        "The k largest or smallest elements along an axis, in order, and where they are.");
  m.def("searchsorted", &dl::searchsorted, py::arg("sorted"), py::arg("values"), py::arg("right"),
        "How many sorted elements come before each value.");
}
