// The tile unit (AMX): C in four tiles of 16 x 16, A and B in panels of pairs, 32 terms a step.
#pragma once
#include "kernels/matmul/pairs.h"

#if defined(__AMX_BF16__)
namespace dl {
namespace {

constexpr int64_t kUnitRows = 32, kUnitCols = 32;  // of C at a time

// All eight tiles as 16 rows of 64 bytes, for as long as it lives; other threads' registers are their own.
class TileState {
 public:
  TileState() {
    struct alignas(64) {
      uint8_t palette = 1, start_row = 0, reserved[14] = {};
      uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    } config;
    _tile_loadconfig(&config);
  }
  TileState(const TileState&) = delete;
  ~TileState() { _tile_release(); }
};

// Rows of A as the unit reads them: panel[(k / 16 * 32 + i) * 16 + k % 16] holds pair k of row i. Rows from n on are
// left as they are: what comes of them is never stored.
inline void pack_rows(const bfloat16* x, int64_t stride, int64_t k_stride, int64_t n, int64_t K, Pair* panel) {
  const int64_t depth = panel_depth<Pair>(K);
  for (int64_t k = 0; k < depth; k += 16, panel += 16 * kUnitRows) {
    const int64_t terms = K - 2 * k;
    if (k_stride == 1) {
      for (int64_t i = 0; i < n; ++i) store(panel + i * 16, load_pairs(x + i * stride + 2 * k, terms));
    } else if (stride == 1) {
      for (int64_t i = 0; i < n; i += 16) {
        PairVec square[16];
#pragma GCC unroll 16
        for (int d = 0; d < 16; ++d)
          square[d] = 2 * d < terms ? interleave(x + (2 * k + 2 * d) * k_stride + i, k_stride, n - i, 2 * d + 1 < terms)
                                    : broadcast(Pair{0});
        transpose_pairs(square);
        for (int64_t r = 0; r < min_of(16, n - i); ++r) store(panel + (i + r) * 16, square[r]);
      }
    } else {
      for (int64_t i = 0; i < n; ++i)
        for (int64_t d = 0; d < 16; ++d)
          panel[i * 16 + d] = 2 * d < terms
                                  ? pair_of(x + i * stride + (2 * k + 2 * d) * k_stride, k_stride, 2 * d + 1 < terms)
                                  : Pair{0};
    }
  }
}

// sums[r, :] (+)= the panels' product, for one or two tiles of rows and of columns; whole tiles are read and written.
template <int R, int C> inline void multiply_tiles(int64_t depth, const Pair* a, const Pair* b, int64_t b_row,
                                                   float* sums, int64_t sums_row, bool accumulate, const void* ahead,
                                                   int64_t ahead_step) {
  const int64_t row_bytes = sums_row * static_cast<int64_t>(sizeof(float)), b_bytes = b_row * int64_t{sizeof(Pair)};
  float* const lower = sums + 16 * sums_row;
  if (accumulate) {
    _tile_loadd(0, sums, row_bytes);
    if constexpr (C == 2) _tile_loadd(1, sums + 16, row_bytes);
    if constexpr (R == 2) _tile_loadd(2, lower, row_bytes);
    if constexpr (R == 2 && C == 2) _tile_loadd(3, lower + 16, row_bytes);
  } else {
    _tile_zero(0);
    if constexpr (C == 2) _tile_zero(1);
    if constexpr (R == 2) _tile_zero(2);
    if constexpr (R == 2 && C == 2) _tile_zero(3);
  }
  const char* next = static_cast<const char*>(ahead);
  for (int64_t k = 0; k < depth; k += 16, a += 16 * kUnitRows, b += 16 * b_row) {
    _tile_loadd(4, a, 64);
    _tile_loadd(6, b, b_bytes);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (C == 2) {
      _tile_loadd(7, b + 16, b_bytes);
      _tile_dpbf16ps(1, 4, 7);
    }
    if constexpr (R == 2) {
      _tile_loadd(5, a + 256, 64);
      _tile_dpbf16ps(2, 5, 6);
      if constexpr (C == 2) _tile_dpbf16ps(3, 5, 7);
    }
    for (int64_t line = 0; line < 16 * ahead_step; line += 64) __builtin_prefetch(next + line, 0, 2);
    next += 16 * ahead_step;
  }
  _tile_stored(0, sums, row_bytes);
  if constexpr (C == 2) _tile_stored(1, sums + 16, row_bytes);
  if constexpr (R == 2) _tile_stored(2, lower, row_bytes);
  if constexpr (R == 2 && C == 2) _tile_stored(3, lower + 16, row_bytes);
}

// c[r, :] (+)= a panel's product for `rows` <= 32 rows and n <= 32 columns.
inline void multiply_unit(int64_t rows, int64_t n, int64_t depth, const Pair* a, const Pair* b, int64_t b_row, float* c,
                          int64_t c_row, bool accumulate, const void* ahead, int64_t ahead_step) {
  const auto run = [&](float* sums, int64_t sums_row, bool add) {
    if (rows > 16 && n > 16) multiply_tiles<2, 2>(depth, a, b, b_row, sums, sums_row, add, ahead, ahead_step);
    else if (rows > 16) multiply_tiles<2, 1>(depth, a, b, b_row, sums, sums_row, add, ahead, ahead_step);
    else if (n > 16) multiply_tiles<1, 2>(depth, a, b, b_row, sums, sums_row, add, ahead, ahead_step);
    else multiply_tiles<1, 1>(depth, a, b, b_row, sums, sums_row, add, ahead, ahead_step);
  };
  if (rows % 16 == 0 && n % 16 == 0) return run(c, c_row, accumulate);
  alignas(64) float edge[kUnitRows * kUnitCols];
  run(edge, kUnitCols, false);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t j = 0; j < n; j += 16) {
      float* const at = c + r * c_row + j;
      const int64_t lanes = min_of(16, n - j);
      const Vec sum = load(edge + r * kUnitCols + j);
      store(at, accumulate ? load(at, lanes) + sum : sum, lanes);
    }
}

template <> struct Panel<Pair> {
  static constexpr bool pairs = true;
  static constexpr int64_t rows = kUnitRows, width = kUnitRows, row_unit = kUnitRows, step = 32;
  using State = TileState;
  static DL_INLINE int64_t height(int64_t) { return kUnitRows; }
  static DL_INLINE void pack_a(const bfloat16* x, int64_t row, int64_t col, int64_t n, int64_t K, Pair* panels,
                               int64_t height, int64_t width) {
    for (int64_t i = 0; i < n; i += height, panels += panel_depth<Pair>(K) * width)
      pack_rows(x + i * row, row, col, min_of(height, n - i), K, panels);
  }
  static DL_INLINE void multiply(int64_t count, int64_t n, int64_t depth, const Pair* a, int64_t, int64_t,
                                 const Pair* b, int64_t b_row, float* c, int64_t c_row, bool add, const void* ahead,
                                 int64_t ahead_step) {
    multiply_unit(count, n, depth, a, b, b_row, c, c_row, add, ahead, ahead_step);
  }
};

}  // namespace
}  // namespace dl
#endif
