// Vec for AVX-512 F, BW, DQ, VL: 16 lanes, predicate registers. Included by vec.h only.
#pragma once
// GCC's own header feeds undefined pass-through operands to its builtins and then warns about them (GCC bug 105593).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#pragma GCC diagnostic pop

namespace dl {
namespace {

struct Vec {
  static constexpr int size = 16;
  __m512 v;
};
struct VecI {
  static constexpr int size = 16;
  __m512i v;
};
struct Mask { __mmask16 m; };

// Mask
DL_INLINE Mask first_n(int64_t n) { return {static_cast<__mmask16>((1u << n) - 1u)}; }
DL_INLINE Mask operator&(Mask a, Mask b) { return {static_cast<__mmask16>(a.m & b.m)}; }
DL_INLINE Mask operator|(Mask a, Mask b) { return {static_cast<__mmask16>(a.m | b.m)}; }
DL_INLINE Mask operator^(Mask a, Mask b) { return {static_cast<__mmask16>(a.m ^ b.m)}; }
DL_INLINE Mask operator!(Mask a) { return {static_cast<__mmask16>(~a.m)}; }
DL_INLINE bool any(Mask a) { return a.m != 0; }
DL_INLINE bool all(Mask a) { return a.m == 0xffff; }

// Vec: memory
DL_INLINE Vec broadcast(float x) { return {_mm512_set1_ps(x)}; }
DL_INLINE Vec load(const float* p) { return {_mm512_loadu_ps(p)}; }
DL_INLINE Vec load(const float* p, int64_t n) { return {_mm512_maskz_loadu_ps(first_n(n).m, p)}; }
DL_INLINE Vec load(const float* p, Mask m) { return {_mm512_maskz_loadu_ps(m.m, p)}; }  // touches no other lane
DL_INLINE void store(float* p, Vec a) { _mm512_storeu_ps(p, a.v); }
DL_INLINE void store(float* p, Vec a, int64_t n) { _mm512_mask_storeu_ps(p, first_n(n).m, a.v); }
DL_INLINE void stream(float* p, Vec a) { _mm512_stream_ps(p, a.v); }
DL_INLINE void stream_fence() { _mm_sfence(); }  // once, after the last stream() of a block

// Vec: arithmetic
DL_INLINE Vec operator+(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
DL_INLINE Vec operator-(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
DL_INLINE Vec operator*(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
DL_INLINE Vec operator/(Vec a, Vec b) { return {_mm512_div_ps(a.v, b.v)}; }
DL_INLINE Vec operator-(Vec a) { return {_mm512_xor_ps(a.v, _mm512_set1_ps(-0.0f))}; }
DL_INLINE Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }    // a*b + c
DL_INLINE Vec fnma(Vec a, Vec b, Vec c) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }  // c - a*b
DL_INLINE Vec sqrt(Vec a) { return {_mm512_sqrt_ps(a.v)}; }
DL_INLINE Vec abs(Vec a) { return {_mm512_andnot_ps(_mm512_set1_ps(-0.0f), a.v)}; }
DL_INLINE Vec round_nearest(Vec a) {
  return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
DL_INLINE Vec floor(Vec a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)}; }
DL_INLINE Vec ceil(Vec a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC)}; }
DL_INLINE Vec trunc(Vec a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC)}; }

// Vec: comparisons (false for NaN, except ne)
DL_INLINE Mask lt(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
DL_INLINE Mask le(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LE_OQ)}; }
DL_INLINE Mask gt(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ)}; }
DL_INLINE Mask ge(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_GE_OQ)}; }
DL_INLINE Mask eq(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ)}; }
DL_INLINE Mask ne(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_NEQ_UQ)}; }
DL_INLINE Mask isnan(Vec a) { return {_mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q)}; }
DL_INLINE Vec select(Mask m, Vec a, Vec b) { return {_mm512_mask_blend_ps(m.m, b.v, a.v)}; }

// fast_*: the second operand where either is NaN. max, min: NaN where either is NaN.
DL_INLINE Vec fast_max(Vec a, Vec b) { return {_mm512_max_ps(a.v, b.v)}; }
DL_INLINE Vec fast_min(Vec a, Vec b) { return {_mm512_min_ps(a.v, b.v)}; }
DL_INLINE Vec max(Vec a, Vec b) { return select(isnan(a), a, fast_max(a, b)); }
DL_INLINE Vec min(Vec a, Vec b) { return select(isnan(a), a, fast_min(a, b)); }

// Reductions over the lanes: halves onto halves, always the same tree.
DL_INLINE float reduce_add(Vec a) {
  const __m256 s8 = _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  const __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
  const __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
  return _mm_cvtss_f32(_mm_add_ss(s2, _mm_shuffle_ps(s2, s2, 1)));
}
DL_INLINE Vec swap_halves(Vec a, int step) {
  return {step == 8   ? _mm512_shuffle_f32x4(a.v, a.v, 0x4e)
          : step == 4 ? _mm512_shuffle_f32x4(a.v, a.v, 0xb1)
          : step == 2 ? _mm512_permute_ps(a.v, 0x4e)
                      : _mm512_permute_ps(a.v, 0xb1)};
}
DL_INLINE float reduce_max(Vec a) {  // NaN when any lane is
  for (int step = 8; step > 0; step /= 2) a = max(a, swap_halves(a, step));
  return _mm512_cvtss_f32(a.v);
}
DL_INLINE float reduce_min(Vec a) {
  for (int step = 8; step > 0; step /= 2) a = min(a, swap_halves(a, step));
  return _mm512_cvtss_f32(a.v);
}

// VecI
DL_INLINE VecI broadcast(int32_t x) { return {_mm512_set1_epi32(x)}; }
DL_INLINE VecI iota() { return {_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)}; }
DL_INLINE VecI load(const int32_t* p) { return {_mm512_loadu_si512(p)}; }
DL_INLINE VecI load(const int32_t* p, int64_t n) { return {_mm512_maskz_loadu_epi32(first_n(n).m, p)}; }
DL_INLINE void store(int32_t* p, VecI a) { _mm512_storeu_si512(p, a.v); }
DL_INLINE void store(int32_t* p, VecI a, int64_t n) { _mm512_mask_storeu_epi32(p, first_n(n).m, a.v); }
DL_INLINE VecI operator+(VecI a, VecI b) { return {_mm512_add_epi32(a.v, b.v)}; }
DL_INLINE VecI operator-(VecI a, VecI b) { return {_mm512_sub_epi32(a.v, b.v)}; }
DL_INLINE VecI operator*(VecI a, VecI b) { return {_mm512_mullo_epi32(a.v, b.v)}; }
DL_INLINE VecI operator&(VecI a, VecI b) { return {_mm512_and_si512(a.v, b.v)}; }
DL_INLINE VecI operator|(VecI a, VecI b) { return {_mm512_or_si512(a.v, b.v)}; }
DL_INLINE VecI operator^(VecI a, VecI b) { return {_mm512_xor_si512(a.v, b.v)}; }
template <int k> DL_INLINE VecI shl(VecI a) { return {_mm512_slli_epi32(a.v, k)}; }
template <int k> DL_INLINE VecI shr(VecI a) { return {_mm512_srli_epi32(a.v, k)}; }  // zeros come in
template <int k> DL_INLINE VecI sar(VecI a) { return {_mm512_srai_epi32(a.v, k)}; }  // the sign comes in
DL_INLINE Mask eq(VecI a, VecI b) { return {_mm512_cmpeq_epi32_mask(a.v, b.v)}; }
DL_INLINE Mask gt(VecI a, VecI b) { return {_mm512_cmpgt_epi32_mask(a.v, b.v)}; }
DL_INLINE VecI select(Mask m, VecI a, VecI b) { return {_mm512_mask_blend_epi32(m.m, b.v, a.v)}; }
// Unsigned 32 x 32 -> 64 bits, lane by lane.
struct WideProduct { VecI lo, hi; };
DL_INLINE WideProduct mul_wide_u32(VecI a, VecI b) {
  const __m512i even = _mm512_mul_epu32(a.v, b.v);
  const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(a.v, 32), _mm512_srli_epi64(b.v, 32));
  return {{_mm512_mask_blend_epi32(0xaaaa, even, _mm512_slli_epi64(odd, 32))},
          {_mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(even, 32), odd)}};
}

// Conversions. Out of the int32 range the result of to_int* is the instruction set's own.
DL_INLINE VecI to_int(Vec a) { return {_mm512_cvttps_epi32(a.v)}; }
DL_INLINE VecI to_int_nearest(Vec a) { return {_mm512_cvtps_epi32(a.v)}; }
DL_INLINE Vec to_float(VecI a) { return {_mm512_cvtepi32_ps(a.v)}; }
DL_INLINE VecI bits_as_int(Vec a) { return {_mm512_castps_si512(a.v)}; }
DL_INLINE Vec bits_as_float(VecI a) { return {_mm512_castsi512_ps(a.v)}; }

// Narrow integers: loads widen with zeros, stores keep the low bits.
DL_INLINE VecI load_u16(const uint16_t* p) {
  return {_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
DL_INLINE VecI load_u16(const uint16_t* p, int64_t n) {
  return {_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(first_n(n).m, p))};
}
DL_INLINE void store_u16(uint16_t* p, VecI a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(a.v));
}
DL_INLINE void store_u16(uint16_t* p, VecI a, int64_t n) {
  _mm256_mask_storeu_epi16(p, first_n(n).m, _mm512_cvtepi32_epi16(a.v));
}
DL_INLINE VecI load_u8(const uint8_t* p) {
  return {_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
DL_INLINE VecI load_u8(const uint8_t* p, int64_t n) {
  return {_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(first_n(n).m, p))};
}
DL_INLINE void store_u8(uint8_t* p, VecI a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(a.v));
}
DL_INLINE void store_u8(uint8_t* p, VecI a, int64_t n) {
  _mm_mask_storeu_epi8(p, first_n(n).m, _mm512_cvtepi32_epi8(a.v));
}

// bool arrays: a byte of 0 or 1 a lane.
DL_INLINE Mask load_mask(const bool* p) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return {_mm_test_epi8_mask(bytes, bytes)};
}
DL_INLINE Mask load_mask(const bool* p, int64_t n) {
  const __m128i bytes = _mm_maskz_loadu_epi8(first_n(n).m, p);
  return {_mm_test_epi8_mask(bytes, bytes)};
}
DL_INLINE void store_mask(bool* p, Mask m) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm_maskz_set1_epi8(m.m, 1));
}
DL_INLINE void store_mask(bool* p, Mask m, int64_t n) {
  _mm_mask_storeu_epi8(p, first_n(n).m, _mm_maskz_set1_epi8(m.m, 1));
}

// Halves in double precision, see wide.h.
typedef double f64xh __attribute__((vector_size(64)));
DL_INLINE f64xh lower_half(Vec a) { return reinterpret_cast<f64xh>(_mm512_cvtps_pd(_mm512_castps512_ps256(a.v))); }
DL_INLINE f64xh upper_half(Vec a) { return reinterpret_cast<f64xh>(_mm512_cvtps_pd(_mm512_extractf32x8_ps(a.v, 1))); }
DL_INLINE Vec join_halves(f64xh lo, f64xh hi) {
  return {_mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(lo)), _mm512_cvtpd_ps(hi), 1)};
}
// The low 32 bits of each 64-bit lane.
DL_INLINE VecI join_low_bits(f64xh lo, f64xh hi) {
  const __m256i l = _mm512_cvtepi64_epi32(_mm512_castpd_si512(lo)), h = _mm512_cvtepi64_epi32(_mm512_castpd_si512(hi));
  return {_mm512_inserti32x8(_mm512_castsi256_si512(l), h, 1)};
}

}  // namespace
}  // namespace dl
