// Vec for AVX2 + FMA: 8 lanes, masks are whole-lane bit patterns. Included by vec.h only; vec_avx512.h says what each
// function means.
#pragma once
#include <immintrin.h>

namespace dl {
namespace {

struct Vec {
  static constexpr int size = 8;
  __m256 v;
};
struct VecI {
  static constexpr int size = 8;
  __m256i v;
};
struct Mask { __m256 m; };

// Mask
DL_INLINE __m256i first_n_bits(int64_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
DL_INLINE Mask first_n(int64_t n) { return {_mm256_castsi256_ps(first_n_bits(n))}; }
DL_INLINE Mask operator&(Mask a, Mask b) { return {_mm256_and_ps(a.m, b.m)}; }
DL_INLINE Mask operator|(Mask a, Mask b) { return {_mm256_or_ps(a.m, b.m)}; }
DL_INLINE Mask operator^(Mask a, Mask b) { return {_mm256_xor_ps(a.m, b.m)}; }
DL_INLINE Mask operator!(Mask a) { return {_mm256_xor_ps(a.m, _mm256_castsi256_ps(_mm256_set1_epi32(-1)))}; }
DL_INLINE bool any(Mask a) { return _mm256_movemask_ps(a.m) != 0; }
DL_INLINE bool all(Mask a) { return _mm256_movemask_ps(a.m) == 0xff; }

// Vec: memory
DL_INLINE Vec broadcast(float x) { return {_mm256_set1_ps(x)}; }
DL_INLINE Vec load(const float* p) { return {_mm256_loadu_ps(p)}; }
DL_INLINE Vec load(const float* p, int64_t n) { return {_mm256_maskload_ps(p, first_n_bits(n))}; }
DL_INLINE Vec load(const float* p, Mask m) { return {_mm256_maskload_ps(p, _mm256_castps_si256(m.m))}; }
DL_INLINE void store(float* p, Vec a) { _mm256_storeu_ps(p, a.v); }
DL_INLINE void store(float* p, Vec a, int64_t n) { _mm256_maskstore_ps(p, first_n_bits(n), a.v); }
DL_INLINE void stream(float* p, Vec a) { _mm256_stream_ps(p, a.v); }
DL_INLINE void stream_fence() { _mm_sfence(); }

// Vec: arithmetic
DL_INLINE Vec operator+(Vec a, Vec b) { return {_mm256_add_ps(a.v, b.v)}; }
DL_INLINE Vec operator-(Vec a, Vec b) { return {_mm256_sub_ps(a.v, b.v)}; }
DL_INLINE Vec operator*(Vec a, Vec b) { return {_mm256_mul_ps(a.v, b.v)}; }
DL_INLINE Vec operator/(Vec a, Vec b) { return {_mm256_div_ps(a.v, b.v)}; }
DL_INLINE Vec operator-(Vec a) { return {_mm256_xor_ps(a.v, _mm256_set1_ps(-0.0f))}; }
DL_INLINE Vec fma(Vec a, Vec b, Vec c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
DL_INLINE Vec fnma(Vec a, Vec b, Vec c) { return {_mm256_fnmadd_ps(a.v, b.v, c.v)}; }
DL_INLINE Vec sqrt(Vec a) { return {_mm256_sqrt_ps(a.v)}; }
DL_INLINE Vec abs(Vec a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)}; }
DL_INLINE Vec round_nearest(Vec a) { return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
DL_INLINE Vec floor(Vec a) { return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)}; }
DL_INLINE Vec ceil(Vec a) { return {_mm256_round_ps(a.v, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC)}; }
DL_INLINE Vec trunc(Vec a) { return {_mm256_round_ps(a.v, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC)}; }

// Vec: comparisons
DL_INLINE Mask lt(Vec a, Vec b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)}; }
DL_INLINE Mask le(Vec a, Vec b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LE_OQ)}; }
DL_INLINE Mask gt(Vec a, Vec b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_GT_OQ)}; }
DL_INLINE Mask ge(Vec a, Vec b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_GE_OQ)}; }
DL_INLINE Mask eq(Vec a, Vec b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_EQ_OQ)}; }
DL_INLINE Mask ne(Vec a, Vec b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_NEQ_UQ)}; }
DL_INLINE Mask isnan(Vec a) { return {_mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q)}; }
DL_INLINE Vec select(Mask m, Vec a, Vec b) { return {_mm256_blendv_ps(b.v, a.v, m.m)}; }
DL_INLINE Vec fast_max(Vec a, Vec b) { return {_mm256_max_ps(a.v, b.v)}; }
DL_INLINE Vec fast_min(Vec a, Vec b) { return {_mm256_min_ps(a.v, b.v)}; }
DL_INLINE Vec max(Vec a, Vec b) { return select(isnan(a), a, fast_max(a, b)); }
DL_INLINE Vec min(Vec a, Vec b) { return select(isnan(a), a, fast_min(a, b)); }

// Reductions over the lanes
DL_INLINE float reduce_add(Vec a) {
  const __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  const __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
  return _mm_cvtss_f32(_mm_add_ss(s2, _mm_shuffle_ps(s2, s2, 1)));
}
DL_INLINE Vec swap_halves(Vec a, int step) {
  return {step == 4   ? _mm256_permute2f128_ps(a.v, a.v, 1)
          : step == 2 ? _mm256_permute_ps(a.v, 0x4e)
                      : _mm256_permute_ps(a.v, 0xb1)};
}
DL_INLINE float reduce_max(Vec a) {
  for (int step = 4; step > 0; step /= 2) a = max(a, swap_halves(a, step));
  return _mm256_cvtss_f32(a.v);
}
DL_INLINE float reduce_min(Vec a) {
  for (int step = 4; step > 0; step /= 2) a = min(a, swap_halves(a, step));
  return _mm256_cvtss_f32(a.v);
}

// VecI
DL_INLINE VecI broadcast(int32_t x) { return {_mm256_set1_epi32(x)}; }
DL_INLINE VecI iota() { return {_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)}; }
DL_INLINE VecI load(const int32_t* p) { return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))}; }
DL_INLINE VecI load(const int32_t* p, int64_t n) { return {_mm256_maskload_epi32(p, first_n_bits(n))}; }
DL_INLINE void store(int32_t* p, VecI a) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), a.v); }
DL_INLINE void store(int32_t* p, VecI a, int64_t n) { _mm256_maskstore_epi32(p, first_n_bits(n), a.v); }
DL_INLINE VecI operator+(VecI a, VecI b) { return {_mm256_add_epi32(a.v, b.v)}; }
DL_INLINE VecI operator-(VecI a, VecI b) { return {_mm256_sub_epi32(a.v, b.v)}; }
DL_INLINE VecI operator*(VecI a, VecI b) { return {_mm256_mullo_epi32(a.v, b.v)}; }
DL_INLINE VecI operator&(VecI a, VecI b) { return {_mm256_and_si256(a.v, b.v)}; }
DL_INLINE VecI operator|(VecI a, VecI b) { return {_mm256_or_si256(a.v, b.v)}; }
DL_INLINE VecI operator^(VecI a, VecI b) { return {_mm256_xor_si256(a.v, b.v)}; }
template <int k> DL_INLINE VecI shl(VecI a) { return {_mm256_slli_epi32(a.v, k)}; }
template <int k> DL_INLINE VecI shr(VecI a) { return {_mm256_srli_epi32(a.v, k)}; }
template <int k> DL_INLINE VecI sar(VecI a) { return {_mm256_srai_epi32(a.v, k)}; }
DL_INLINE Mask eq(VecI a, VecI b) { return {_mm256_castsi256_ps(_mm256_cmpeq_epi32(a.v, b.v))}; }
DL_INLINE Mask gt(VecI a, VecI b) { return {_mm256_castsi256_ps(_mm256_cmpgt_epi32(a.v, b.v))}; }
DL_INLINE VecI select(Mask m, VecI a, VecI b) { return {_mm256_blendv_epi8(b.v, a.v, _mm256_castps_si256(m.m))}; }
struct WideProduct { VecI lo, hi; };
DL_INLINE WideProduct mul_wide_u32(VecI a, VecI b) {
  const __m256i even = _mm256_mul_epu32(a.v, b.v);
  const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(a.v, 32), _mm256_srli_epi64(b.v, 32));
  return {{_mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa)},
          {_mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa)}};
}

// Conversions
DL_INLINE VecI to_int(Vec a) { return {_mm256_cvttps_epi32(a.v)}; }
DL_INLINE VecI to_int_nearest(Vec a) { return {_mm256_cvtps_epi32(a.v)}; }
DL_INLINE Vec to_float(VecI a) { return {_mm256_cvtepi32_ps(a.v)}; }
DL_INLINE VecI bits_as_int(Vec a) { return {_mm256_castps_si256(a.v)}; }
DL_INLINE Vec bits_as_float(VecI a) { return {_mm256_castsi256_ps(a.v)}; }

// Narrow integers. There is no byte-masked load here: tails go through a small copy.
template <class U> struct Lanes { U lane[8]; };
template <class U> DL_INLINE Lanes<U> copy_in(const U* p, int64_t n) {
  Lanes<U> t{};
  for (int64_t i = 0; i < n; ++i) t.lane[i] = p[i];
  return t;
}
template <class U> DL_INLINE void copy_out(U* p, const Lanes<U>& t, int64_t n) {
  for (int64_t i = 0; i < n; ++i) p[i] = t.lane[i];
}
DL_INLINE VecI load_u16(const uint16_t* p) {
  return {_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
DL_INLINE VecI load_u16(const uint16_t* p, int64_t n) { return load_u16(copy_in(p, n).lane); }
DL_INLINE void store_u16(uint16_t* p, VecI a) {
  const __m256i low = _mm256_and_si256(a.v, _mm256_set1_epi32(0xffff));
  const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(low, low), 0xd8);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(packed));
}
DL_INLINE void store_u16(uint16_t* p, VecI a, int64_t n) {
  Lanes<uint16_t> t;
  store_u16(t.lane, a);
  copy_out(p, t, n);
}
DL_INLINE VecI load_u8(const uint8_t* p) {
  return {_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)))};
}
DL_INLINE VecI load_u8(const uint8_t* p, int64_t n) { return load_u8(copy_in(p, n).lane); }
DL_INLINE void store_u8(uint8_t* p, VecI a) {
  const __m256i low = _mm256_and_si256(a.v, _mm256_set1_epi32(0xff));
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packus_epi32(low, low), 0xd8);
  const __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_castsi256_si128(words));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), bytes);
}
DL_INLINE void store_u8(uint8_t* p, VecI a, int64_t n) {
  Lanes<uint8_t> t;
  store_u8(t.lane, a);
  copy_out(p, t, n);
}

// bool arrays
DL_INLINE Mask load_mask(const bool* p) { return !eq(load_u8(reinterpret_cast<const uint8_t*>(p)), broadcast(0)); }
DL_INLINE Mask load_mask(const bool* p, int64_t n) {
  return !eq(load_u8(reinterpret_cast<const uint8_t*>(p), n), broadcast(0));
}
DL_INLINE VecI ones_where(Mask m) { return {_mm256_srli_epi32(_mm256_castps_si256(m.m), 31)}; }
DL_INLINE void store_mask(bool* p, Mask m) { store_u8(reinterpret_cast<uint8_t*>(p), ones_where(m)); }
DL_INLINE void store_mask(bool* p, Mask m, int64_t n) { store_u8(reinterpret_cast<uint8_t*>(p), ones_where(m), n); }

// Halves in double precision, see wide.h.
typedef double f64xh __attribute__((vector_size(32)));
DL_INLINE f64xh lower_half(Vec a) { return _mm256_cvtps_pd(_mm256_castps256_ps128(a.v)); }
DL_INLINE f64xh upper_half(Vec a) { return _mm256_cvtps_pd(_mm256_extractf128_ps(a.v, 1)); }
DL_INLINE Vec join_halves(f64xh lo, f64xh hi) { return {_mm256_set_m128(_mm256_cvtpd_ps(hi), _mm256_cvtpd_ps(lo))}; }
DL_INLINE VecI join_low_bits(f64xh lo, f64xh hi) {
  const __m256 even = _mm256_shuffle_ps(_mm256_castpd_ps(lo), _mm256_castpd_ps(hi), 0x88);
  return {_mm256_permute4x64_epi64(_mm256_castps_si256(even), 0xd8)};
}

}  // namespace
}  // namespace dl
