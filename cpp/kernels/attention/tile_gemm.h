// c (m x n) (+)= a (m x k) b (k x n) for tiles that lie in cache. a has any strides (its elements are broadcast);
// rows of b and c are contiguous. All five products of attention have this form.
#pragma once
#include <cstdint>

#include "simd/vec.h"

namespace dl {
namespace {

struct TileA {
  const float* data;
  int64_t row, col;
};

constexpr int kTileRows = 6;
// Accumulators plus one row of b must fit the register file: 6 x 4 of 32 vectors, or 6 x 2 of 16.
constexpr int kTileVecs = Vec::size == 16 ? 4 : 2;

// R rows by V vectors, the last of `last` lanes.
template <int R, int V> DL_INLINE void tile_micro(TileA a, const float* b, int64_t ldb, float* c, int64_t ldc, int64_t k, int64_t last, bool add) {
  Vec sum[R][V];
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) {
      const float* from = c + r * ldc + v * Vec::size;
      sum[r][v] = !add ? broadcast(0.0f) : v + 1 < V ? load(from) : load(from, last);
    }
  auto run = [&](auto whole) {
    for (int64_t i = 0; i < k; ++i) {
      const float* row = b + i * ldb;
      Vec x[V];
      for (int v = 0; v < V; ++v) x[v] = whole || v + 1 < V ? load(row + v * Vec::size) : load(row + v * Vec::size, last);
      for (int r = 0; r < R; ++r) {
        const Vec y = broadcast(a.data[r * a.row + i * a.col]);
        for (int v = 0; v < V; ++v) sum[r][v] = fma(y, x[v], sum[r][v]);
      }
    }
  };
  struct Yes { constexpr operator bool() const { return true; } };
  struct No { constexpr operator bool() const { return false; } };
  if (last == Vec::size) run(Yes{});
  else run(No{});
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) {
      float* to = c + r * ldc + v * Vec::size;
      if (v + 1 < V) store(to, sum[r][v]);
      else store(to, sum[r][v], last);
    }
}

template <int V> void tile_columns(TileA a, const float* b, int64_t ldb, float* c, int64_t ldc, int64_t m, int64_t k, int64_t last, bool add) {
  int64_t i = 0;
  for (; i + kTileRows <= m; i += kTileRows)
    tile_micro<kTileRows, V>({a.data + i * a.row, a.row, a.col}, b, ldb, c + i * ldc, ldc, k, last, add);
  for (; i + 2 <= m; i += 2) tile_micro<2, V>({a.data + i * a.row, a.row, a.col}, b, ldb, c + i * ldc, ldc, k, last, add);
  if (i < m) tile_micro<1, V>({a.data + i * a.row, a.row, a.col}, b, ldb, c + i * ldc, ldc, k, last, add);
}

void tile_gemm(TileA a, const float* b, int64_t ldb, float* c, int64_t ldc, int64_t m, int64_t n, int64_t k, bool add) {
  constexpr int64_t kWide = int64_t{kTileVecs} * Vec::size;
  int64_t j = 0;
  for (; j + kWide <= n; j += kWide) tile_columns<kTileVecs>(a, b + j, ldb, c + j, ldc, m, k, Vec::size, add);
  for (; j < n; j += Vec::size) {
    const int64_t last = n - j < Vec::size ? n - j : int64_t{Vec::size};
    tile_columns<1>(a, b + j, ldb, c + j, ldc, m, k, last, add);
  }
}

}  // namespace
}  // namespace dl
