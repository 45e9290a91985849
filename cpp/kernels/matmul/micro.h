// The register-tile kernel: R x NV vectors of C in registers, one broadcast of A and NV vectors of B per step of K.
#pragma once
#include "kernels/matmul/pack.h"
#include "kernels/matmul/register_tile.h"

namespace dl {
namespace {

// Rows x vectors of a tile fill the register file up to the NV vectors of B and a broadcast or two. Few rows leave
// room for wider tiles, which read longer runs of an unpacked B. Sanitizers take minutes to compile all heights, which
// are instances of one template: they have a few.
#if defined(DL_FEW_TILES)
constexpr int kTileRows = 3, kWideRows = 2;
#elif defined(__AVX512F__)
constexpr int kTileRows = 14, kWideRows = 6;  // 28 + 2 + 1 of 32 registers
#elif defined(__AVX2__)
constexpr int kTileRows = 6, kWideRows = 2;  // 12 + 2 + 1 of 16
#elif defined(__aarch64__)
constexpr int kTileRows = 12, kWideRows = 5;  // 24 + 2 + 1 of 32
#else
constexpr int kTileRows = 4, kWideRows = 1;  // 8 + 2 + 2 of 16: no fused multiply-add, so a product needs a register
#endif
constexpr int kTileVectors = 2, kWideVectors = 4;
constexpr int kWaitsForB = 9;  // a tile of so few rows fetches whole rows of B ahead
// Elements from one term to the next in a panel of A, which is padded to whole vectors, and of B.
template <class E> constexpr int64_t kPanelRows =
    (kTileRows + Lanes_t<E>::size - 1) / Lanes_t<E>::size * Lanes_t<E>::size;
template <class T> constexpr int64_t kPanelCols = kTileVectors * Lanes_t<T>::size;

// c[r, :] (+)= sum_k a[r, k] b[k, :] for R rows and the first n columns, (NV - 1) * lanes < n <= NV * lanes. a has any
// strides; a row of b holds NV whole vectors, or, with kMaskedTiles and not `whole`, n values. Each step of k also
// fetches the line at `ahead`, which moves on by ahead_step bytes: what comes after b.
template <class A, class B, class T, int R, int NV, bool whole>
void micro(int64_t K, const A* a, int64_t a_row, int64_t a_col, const B* b, int64_t b_row, T* c, int64_t c_row,
           int64_t n, bool accumulate, const void* ahead, int64_t ahead_step) {
  Tile<A, B, T, R, NV> tile;
  tile.last = n - tile.kLast;
  tile.clear();
  const char* next = static_cast<const char*>(ahead);
  // A pointer per three rows: x86 addresses base + {0, 1, 2} * stride, so any row stride costs no extra register.
  constexpr int kPointers = (R + 2) / 3;
  const A* p[kPointers];
#pragma GCC unroll 8
  for (int g = 0; g < kPointers; ++g) p[g] = a + 3 * g * a_row;
#pragma GCC unroll 1
  for (int64_t k = 0; k < K; ++k) {
    __builtin_prefetch(next, 0, 2);
#pragma GCC unroll 8
    for (int j = 1; j < (R <= kWaitsForB ? NV : 1); ++j) __builtin_prefetch(next + j * 64, 0, 2);
    next += ahead_step;
    tile.template step<whole, false>([&](int r) __attribute__((always_inline)) { return p[r / 3] + (r % 3) * a_row; },
                                     b);
#pragma GCC unroll 8
    for (int g = 0; g < kPointers; ++g) p[g] += a_col;
    b += b_row;
  }
  tile.finish(c, c_row, n, accumulate);
}

// PackedRows, where each step also fetches the line at `ahead`, as above.
template <class E, int width> struct FetchingRows : PackedRows<E, width> {
  const char* ahead;
  int64_t ahead_step;
  FetchingRows(const E* b, const void* next, int64_t step)
      : PackedRows<E, width>{b}, ahead(static_cast<const char*>(next)), ahead_step(step) {}
  DL_INLINE const E* row(int u) {
    __builtin_prefetch(ahead, 0, 2);
    ahead += ahead_step;
    return PackedRows<E, width>::row(u);
  }
};

template <class E, class T, int R, int NV> void packed_micro(int64_t K, const E* a, const E* b, T* c, int64_t c_row,
                                                             int64_t n, bool accumulate, const void* ahead,
                                                             int64_t ahead_step) {
  const FetchingRows<E, int{kPanelCols<T>}> rows(b, ahead, ahead_step);
  packed_tile<E, T, R, NV, 1, int{kPanelRows<E>}>(K, a, rows, c, c_row, n, accumulate);
}

template <class A, class B, class T> using MicroFn = void (*)(int64_t K, const A* a, int64_t a_row, int64_t a_col,
                                                              const B* b, int64_t b_row, T* c, int64_t c_row, int64_t n,
                                                              bool accumulate, const void* ahead, int64_t ahead_step);

template <class A, class B, class T, int NV, bool whole, int... I>
DL_INLINE MicroFn<A, B, T> micro_for(int64_t rows, Ints<I...>) {
  static constexpr MicroFn<A, B, T> by_rows[] = {micro<A, B, T, I + 1, NV, whole>...};
  return by_rows[rows - 1];
}

// The kernel for 1 <= rows <= kTileRows and `vectors` of 1, 2 or, with rows <= kWideRows, 3 and 4. Only wide
// tiles read bfloat16 in place.
template <class A, class B, class T, bool whole = true> MicroFn<A, B, T> micro_for(int64_t rows, int vectors) {
  if constexpr (sizeof(B) == sizeof(T)) {
    if (vectors == 1) return micro_for<A, B, T, 1, whole>(rows, MakeInts<kTileRows>::type{});
    if (vectors == 2) return micro_for<A, B, T, 2, whole>(rows, MakeInts<kTileRows>::type{});
  }
  return vectors == 3 ? micro_for<A, B, T, 3, whole>(rows, MakeInts<kWideRows>::type{})
                      : micro_for<A, B, T, kWideVectors, whole>(rows, MakeInts<kWideRows>::type{});
}

template <class E, class T> using PackedMicroFn = void (*)(int64_t K, const E* a, const E* b, T* c, int64_t c_row,
                                                           int64_t n, bool accumulate, const void* ahead,
                                                           int64_t ahead_step);

template <class E, class T, int NV, int... I> DL_INLINE PackedMicroFn<E, T> packed_micro_for(int64_t rows, Ints<I...>) {
  static constexpr PackedMicroFn<E, T> by_rows[] = {packed_micro<E, T, I + 1, NV>...};
  return by_rows[rows - 1];
}

// Whether E is a pair of terms, made of bfloat16.
template <class E> constexpr bool kIsPair = false;

// How panels of E are cut, packed and multiplied.
template <class E> struct Panel {
  static constexpr bool pairs = kIsPair<E>;
  static constexpr int64_t rows = kTileRows, width = kPanelRows<E>;  // of A: at most; with padding
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
    if (a_row == 1 && a_col == kPanelRows<E> && b_row == kPanelCols<T>) {
      const auto run = vectors == 1 ? packed_micro_for<E, T, 1>(count, MakeInts<kTileRows>::type{})
                                    : packed_micro_for<E, T, 2>(count, MakeInts<kTileRows>::type{});
      return run(depth, a, b, c, c_row, n, add, ahead, ahead_step);
    }
    micro_for<E, E, T>(count, vectors)(depth, a, a_row, a_col, b, b_row, c, c_row, n, add, ahead, ahead_step);
  }
};

}  // namespace
}  // namespace dl
