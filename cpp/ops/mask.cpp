// Reading and writing where a mask holds.
#include "kernels/mask/mask.h"
#include "ops/common.h"

namespace dl {
namespace {

// A contiguous mask with the number of true places before each of its blocks, and in all.
struct Counted {
  Tensor mask;
  std::vector<int64_t> starts;
  int64_t total = 0;

  explicit Counted(const Tensor& m) : mask(cast(m, DType::boolean)) {
    const int64_t n = mask.numel();
    starts.resize(static_cast<size_t>((n + kMaskBlock - 1) / kMaskBlock));
    if (n == 0) return;
    static const Kernel<mask_count_fn> kernel{"mask_count"};
    launch(n, [&] { kernel(bytes(), n, starts.data()); });
    for (int64_t& s : starts) {
      const int64_t count = s;
      s = total;
      total += count;
    }
  }
  const uint8_t* bytes() const { return static_cast<const uint8_t*>(mask.raw()); }
};

Tensor nonzero(const Tensor& x) {
  const Counted m(x);
  const Tensor y = Tensor::empty({m.total, x.ndim()}, DType::int64);
  if (y.numel() == 0) return y;
  static const Kernel<mask_places_fn> kernel{"mask_places"};
  launch(x.numel(),
         [&] { kernel(m.bytes(), x.numel(), m.starts.data(), x.shape().begin(), x.ndim(), y.data<int64_t>()); });
  return y;
}

// The mask covers the first dimensions of x; the others make up one row.
int64_t row_of(const Tensor& x, const Tensor& mask, const char* op) {
  DL_CHECK_TYPE(mask.dtype() == DType::boolean, "[", op, "] expected a bool mask, got ", mask.dtype(), " of shape ",
                mask.shape());
  bool fits = mask.ndim() <= x.ndim();
  for (int d = 0; fits && d < mask.ndim(); ++d) fits = mask.shape()[d] == x.shape()[d];
  DL_CHECK_INDEX(fits, "[", op, "] a mask of shape ", mask.shape(), " does not match the first dimensions of shape ",
                 x.shape());
  int64_t row = 1;
  for (int d = mask.ndim(); d < x.ndim(); ++d) row *= x.shape()[d];
  return row;
}

template <class T> void run_read(const Tensor& x, const Counted& m, int64_t row, const Tensor& y, const char* name) {
  static const Kernel<mask_read_fn<T>> kernel{name};
  launch(x.numel(), [&] {
    kernel(static_cast<const T*>(x.raw()), m.bytes(), m.mask.numel(), m.starts.data(), row, static_cast<T*>(y.raw()));
  });
}

Tensor mask_read(const Tensor& x, const Tensor& mask) {
  const int64_t row = row_of(x, mask, "index");
  const Counted m(mask);
  Dims shape{m.total};
  for (int d = mask.ndim(); d < x.ndim(); ++d) shape.push_back(x.shape()[d]);
  const Tensor y = Tensor::empty(shape, x.dtype()), rows = contiguous(x);
  if (y.numel() == 0) return y;
  switch (itemsize(x.dtype())) {
    case 1: run_read<uint8_t>(rows, m, row, y, "mask_read/1"); break;
    case 2: run_read<uint16_t>(rows, m, row, y, "mask_read/2"); break;
    case 4: run_read<uint32_t>(rows, m, row, y, "mask_read/4"); break;
    default: run_read<uint64_t>(rows, m, row, y, "mask_read/8");
  }
  return y;
}

template <class T>
void run_write(const Tensor& x, const Counted& m, int64_t row, const Tensor& y, int64_t y_step, const char* name) {
  static const Kernel<mask_write_fn<T>> kernel{name};
  launch(x.numel(), [&] {
    kernel(static_cast<T*>(x.raw()), m.bytes(), m.mask.numel(), m.starts.data(), row, static_cast<const T*>(y.raw()),
           y_step);
  });
}

void mask_write(const Tensor& x, const Tensor& mask, const Tensor& values) {
  const int64_t row = row_of(x, mask, "setitem");
  check_writable(x, "setitem");
  const Counted m(mask);
  Dims shape{m.total};
  for (int d = mask.ndim(); d < x.ndim(); ++d) shape.push_back(x.shape()[d]);
  const bool one_row = values.ndim() < shape.size() || (values.ndim() == shape.size() && values.shape()[0] == 1);
  if (one_row) shape[0] = 1;
  const int64_t y_step = one_row ? 0 : row;
  const Tensor y = Tensor::empty(shape, x.dtype());
  copy_into(values, y, "setitem");
  if (m.total == 0 || y.numel() == 0) return mark_written(x, "setitem");
  const Tensor rows = contiguous(x);
  mark_written(rows, "setitem");
  switch (itemsize(x.dtype())) {
    case 1: run_write<uint8_t>(rows, m, row, y, y_step, "mask_write/1"); break;
    case 2: run_write<uint16_t>(rows, m, row, y, y_step, "mask_write/2"); break;
    case 4: run_write<uint32_t>(rows, m, row, y, y_step, "mask_write/4"); break;
    default: run_write<uint64_t>(rows, m, row, y, y_step, "mask_write/8");
  }
  if (!x.is_contiguous()) copy_into(rows, x, "setitem");
}

}  // namespace
}  // namespace dl

DL_BIND(mask) {
  using namespace dl;
  m.def("nonzero", &nonzero, py::arg("x"),
        "The indices of the elements that are not zero, one row each, in row-major order.");
  m.def("mask_read", &mask_read, py::arg("x"), py::arg("mask"), "x[mask] for a mask over the first dimensions of x.");
  m.def("mask_write", &mask_write, py::arg("x"), py::arg("mask"), py::arg("values"),
        "x[mask] = values, broadcast to x[mask].");
}
