// The register tile: R rows x NV vectors of sums. Row k of b lies anywhere (at[k]), so the same loop runs over a packed
// panel and over shifted reads of a padded plane.
#pragma once
#include "kernels/matmul/lanes.h"

namespace dl {
namespace {

// R x NV sums fill the register file up to a vector of b and a broadcast or two. Fewer rows leave room for more
// vectors.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kConvRows = 14, kConvRowsWide = 6;  // x 2 and x 4 vectors, of 32 registers
#elif defined(__AVX2__)
constexpr int kConvRows = 6, kConvRowsWide = 3;  // of 16
#else
constexpr int kConvRows = 4, kConvRowsWide = 2;  // of 16; a product without fused add needs one more
#endif
constexpr int kConvVectors = 2, kConvVectorsWide = 4,
              kConvVectorsSingle = 8;  // 8: one row, enough sums to hide latency

// c[r, :] (+)= sum_k a[r * a_row + k * a_col] * b[at[k] + :] for R rows and the first n <= NV * lanes columns.
template <class T, int R, int NV> void conv_tile(int64_t K, const T* a, int64_t a_row, int64_t a_col, const T* b,
                                                 const int32_t* at, T* c, int64_t c_row, int64_t n, bool accumulate) {
  using V = Lanes_t<T>;
  V sum[R][NV];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) sum[r][j] = broadcast(T{0});
  // A pointer per three rows: x86 addresses base + {0, 1, 2} * stride, so any row stride costs no extra register.
  constexpr int kPointers = (R + 2) / 3;
  const T* p[kPointers];
#pragma GCC unroll 8
  for (int g = 0; g < kPointers; ++g) p[g] = a + 3 * g * a_row;
#pragma GCC unroll 1
  for (int64_t k = 0; k < K; ++k) {
    const T* const row = b + at[k];
    if constexpr (R == 1) {
      const V w = broadcast(p[0][0]);
#pragma GCC unroll 8
      for (int j = 0; j < NV; ++j) sum[0][j] = fma(w, load(row + j * V::size), sum[0][j]);
    } else {
      V v[NV];
#pragma GCC unroll 8
      for (int j = 0; j < NV; ++j) v[j] = load(row + j * V::size);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        const V w = broadcast(p[r / 3][(r % 3) * a_row]);
#pragma GCC unroll 8
        for (int j = 0; j < NV; ++j) sum[r][j] = fma(w, v[j], sum[r][j]);
      }
    }
#pragma GCC unroll 8
    for (int g = 0; g < kPointers; ++g) p[g] += a_col;
  }
  if (n == NV * V::size) {
    if (accumulate) {
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
        for (int j = 0; j < NV; ++j) sum[r][j] = load(c + r * c_row + j * V::size) + sum[r][j];
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
      for (int j = 0; j < NV; ++j) store(c + r * c_row + j * V::size, sum[r][j]);
    return;
  }
  // A ragged edge: through a buffer, under a mask.
  T tile[R][NV * V::size];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) store(tile[r] + j * V::size, sum[r][j]);
#pragma GCC unroll 1
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 1
    for (int64_t j = 0; j < n; j += V::size) {
      T* to = c + r * c_row + j;
      const int64_t lanes = n - j < V::size ? n - j : V::size;
      const V v = load(tile[r] + j);
      store(to, accumulate ? load(to, lanes) + v : v, lanes);
    }
}

template <class T> using ConvTileFn = void (*)(int64_t K, const T* a, int64_t a_row, int64_t a_col, const T* b,
                                               const int32_t* at, T* c, int64_t c_row, int64_t n, bool accumulate);

template <class T, int NV, int... I> DL_INLINE ConvTileFn<T> conv_tile_for(int64_t rows, Ints<I...>) {
  static constexpr ConvTileFn<T> by_rows[] = {conv_tile<T, I + 1, NV>...};
  return by_rows[rows - 1];
}

// 1 <= rows <= kConvRows for 1 or 2 vectors, <= kConvRowsWide for 4, 1 for 8.
template <class T> ConvTileFn<T> conv_tile_for(int64_t rows, int vectors) {
  switch (vectors) {
    case 1: return conv_tile_for<T, 1>(rows, MakeInts<kConvRows>::type{});
    case kConvVectors: return conv_tile_for<T, kConvVectors>(rows, MakeInts<kConvRows>::type{});
    case kConvVectorsWide: return conv_tile_for<T, kConvVectorsWide>(rows, MakeInts<kConvRowsWide>::type{});
    default: return conv_tile<T, 1, kConvVectorsSingle>;
  }
}

}  // namespace
}  // namespace dl
