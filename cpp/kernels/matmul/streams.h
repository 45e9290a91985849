// Products of one or two rows with a row-major B: eight rows of B are read side by side, each from end to end as the
// memory likes it, and C stays in the first-level cache.
#pragma once
#include "kernels/matmul/lanes.h"
#include "kernels/matmul/pack.h"

namespace dl {
namespace {

constexpr int64_t kStreamRows = 2;

// c[r, :] (+)= sum over S terms of a[r, k] b[k, :], n columns.
template <class In, class T, int R, int S> void stream_step(const In* a, int64_t a_row, int64_t a_col, const In* b,
                                                            int64_t b_row, T* c, int64_t c_row, int64_t n,
                                                            bool accumulate) {
  using V = Lanes_t<T>;
  V ark[R][S];
#pragma GCC unroll 2
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int k = 0; k < S; ++k) ark[r][k] = broadcast(a[r * a_row + k * a_col]);
  const auto at = [&](int64_t j, auto load_at, auto store_at) __attribute__((always_inline)) {
    V sum[R];
#pragma GCC unroll 2
    for (int r = 0; r < R; ++r) sum[r] = accumulate ? load_at(c + r * c_row + j) : broadcast(T{0});
#pragma GCC unroll 8
    for (int k = 0; k < S; ++k) {
      const V bk = load_at(b + k * b_row + j);
#pragma GCC unroll 2
      for (int r = 0; r < R; ++r) sum[r] = fma(ark[r][k], bk, sum[r]);
    }
#pragma GCC unroll 2
    for (int r = 0; r < R; ++r) store_at(c + r * c_row + j, sum[r]);
  };
  int64_t j = 0;
  for (; j + V::size <= n; j += V::size)
    at(
        j, [](const auto* p) __attribute__((always_inline)) { return load(p); },
        [](T* p, V v) __attribute__((always_inline)) { store(p, v); });
  if (j < n)
    at(
        j, [&](const auto* p) __attribute__((always_inline)) { return load(p, n - j); },
        [&](T* p, V v) __attribute__((always_inline)) { store(p, v, n - j); });
}

// c[r, :] (+)= sum_k a[r, k] b[k, :] for rows <= kStreamRows and n columns.
template <class In, class T> void stream_products(int64_t rows, int64_t n, int64_t K, const In* a, int64_t a_row,
                                                  int64_t a_col, const In* b, int64_t b_row, T* c, int64_t c_row,
                                                  bool accumulate) {
  const auto run = [&](auto* eight, auto* one) {
    int64_t k = 0;
    for (; k + 8 <= K; k += 8, accumulate = true)
      eight(a + k * a_col, a_row, a_col, b + k * b_row, b_row, c, c_row, n, accumulate);
    for (; k < K; ++k, accumulate = true)
      one(a + k * a_col, a_row, a_col, b + k * b_row, b_row, c, c_row, n, accumulate);
  };
  if (rows == 1) run(stream_step<In, T, 1, 8>, stream_step<In, T, 1, 1>);
  else run(stream_step<In, T, 2, 8>, stream_step<In, T, 2, 1>);
}

}  // namespace
}  // namespace dl
