// Packing: a strip of A or B becomes a panel that the micro-kernel reads front to back. Widens bfloat16.
#pragma once
#include "kernels/matmul/lanes.h"

namespace dl {
namespace {

DL_INLINE int64_t min_of(int64_t a, int64_t b) { return a < b ? a : b; }
DL_INLINE int64_t max_of(int64_t a, int64_t b) { return a > b ? a : b; }
DL_INLINE constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Elements of a panel that K terms take.
template <class E> DL_INLINE int64_t panel_depth(int64_t K) { return K; }

DL_INLINE void widen(const float* x, float* y) { *y = *x; }
DL_INLINE void widen(const double* x, double* y) { *y = *x; }
DL_INLINE void widen(const bfloat16* x, float* y) { *y = to_float(*x); }

// panel[k * width + i] = x[i * stride + k * k_stride] for i < n, 0 for n <= i < width. width: a multiple of the lanes.
template <class In, class T>
void pack(const In* x, int64_t stride, int64_t k_stride, int64_t n, int64_t K, T* panel, int64_t width) {
  using V = Lanes_t<T>;
  constexpr int L = V::size;
  const V zeros = broadcast(T{0});
  if (stride == 1) {
    for (int64_t k = 0; k < K; ++k, x += k_stride, panel += width)
      for (int64_t i = 0; i < width; i += L)
        store(panel + i, i + L <= n ? load(x + i) : i < n ? load(x + i, n - i) : zeros);
  } else if (k_stride == 1) {
    for (int64_t i = 0; i < width; i += L) {
      const In* rows = x + i * stride;
      const int64_t present = min_of(L, n - i);
      for (int64_t k = 0; k < K; k += L) {
        const int64_t depth = min_of(L, K - k);
        V square[L];
        if (present == L && depth == L) {
#pragma GCC unroll 16
          for (int r = 0; r < L; ++r) square[r] = load(rows + r * stride + k);
        } else {
#pragma GCC unroll 16
          for (int r = 0; r < L; ++r) square[r] = r < present ? load(rows + r * stride + k, depth) : zeros;
        }
        transpose(square);
#pragma GCC unroll 16
        for (int d = 0; d < L; ++d)
          if (d < depth) store(panel + (k + d) * width + i, square[d]);
      }
    }
  } else {
    for (int64_t k = 0; k < K; ++k, x += k_stride, panel += width)
      for (int64_t i = 0; i < width; ++i) {
        if (i < n) widen(x + i * stride, panel + i);
        else panel[i] = T{0};
      }
  }
}

// n rows (as above) cut into panels of `height`, one after the other, each `width` wide.
template <class In, class T> void pack_panels(const In* x, int64_t stride, int64_t k_stride, int64_t n, int64_t K,
                                              T* panels, int64_t height, int64_t width) {
  using V = Lanes_t<T>;
  if (stride != 1 || n <= height) {
    for (int64_t i = 0; i < n; i += height, panels += K * width)
      pack(x + i * stride, stride, k_stride, min_of(height, n - i), K, panels, width);
    return;
  }
  // Neighbours in memory: one pass over the rows of x, so that each page is visited once.
  for (int64_t k = 0; k < K; ++k, x += k_stride) {
    T* row = panels + k * width;
    for (int64_t i = 0; i < n; i += height, row += K * width) {
      const int64_t count = min_of(height, n - i);
      for (int64_t j = 0; j < width; j += V::size)
        store(row + j, j + V::size <= count ? load(x + i + j) : load(x + i + j, j < count ? count - j : 0));
    }
  }
}

}  // namespace
}  // namespace dl
