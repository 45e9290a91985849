// bfloat16 in pairs of neighbouring terms, as vdpbf16ps and the tile unit (AMX) multiply them: what a panel of A or B
// holds where the instruction set has such products. Denormal inputs count as zero there.
#pragma once
#include "kernels/matmul/micro.h"

namespace dl {
namespace {

#if defined(__AVX512BF16__)
struct Pair { uint32_t bits; };  // term k in the lower half, term k + 1 in the upper
struct PairVec {
  static constexpr int size = 16;
  __m512i v;
};
template <> struct LanesOf<Pair> { using type = PairVec; };
template <> constexpr bool kIsPair<Pair> = true;

DL_INLINE PairVec broadcast(Pair x) { return {_mm512_set1_epi32(static_cast<int32_t>(x.bits))}; }
DL_INLINE PairVec load(const Pair* p) { return {_mm512_loadu_si512(p)}; }
DL_INLINE PairVec load(const Pair* p, int64_t n) { return {_mm512_maskz_loadu_epi32(first_n(n).m, p)}; }
DL_INLINE void store(Pair* p, PairVec a) { _mm512_storeu_si512(p, a.v); }
// c + both products of each lane
DL_INLINE Vec fma(PairVec a, PairVec b, Vec c) {
  return {_mm512_dpbf16_ps(c.v, reinterpret_cast<__m512bh>(a.v), reinterpret_cast<__m512bh>(b.v))};
}

#if defined(__AMX_BF16__)
constexpr int64_t kPairUnit = 16;  // a tile's row holds so many: panels go on with zeros up to a multiple
#else
constexpr int64_t kPairUnit = 1;
#endif

// Elements of a panel that K terms take.
template <> DL_INLINE int64_t panel_depth<Pair>(int64_t K) { return ceil_div(K, 2 * kPairUnit) * kPairUnit; }

// Lane i: terms 2i and 2i + 1 of a row of `terms`, zero after the last.
DL_INLINE PairVec load_pairs(const bfloat16* x, int64_t terms) {
  return {terms >= 32 ? _mm512_loadu_si512(x) : _mm512_maskz_loadu_epi16((uint32_t{1} << terms) - 1, x)};
}

// Lane i: the term of x[i] and the one k_stride further, of n neighbours; without a second one, zero.
DL_INLINE PairVec interleave(const bfloat16* x, int64_t k_stride, int64_t n, bool second) {
  const int64_t lanes = min_of(n, 16);
  VecI pair = load_u16(&x->bits, lanes);
  if (second) pair = pair | shl<16>(load_u16(&(x + k_stride)->bits, lanes));
  return {pair.v};
}

// A square of pairs, turned: r[i] lane j <-> r[j] lane i.
DL_INLINE void transpose_pairs(PairVec (&r)[16]) {
  Vec square[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) square[i] = {_mm512_castsi512_ps(r[i].v)};
  transpose(square);
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) r[i] = {_mm512_castps_si512(square[i].v)};
}

DL_INLINE Pair pair_of(const bfloat16* x, int64_t k_stride, bool second) {
  return {x[0].bits | (second ? static_cast<uint32_t>(x[k_stride].bits) << 16 : 0)};
}

// panel[k * width + i] = terms 2k and 2k + 1 of x[i * stride ...], i < n; zero for n <= i < width.
inline void pack(const bfloat16* x, int64_t stride, int64_t k_stride, int64_t n, int64_t K, Pair* panel,
                 int64_t width) {
  const int64_t depth = panel_depth<Pair>(K);
  if (k_stride == 1) {
    for (int64_t i = 0; i < width; i += 16)
      for (int64_t k = 0; k < depth; k += 16) {
        PairVec square[16];
#pragma GCC unroll 16
        for (int r = 0; r < 16; ++r)
          square[r] = i + r < n && 2 * k < K ? load_pairs(x + (i + r) * stride + 2 * k, K - 2 * k) : broadcast(Pair{0});
        transpose_pairs(square);
#pragma GCC unroll 16
        for (int d = 0; d < 16; ++d)
          if (k + d < depth) store(panel + (k + d) * width + i, square[d]);
      }
    return;
  }
  for (int64_t k = 0; k < depth; ++k, panel += width) {
    const bfloat16* row = x + 2 * k * k_stride;
    for (int64_t i = 0; i < width; i += 16) {
      const int64_t lanes = 2 * k < K ? max_of(0, min_of(16, n - i)) : 0;
      const bool second = 2 * k + 1 < K;
      if (lanes == 0) store(panel + i, broadcast(Pair{0}));
      else if (stride == 1) store(panel + i, interleave(row + i, k_stride, lanes, second));
      else
        for (int64_t j = 0; j < 16; ++j)
          panel[i + j] = j < lanes ? pair_of(row + (i + j) * stride, k_stride, second) : Pair{0};
    }
  }
}

// n rows cut into panels of `height`, one after the other, each `width` wide.
inline void pack_panels(const bfloat16* x, int64_t stride, int64_t k_stride, int64_t n, int64_t K, Pair* panels,
                        int64_t height, int64_t width) {
  const int64_t depth = panel_depth<Pair>(K);
  if (stride != 1 || n <= height) {
    for (int64_t i = 0; i < n; i += height, panels += depth * width)
      pack(x + i * stride, stride, k_stride, min_of(height, n - i), K, panels, width);
    return;
  }
  // Neighbours in memory: one pass over the rows of x, so that each page is visited once.
  for (int64_t k = 0; k < depth; ++k) {
    Pair* row = panels + k * width;
    for (int64_t i = 0; i < n; i += height, row += depth * width)
      for (int64_t j = 0; j < width; j += 16) {
        const int64_t lanes = min_of(height, n - i) - j;
        store(row + j, lanes > 0 && 2 * k < K ? interleave(x + 2 * k * k_stride + i + j, k_stride, lanes, 2 * k + 1 < K)
                                              : broadcast(Pair{0}));
      }
  }
}
#endif

}  // namespace
}  // namespace dl
