// c = start + a b for tiles that lie in cache: rows by lanes. a's elements are broadcast, so a may have any strides;
// rows of b and c are contiguous. All products of attention have this form.
#pragma once
#include <cstdint>

#include "simd/vec.h"

namespace dl {
namespace {

template <int n> struct Int { static constexpr int value = n; };

struct TileA {
  const float* data;
  int64_t row, col;
};
struct TileB {
  const float* data;
  int64_t row;
};
enum class TileStart { zero, add, scaled };
struct TileC {
  float* data;
  int64_t row;
  TileStart start;  // 0, c, or c * factor[lane]
  const float* factor;
};

// Accumulators, a row of b and a broadcast must fit the register file: 6 x 4 of 32 vectors, or 6 x 2 of 16.
constexpr int kTileRows = 6, kTileVecs = Vec::size == 16 ? 4 : 2;

// R rows by V vectors, the last of which has `last` lanes.
template <int R, int V, bool whole>
void tile_micro(const TileA& a, const TileB& b, const TileC& c, int64_t depth, int64_t last) {
  Vec sum[R][V];
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) {
      const float* from = c.data + r * c.row + v * Vec::size;
      if (c.start == TileStart::zero) sum[r][v] = zero();
      else sum[r][v] = whole || v + 1 < V ? load(from) : load(from, last);
      if (c.start == TileStart::scaled) sum[r][v] *= load(c.factor + v * Vec::size);
    }
  const float* rows[R];
  for (int r = 0; r < R; ++r) rows[r] = a.data + r * a.row;
  const float* x_row = b.data;
  for (int64_t t = 0, at = 0; t < depth; ++t, at += a.col, x_row += b.row) {
    Vec x[V];
    for (int v = 0; v < V; ++v)
      x[v] = whole || v + 1 < V ? load(x_row + v * Vec::size) : load(x_row + v * Vec::size, last);
    for (int r = 0; r < R; ++r) {
      const Vec y = broadcast(rows[r][at]);
      for (int v = 0; v < V; ++v) sum[r][v] = fma(y, x[v], sum[r][v]);
    }
  }
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) {
      float* to = c.data + r * c.row + v * Vec::size;
      if (whole || v + 1 < V) store(to, sum[r][v]);
      else store(to, sum[r][v], last);
    }
}

template <int V, bool whole>
void tile_columns(const TileA& a, const TileB& b, const TileC& c, int64_t rows, int64_t depth, int64_t last) {
  int64_t i = 0;
  auto a_at = [&] { return TileA{a.data + i * a.row, a.row, a.col}; };
  auto c_at = [&] { return TileC{c.data + i * c.row, c.row, c.start, c.factor}; };
  for (; i + kTileRows <= rows; i += kTileRows) tile_micro<kTileRows, V, whole>(a_at(), b, c_at(), depth, last);
  if (i + 4 <= rows) tile_micro<4, V, whole>(a_at(), b, c_at(), depth, last), i += 4;
  if (i + 2 <= rows) tile_micro<2, V, whole>(a_at(), b, c_at(), depth, last), i += 2;
  if (i < rows) tile_micro<1, V, whole>(a_at(), b, c_at(), depth, last);
}

void tile_gemm(const TileA& a, const TileB& b, const TileC& c, int64_t rows, int64_t lanes, int64_t depth) {
  constexpr int64_t kWide = int64_t{kTileVecs} * Vec::size;
  for (int64_t j = 0; j < lanes; j += kWide) {
    const TileB bj{b.data + j, b.row};
    const TileC cj{c.data + j, c.row, c.start, c.factor + j};
    const int64_t left = lanes - j < kWide ? lanes - j : kWide, vecs = (left + Vec::size - 1) / Vec::size;
    const int64_t last = left - (vecs - 1) * Vec::size;
    auto run = [&](auto v) {
      if (last == Vec::size) tile_columns<v.value, true>(a, bj, cj, rows, depth, last);
      else tile_columns<v.value, false>(a, bj, cj, rows, depth, last);
    };
    if constexpr (kTileVecs == 4) {
      if (vecs == 4) {
        run(Int<4>{});
        continue;
      }
      if (vecs == 3) {
        run(Int<3>{});
        continue;
      }
    }
    if (vecs == 2) run(Int<2>{});
    else run(Int<1>{});
  }
}

}  // namespace
}  // namespace dl
