// The register tile: R rows x NV vectors of sums. Row k of b lies anywhere (at[k]), so the same loop runs over a packed
// panel and over shifted reads of a padded plane.
#pragma once
#include "kernels/matmul/register_tile.h"

namespace dl {
namespace {

constexpr int64_t kBlockPixels = 256;  // at most, of a chunk: see chunks_of

// R x NV sums fill the register file up to a vector of b and a broadcast or two. Fewer rows leave room for more
// vectors. Sanitizers compile a few of the heights, as for products.
#if defined(DL_FEW_TILES)
constexpr int kConvRows = 3, kConvRowsWide = 2;
#elif defined(__AVX512F__) || defined(__aarch64__)
constexpr int kConvRows = 14, kConvRowsWide = 6;  // x 2 and x 4 vectors, of 32 registers
#elif defined(__AVX2__)
constexpr int kConvRows = 6, kConvRowsWide = 3;  // of 16
#else
constexpr int kConvRows = 4, kConvRowsWide = 2;  // of 16; a product without fused add needs one more
#endif
constexpr int kConvVectors = 2, kConvVectorsWide = 4,
              kConvVectorsSingle = 8;  // 8: one row, enough sums to hide latency

// c[r, :] (+)= sum_k a[r * a_row + k * a_col] * b[at[k] + :] for R rows and n columns, (NV - 1) * lanes < n <= NV *
// lanes. Whole vectors of b may be read.
template <class T, int R, int NV> void conv_tile(int64_t K, const T* a, int64_t a_row, int64_t a_col, const T* b,
                                                 const int32_t* at, T* c, int64_t c_row, int64_t n, bool accumulate) {
  Tile<T, T, T, R, NV> tile;
  tile.last = n - tile.kLast;
  tile.clear();
  // A pointer per three rows: x86 addresses base + {0, 1, 2} * stride, so any row stride costs no extra register.
  constexpr int kPointers = (R + 2) / 3;
  const T* p[kPointers];
#pragma GCC unroll 8
  for (int g = 0; g < kPointers; ++g) p[g] = a + 3 * g * a_row;
#pragma GCC unroll 1
  for (int64_t k = 0; k < K; ++k) {
    tile.template step<true, false>([&](int r) __attribute__((always_inline)) { return p[r / 3] + (r % 3) * a_row; },
                                    b + at[k]);
#pragma GCC unroll 8
    for (int g = 0; g < kPointers; ++g) p[g] += a_col;
  }
  tile.finish(c, c_row, n, accumulate);
}

template <class T> using ConvTileFn = void (*)(int64_t K, const T* a, int64_t a_row, int64_t a_col, const T* b,
                                               const int32_t* at, T* c, int64_t c_row, int64_t n, bool accumulate);

template <class T, int NV, int... I> DL_INLINE ConvTileFn<T> conv_tile_for(int64_t rows, Ints<I...>) {
  static constexpr ConvTileFn<T> by_rows[] = {conv_tile<T, I + 1, NV>...};
  return by_rows[rows - 1];
}

// 1 <= rows <= kConvRows; 1 or 2 vectors.
template <class T> ConvTileFn<T> conv_tile_for(int64_t rows, int vectors) {
  return vectors == 1 ? conv_tile_for<T, 1>(rows, MakeInts<kConvRows>::type{})
                      : conv_tile_for<T, kConvVectors>(rows, MakeInts<kConvRows>::type{});
}

template <class T> struct ShiftedRows {
  const T* b;
  const int32_t* at;
  DL_INLINE const T* row(int u) {
    asm("" : "+r"(at));  // see packed_tile
    return b + at[u];
  }
  DL_INLINE void advance(int n) { at += n; }
};

// The same for a panel of weights: a[k * R + r].
template <class T, int R, int NV> void packed_conv_tile(int64_t K, const T* a, const T* b, const int32_t* at, T* c,
                                                        int64_t c_row, int64_t n, bool accumulate) {
  packed_tile<T, T, R, NV, 1, R>(K, a, ShiftedRows<T>{b, at}, c, c_row, n, accumulate);
}

// The same for rows of a that are kBlockPixels apart, and a packed panel of b.
template <class T, int R, int NV>
void pixels_tile(int64_t K, const T* a, const T* b, T* c, int64_t c_row, int64_t n, bool accumulate) {
  packed_tile<T, T, R, NV, int{kBlockPixels}, 1>(K, a, PackedRows<T, kConvVectors * Lanes_t<T>::size>{b}, c, c_row, n,
                                                 accumulate);
}

template <class T>
using PixelsTileFn = void (*)(int64_t K, const T* a, const T* b, T* c, int64_t c_row, int64_t n, bool accumulate);

template <class T, int NV, int... I> DL_INLINE PixelsTileFn<T> pixels_tile_for(int64_t rows, Ints<I...>) {
  static constexpr PixelsTileFn<T> by_rows[] = {pixels_tile<T, I + 1, NV>...};
  return by_rows[rows - 1];
}

// 1 <= rows <= kConvRows; 1 or 2 vectors.
template <class T> PixelsTileFn<T> pixels_tile_for(int64_t rows, int vectors) {
  return vectors == 1 ? pixels_tile_for<T, 1>(rows, MakeInts<kConvRows>::type{})
                      : pixels_tile_for<T, kConvVectors>(rows, MakeInts<kConvRows>::type{});
}

template <class T> using PackedConvTileFn = void (*)(int64_t K, const T* a, const T* b, const int32_t* at, T* c,
                                                     int64_t c_row, int64_t n, bool accumulate);

template <class T, int NV, int... I> DL_INLINE PackedConvTileFn<T> packed_conv_tile_for(int64_t rows, Ints<I...>) {
  static constexpr PackedConvTileFn<T> by_rows[] = {packed_conv_tile<T, I + 1, NV>...};
  return by_rows[rows - 1];
}

// 1 <= rows <= kConvRows for 1 or 2 vectors, <= kConvRowsWide for 4, 1 for 8.
template <class T> PackedConvTileFn<T> packed_conv_tile_for(int64_t rows, int vectors) {
  switch (vectors) {
    case 1: return packed_conv_tile_for<T, 1>(rows, MakeInts<kConvRows>::type{});
    case kConvVectors: return packed_conv_tile_for<T, kConvVectors>(rows, MakeInts<kConvRows>::type{});
    case kConvVectorsWide: return packed_conv_tile_for<T, kConvVectorsWide>(rows, MakeInts<kConvRowsWide>::type{});
    default: return packed_conv_tile<T, 1, kConvVectorsSingle>;
  }
}

}  // namespace
}  // namespace dl
