// Products with one short side: dot products along K, both operands read in place. R x C of them share their loads.
#pragma once
#include "kernels/matmul/lanes.h"
#include "kernels/matmul/pack.h"

namespace dl {
namespace {

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kDotRows = 4, kDotCols = 4;
#else
constexpr int kDotRows = 2, kDotCols = 4;
#endif

// out[r * out_row + j * out_col] (+)= sum_k x[r * x_row + k] w[j * w_row + k].
template <class In, class T, int R, int C> void dot_tile(int64_t K, const In* x, int64_t x_row, const In* w,
                                                         int64_t w_row, T* out, int64_t out_row, int64_t out_col,
                                                         bool accumulate) {
  using V = Lanes_t<T>;
  V acc[R][C];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int j = 0; j < C; ++j) acc[r][j] = broadcast(T{0});
  const auto step = [&](auto load_at) __attribute__((always_inline)) {
    V wk[C];
#pragma GCC unroll 4
    for (int j = 0; j < C; ++j) wk[j] = load_at(w + j * w_row);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const V xk = load_at(x + r * x_row);
#pragma GCC unroll 4
      for (int j = 0; j < C; ++j) acc[r][j] = fma(xk, wk[j], acc[r][j]);
    }
  };
  int64_t k = 0;
  for (; k + V::size <= K; k += V::size) step([&](const In* p) __attribute__((always_inline)) { return load(p + k); });
  if (k < K) step([&](const In* p) __attribute__((always_inline)) { return load(p + k, K - k); });
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int j = 0; j < C; ++j) {
      T* at = out + r * out_row + j * out_col;
      const T sum = reduce_add(acc[r][j]);
      *at = accumulate ? *at + sum : sum;
    }
}

template <class In, class T> using DotFn = void (*)(int64_t K, const In* x, int64_t x_row, const In* w, int64_t w_row,
                                                    T* out, int64_t out_row, int64_t out_col, bool accumulate);

template <class In, class T, int... I> DL_INLINE DotFn<In, T> dot_for(int rows, int cols, Ints<I...>) {
  static constexpr DotFn<In, T> table[] = {dot_tile<In, T, I / kDotCols + 1, I % kDotCols + 1>...};
  return table[(rows - 1) * kDotCols + cols - 1];
}

// All pairs of `few` rows of x with `many` rows of w; w is streamed once.
template <class In, class T> void dot_products(int64_t few, int64_t many, int64_t K, const In* x, int64_t x_row,
                                               const In* w, int64_t w_row, T* out, int64_t out_row, int64_t out_col,
                                               bool accumulate) {
  for (int64_t j = 0; j < many; j += kDotCols)
    for (int64_t i = 0; i < few; i += kDotRows) {
      const int rows = static_cast<int>(min_of(kDotRows, few - i)), cols = static_cast<int>(min_of(kDotCols, many - j));
      dot_for<In, T>(rows, cols, typename MakeInts<kDotRows * kDotCols>::type{})(
          K, x + i * x_row, x_row, w + j * w_row, w_row, out + i * out_row + j * out_col, out_row, out_col, accumulate);
    }
}

}  // namespace
}  // namespace dl
