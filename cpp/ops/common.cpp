#include "ops/common.h"

namespace dl {

void raise_if_cancelled() {
  if (take_cancelled()) throw py::error_already_set();
}

void mark_written(const Tensor& x, const char* op) {
  DL_CHECK(x.storage()->writable, "[", op, "] the tensor is a view of read-only memory and cannot be written in place");
  x.storage()->version.fetch_add(1, std::memory_order_relaxed);
  if (planning() && !x.storage()->heap) this_threads_plan()->written.push_back(x.storage());
}

void check_floating(const Tensor& x, const char* op) {
  DL_CHECK_TYPE(is_floating(x.dtype()), "[", op, "] expected a floating dtype, got ", x.dtype(), " of shape ",
                x.shape());
}

Rows rows_along(const Tensor& x, int axis) {
  if (x.ndim() == 0) return {contiguous(x), 1, 1};
  Dims order;
  for (int i = 0; i < x.ndim(); ++i)
    if (i != axis) order.push_back(i);
  order.push_back(axis);
  const int64_t cols = x.shape()[axis];
  return {contiguous(x.permute(order)), cols == 0 ? 0 : x.numel() / cols, cols};
}

Tensor restore_axis(const Tensor& y, int axis) {
  if (y.ndim() == 0 || axis == y.ndim() - 1) return y;
  Dims order;
  for (int i = 0; i < y.ndim(); ++i) order.push_back(i < axis ? i : i == axis ? y.ndim() - 1 : i - 1);
  return y.permute(order);
}

}  // namespace dl
