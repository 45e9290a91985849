// The register-tile kernel: R x NV vectors of C in registers, one broadcast of A and NV vectors of B per step of K.
#pragma once
#include "kernels/matmul/lanes.h"
#include "kernels/matmul/pack.h"

namespace dl {
namespace {

// Rows x vectors of a tile fill the register file up to the NV vectors of B and a broadcast or two. Few rows leave
// room for wider tiles, which read longer runs of an unpacked B.
#if defined(__AVX512F__)
constexpr int kTileRows = 14, kWideRows = 6;  // 28 + 2 + 1 of 32 registers
#elif defined(__AVX2__)
constexpr int kTileRows = 6, kWideRows = 2;  // 12 + 2 + 1 of 16
#elif defined(__aarch64__)
constexpr int kTileRows = 12, kWideRows = 5;  // 24 + 2 + 1 of 32
#else
constexpr int kTileRows = 4, kWideRows = 1;  // 8 + 2 + 2 of 16: no fused multiply-add, so a product needs a register
#endif
constexpr int kTileVectors = 2, kWideVectors = 4;
// Predicated loads and stores cost nothing extra: a ragged edge of B is read in place too.
#if defined(__AVX512F__)
constexpr bool kMaskedTiles = true;
#else
constexpr bool kMaskedTiles = false;
#endif

// c[r, :] (+)= sum_k a[r, k] b[k, :] for R rows and the first n columns, (NV - 1) * lanes < n <= NV * lanes. a has any
// strides; a row of b holds NV whole vectors, or n values with kMaskedTiles. Each step of k also fetches the line at
// `ahead`, which moves on by ahead_step bytes: what comes after b.
template <class A, class B, class T, int R, int NV>
void micro(int64_t K, const A* a, int64_t a_row, int64_t a_col, const B* b, int64_t b_row, T* c, int64_t c_row,
           int64_t n, bool accumulate, const void* ahead, int64_t ahead_step) {
  using V = Lanes_t<T>;
  constexpr int kLast = (NV - 1) * V::size;
  const int64_t last = n - kLast;
  // What C needs is on its way while the sums are made.
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) __builtin_prefetch(c + r * c_row + j * V::size, 1);
  V acc[R][NV];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) acc[r][j] = broadcast(T{0});
  const char* next = static_cast<const char*>(ahead);
  // A pointer per three rows: x86 addresses base + {0, 1, 2} * stride, so any row stride costs no extra register.
  constexpr int kPointers = (R + 2) / 3;
  const A* p[kPointers];
#pragma GCC unroll 8
  for (int g = 0; g < kPointers; ++g) p[g] = a + 3 * g * a_row;
#pragma GCC unroll 1
  for (int64_t k = 0; k < K; ++k) {
    __builtin_prefetch(next, 0, 2);
    next += ahead_step;
    decltype(load(b)) bk[NV];
#pragma GCC unroll 4
    for (int j = 0; j < NV - 1; ++j) bk[j] = load(b + j * V::size);
    bk[NV - 1] = kMaskedTiles ? load(b + kLast, last) : load(b + kLast);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const auto ark = broadcast(p[r / 3][(r % 3) * a_row]);
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) acc[r][j] = fma(ark, bk[j], acc[r][j]);
    }
#pragma GCC unroll 8
    for (int g = 0; g < kPointers; ++g) p[g] += a_col;
    b += b_row;
  }
  if (!kMaskedTiles && last < V::size) {
    // Through a buffer, so that only this small loop and not every register of the tile has masked code.
    T tile[R][NV * V::size];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) store(tile[r] + j * V::size, acc[r][j]);
#pragma GCC unroll 1
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 1
      for (int64_t j = 0; j < n; j += V::size) {
        T* at = c + r * c_row + j;
        const int64_t lanes = n - j < V::size ? n - j : V::size;
        const V sum = load(tile[r] + j);
        store(at, accumulate ? load(at, lanes) + sum : sum, lanes);
      }
    return;
  }
  if (accumulate) {
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      T* row = c + r * c_row;
#pragma GCC unroll 4
      for (int j = 0; j < NV - 1; ++j) acc[r][j] = load(row + j * V::size) + acc[r][j];
      acc[r][NV - 1] = (kMaskedTiles ? load(row + kLast, last) : load(row + kLast)) + acc[r][NV - 1];
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
    T* row = c + r * c_row;
#pragma GCC unroll 4
    for (int j = 0; j < NV - 1; ++j) store(row + j * V::size, acc[r][j]);
    if (kMaskedTiles) store(row + kLast, acc[r][NV - 1], last);
    else store(row + kLast, acc[r][NV - 1]);
  }
}

template <class A, class B, class T> using MicroFn = void (*)(int64_t K, const A* a, int64_t a_row, int64_t a_col,
                                                              const B* b, int64_t b_row, T* c, int64_t c_row, int64_t n,
                                                              bool accumulate, const void* ahead, int64_t ahead_step);

template <class A, class B, class T, int NV, int... I> DL_INLINE MicroFn<A, B, T> micro_for(int64_t rows, Ints<I...>) {
  static constexpr MicroFn<A, B, T> by_rows[] = {micro<A, B, T, I + 1, NV>...};
  return by_rows[rows - 1];
}

// The kernel for 1 <= rows <= kTileRows and `vectors` of 1, 2 or, with rows <= kWideRows, 3 and 4. Only wide
// tiles read bfloat16 in place.
template <class A, class B, class T> MicroFn<A, B, T> micro_for(int64_t rows, int vectors) {
  if constexpr (sizeof(B) == sizeof(T)) {
    if (vectors == 1) return micro_for<A, B, T, 1>(rows, MakeInts<kTileRows>::type{});
    if (vectors == 2) return micro_for<A, B, T, 2>(rows, MakeInts<kTileRows>::type{});
  }
  return vectors == 3 ? micro_for<A, B, T, 3>(rows, MakeInts<kWideRows>::type{})
                      : micro_for<A, B, T, kWideVectors>(rows, MakeInts<kWideRows>::type{});
}

// Whether E is a pair of terms, made of bfloat16.
template <class E> constexpr bool kIsPair = false;

// How panels of E are cut, packed and multiplied.
template <class E> struct Panel {
  static constexpr bool pairs = kIsPair<E>;
  static constexpr int64_t rows = kTileRows;        // of A, at most
  static constexpr int64_t row_unit = 1, step = 8;  // blocks of C have multiples of so many rows, blocks of K of terms
  struct State {};                                  // what a thread sets up to multiply
  // Panels of one height: 16 rows are 8 + 8, not 14 + 2.
  static DL_INLINE int64_t height(int64_t n) { return ceil_div(n, ceil_div(n, rows)); }
  template <class In> static DL_INLINE void pack_a(const In* x, int64_t row, int64_t col, int64_t n, int64_t K,
                                                   E* panels, int64_t height, int64_t width) {
    pack_panels(x, row, col, n, K, panels, height, width);
  }
  // c (+)= a b, as micro() does, for `count` rows and n columns.
  template <class T> static DL_INLINE void multiply(int64_t count, int64_t n, int64_t depth, const E* a, int64_t a_row,
                                                    int64_t a_col, const E* b, int64_t b_row, T* c, int64_t c_row,
                                                    bool add, const void* ahead, int64_t ahead_step) {
    const int vectors = static_cast<int>(ceil_div(n, Lanes_t<T>::size));
    micro_for<E, E, T>(count, vectors)(depth, a, a_row, a_col, b, b_row, c, c_row, n, add, ahead, ahead_step);
  }
};

}  // namespace
}  // namespace dl
