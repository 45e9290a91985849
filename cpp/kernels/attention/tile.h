// A tile of attention: up to kTile queries side by side in vector lanes, their features or keys one below the other.
// In this orientation the maximum, the sum and the rescaling of each query are lane by lane, k and v are read where
// they lie, element by element, and only the queries' side is transposed: once for all keys.
#pragma once
#include "core/parallel.h"
#include "core/random.h"
#include "kernels/attention/attention.h"
#include "kernels/attention/tile_gemm.h"
#include "simd/math.h"
#include "simd/philox.h"
#include "simd/transpose.h"

namespace dl {
namespace {

// 64 x 64 scores, with 64 rows of k and of v of 64 features, are 48 KiB: they pass through L1 and stay in L2.
constexpr int64_t kTile = 64;

using Args = AttentionArgs<float>;

DL_INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
DL_INLINE int64_t up_to_lanes(int64_t n) { return (n + Vec::size - 1) / Vec::size * Vec::size; }

template <class T> DL_INLINE T* at(T* x, const HeadStrides& s, int64_t b, int64_t h, int64_t t) {
  return x + b * s.b + h * s.h + t * s.t;
}

// Keys that queries before i_end can see.
DL_INLINE int64_t visible_keys(const Args& a, int64_t i_end) {
  const int64_t n = a.causal ? i_end + a.causal_offset : a.Tk;
  return n < 0 ? 0 : least(n, a.Tk);
}

// y[c * kTile + r] = x[r * stride + c] * factor for r < rows, c < cols; lanes past the rows become 0.
void transpose_in(const float* x, int64_t stride, int64_t rows, int64_t cols, float factor, float* y) {
  const Vec f = broadcast(factor);
  for (int64_t r = 0; r < rows; r += Vec::size)
    for (int64_t c = 0; c < cols; c += Vec::size) {
      const int64_t m = least(rows - r, Vec::size), n = least(cols - c, Vec::size);
      Vec square[Vec::size];
#pragma GCC unroll 16
      for (int i = 0; i < Vec::size; ++i) square[i] = i < m ? load(x + (r + i) * stride + c, n) * f : zero();
      transpose(square);
#pragma GCC unroll 16
      for (int i = 0; i < Vec::size; ++i)
        if (i < n) store(y + (c + i) * kTile + r, square[i]);
    }
}

// y[r * stride + c] = x[c * kTile + r] * factor[r].
void transpose_out(const float* x, int64_t rows, int64_t cols, const float* factor, float* y, int64_t stride) {
  for (int64_t r = 0; r < rows; r += Vec::size) {
    const Vec f = load(factor + r);
    for (int64_t c = 0; c < cols; c += Vec::size) {
      const int64_t m = least(rows - r, Vec::size), n = least(cols - c, Vec::size);
      Vec square[Vec::size];
#pragma GCC unroll 16
      for (int i = 0; i < Vec::size; ++i) square[i] = i < n ? load(x + (c + i) * kTile + r) * f : zero();
      transpose(square);
#pragma GCC unroll 16
      for (int i = 0; i < Vec::size; ++i)
        if (i < m) store(y + (r + i) * stride + c, square[i], n);
    }
  }
}

// 2^x for x <= 0 or NaN, and 0 below 2^-126: a denormal result, such as the one that exp2 rounds to 0 for -inf, costs a
// trap into microcode, and causal tiles are full of them.
DL_INLINE Vec exp2_flushed(Vec x) {
  const Vec least_normal = broadcast(-126.0f);
  return select(lt(x, least_normal), zero(), exp2(fast_max(least_normal, x)));
}

// Where a tile lies: queries [i0, i0 + m) of head h, of `lanes` lanes in whole vectors, and keys [j0, j0 + n).
struct Place { int64_t b, h, i0, m, lanes, j0, n; };

// The bias of a tile, times `factor`, added to s (keys by queries). `work` holds two tiles.
void add_bias(const Args& a, const Place& p, float factor, float* s, float* work) {
  const int64_t first = p.b * a.mask_b + p.h * a.mask_h + p.i0 * a.mask_q + p.j0 * a.mask_k;
  const float* rows = a.bias + first;
  int64_t stride = a.mask_q;
  if (a.allowed || a.mask_k != 1) {
    // Bring it into rows of floats first.
    rows = work + kTile * kTile, stride = kTile;
    for (int64_t i = 0; i < p.m; ++i)
      for (int64_t j = 0; j < p.n; j += Vec::size) {
        float* to = work + kTile * kTile + i * kTile + j;
        const int64_t from = first + i * a.mask_q + j * a.mask_k, n = least(p.n - j, Vec::size);
        if (a.allowed && a.mask_k == 1) store(to, select(load_mask(a.allowed + from, n), zero(), broadcast(-kInf)));
        else
          for (int64_t l = 0; l < n; ++l)
            to[l] = a.bias ? a.bias[from + l * a.mask_k] : a.allowed[from + l * a.mask_k] ? 0.0f : -kInf;
      }
  }
  transpose_in(rows, stride, p.m, p.n, factor, work);
  for (int64_t j = 0; j < p.n; ++j)
    for (int64_t i = 0; i < p.lanes; i += Vec::size)
      store(s + j * kTile + i, load(s + j * kTile + i) + load(work + j * kTile + i));
}

// Scores of keys that come after a query's last one become -inf.
void mask_future(const Args& a, const Place& p, float* s) {
  const int64_t seen = p.i0 + a.causal_offset - p.j0;  // key j is visible to lane i where j <= i + seen
  for (int64_t j = seen + 1 > 0 ? seen + 1 : 0; j < p.n; ++j) {
    const VecI after = broadcast(static_cast<int32_t>(least(j - seen, kTile)));
    for (int64_t i = 0; i < p.lanes; i += Vec::size) {
      const Mask hidden = gt(after, iota() + broadcast(static_cast<int32_t>(i)));
      store(s + j * kTile + i, select(hidden, broadcast(-kInf), load(s + j * kTile + i)));
    }
  }
}

// Scores in units of ln 2, so that 2^s stands for e^score: q carries the factor scale / ln 2.
void tile_scores(const Args& a, const Place& p, const float* q, float* s, float* work) {
  const float* k = at(a.k, a.k_strides, p.b, p.h / (a.H / a.G), p.j0);
  tile_gemm({k, a.k_strides.t, 1}, {q, kTile}, {s, kTile, TileStart::zero, nullptr}, p.n, p.lanes, a.D);
  if (a.bias || a.allowed) add_bias(a, p, kLog2e, s, work);
  if (a.causal && p.j0 + p.n - 1 > p.i0 + a.causal_offset) mask_future(a, p, s);
}

// Lanes that dropout keeps, for queries i0 + i ... and keys j ... j + 3 of the tile.
struct KeptKeys { Mask key[4]; };
DL_INLINE KeptKeys kept_keys(const Args& a, const Place& p, int64_t i, int64_t j) {
  const PhiloxLanes w =
      philox_lanes(a.seed, a.stream, attention_block(p.b * a.H + p.h, a.Tq, a.Tk, p.i0 + i, p.j0 + j));
  KeptKeys kept;
  for (int l = 0; l < 4; ++l) kept.key[l] = at_least_u32(w.v[l], a.threshold);
  return kept;
}

}  // namespace
}  // namespace dl
