#include <algorithm>
#include <numeric>
#include <vector>

#include "dispatch/kernel.h"
#include "kernels/sort/sort.h"

namespace dl {
namespace {

float value_of(bfloat16 x) { return to_float(x); }
template <class T> T value_of(T x) { return x; }

// NaN comes last.
template <class T> bool before(T x, T y) {
  const auto a = value_of(x), b = value_of(y);
  return a < b || (b != b && a == a);
}

template <class T> std::vector<int64_t> order_of(const T* x, int64_t n, bool descending) {
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t i, int64_t j) { return descending ? before(x[j], x[i]) : before(x[i], x[j]); });
  return order;
}

template <class T>
void topk(const T* x, T* values, int64_t* indices, int64_t rows, int64_t cols, int64_t k, bool largest, void*) {
  for (int64_t r = 0; r < rows; ++r) {
    const std::vector<int64_t> order = order_of(x + r * cols, cols, largest);
    for (int64_t i = 0; i < k; ++i) {
      indices[r * k + i] = order[static_cast<size_t>(i)];
      if (values) values[r * k + i] = x[r * cols + order[static_cast<size_t>(i)]];
    }
  }
}

template <class T>
void sort(const T* x, T* values, int64_t* indices, int64_t rows, int64_t cols, bool descending, void* workspace) {
  topk(x, values, indices, rows, cols, cols, descending, workspace);
}

template <class T> void searchsorted(const T* sorted, const T* values, int64_t* y, int64_t rows, int64_t n, int64_t m,
                                     bool shared, bool right) {
  for (int64_t i = 0; i < rows * m; ++i) {
    const T* row = sorted + (shared ? 0 : i / m * n);
    y[i] = 0;
    for (int64_t j = 0; j < n; ++j) y[i] += right ? !before(values[i], row[j]) : before(row[j], values[i]);
  }
}

DL_REGISTER("sort/float32", sort, sort_fn<float>)
DL_REGISTER("sort/bfloat16", sort, sort_fn<bfloat16>)
DL_REGISTER("sort/float64", sort, sort_fn<double>)
DL_REGISTER("sort/int64", sort, sort_fn<int64_t>)
DL_REGISTER("sort/int32", sort, sort_fn<int32_t>)
DL_REGISTER("sort/uint8", sort, sort_fn<uint8_t>)
DL_REGISTER("topk/float32", topk, topk_fn<float>)
DL_REGISTER("topk/bfloat16", topk, topk_fn<bfloat16>)
DL_REGISTER("topk/float64", topk, topk_fn<double>)
DL_REGISTER("topk/int64", topk, topk_fn<int64_t>)
DL_REGISTER("topk/int32", topk, topk_fn<int32_t>)
DL_REGISTER("topk/uint8", topk, topk_fn<uint8_t>)
DL_REGISTER("searchsorted/float32", searchsorted, searchsorted_fn<float>)
DL_REGISTER("searchsorted/float64", searchsorted, searchsorted_fn<double>)
DL_REGISTER("searchsorted/int64", searchsorted, searchsorted_fn<int64_t>)
DL_REGISTER("searchsorted/int32", searchsorted, searchsorted_fn<int32_t>)

}  // namespace
}  // namespace dl
