// Vec in GCC/Clang vector extensions: 4 lanes of 16 bytes, which every x86-64 (SSE2) and aarch64 (NEON) has.
// Included by vec.h only; vec_avx512.h says what each function means. fma may round twice where the CPU has none.
#pragma once
#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace dl {
namespace {

typedef float f32x4 __attribute__((vector_size(16)));
typedef int32_t i32x4 __attribute__((vector_size(16)));
typedef uint32_t u32x4 __attribute__((vector_size(16)));
typedef uint16_t u16x4 __attribute__((vector_size(8)));
typedef uint8_t u8x4 __attribute__((vector_size(4)));

struct Vec {
  static constexpr int size = 4;
  f32x4 v;
};
struct VecI {
  static constexpr int size = 4;
  i32x4 v;
};
struct Mask { i32x4 m; };

// Memory: any alignment. A tail goes through a small copy.
template <class V, class T> DL_INLINE V load_lanes(const T* p) {
  V v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
template <class V, class T> DL_INLINE V load_lanes(const T* p, int64_t n) {
  T t[4] = {};
  for (int64_t i = 0; i < n; ++i) t[i] = p[i];
  return load_lanes<V>(t);
}
template <class V, class T> DL_INLINE void store_lanes(T* p, V v) { std::memcpy(p, &v, sizeof v); }
template <class V, class T> DL_INLINE void store_lanes(T* p, V v, int64_t n) {
  T t[4];
  store_lanes(t, v);
  for (int64_t i = 0; i < n; ++i) p[i] = t[i];
}

// Mask
DL_INLINE Mask first_n(int64_t n) {
  const int32_t k = static_cast<int32_t>(n);
  return {i32x4{0, 1, 2, 3} < i32x4{k, k, k, k}};
}
DL_INLINE Mask operator&(Mask a, Mask b) { return {a.m & b.m}; }
DL_INLINE Mask operator|(Mask a, Mask b) { return {a.m | b.m}; }
DL_INLINE Mask operator^(Mask a, Mask b) { return {a.m ^ b.m}; }
DL_INLINE Mask operator!(Mask a) { return {~a.m}; }
DL_INLINE bool any(Mask a) {
#if defined(__SSE2__)
  return _mm_movemask_ps(reinterpret_cast<__m128>(a.m)) != 0;
#else
  return (a.m[0] | a.m[1] | a.m[2] | a.m[3]) != 0;
#endif
}
DL_INLINE bool all(Mask a) { return !any(!a); }

// Vec: memory
DL_INLINE Vec broadcast(float x) { return {f32x4{x, x, x, x}}; }
DL_INLINE Vec load(const float* p) { return {load_lanes<f32x4>(p)}; }
DL_INLINE Vec load(const float* p, int64_t n) { return {load_lanes<f32x4>(p, n)}; }
DL_INLINE Vec load(const float* p, Mask m) {
  return {f32x4{m.m[0] ? p[0] : 0.0f, m.m[1] ? p[1] : 0.0f, m.m[2] ? p[2] : 0.0f, m.m[3] ? p[3] : 0.0f}};
}
DL_INLINE void store(float* p, Vec a) { store_lanes(p, a.v); }
DL_INLINE void store(float* p, Vec a, int64_t n) { store_lanes(p, a.v, n); }
#if defined(__SSE2__)
DL_INLINE void stream(float* p, Vec a) { _mm_stream_ps(p, a.v); }
DL_INLINE void stream_fence() { _mm_sfence(); }
#else
DL_INLINE void stream(float* p, Vec a) { store(p, a); }
DL_INLINE void stream_fence() {}
#endif

// Vec: arithmetic
DL_INLINE Vec operator+(Vec a, Vec b) { return {a.v + b.v}; }
DL_INLINE Vec operator-(Vec a, Vec b) { return {a.v - b.v}; }
DL_INLINE Vec operator*(Vec a, Vec b) { return {a.v * b.v}; }
DL_INLINE Vec operator/(Vec a, Vec b) { return {a.v / b.v}; }
DL_INLINE Vec operator-(Vec a) { return {-a.v}; }
#if defined(__aarch64__)
DL_INLINE Vec fma(Vec a, Vec b, Vec c) { return {vfmaq_f32(c.v, a.v, b.v)}; }
DL_INLINE Vec fnma(Vec a, Vec b, Vec c) { return {vfmsq_f32(c.v, a.v, b.v)}; }
#else
DL_INLINE Vec fma(Vec a, Vec b, Vec c) { return {a.v * b.v + c.v}; }
DL_INLINE Vec fnma(Vec a, Vec b, Vec c) { return {c.v - a.v * b.v}; }
#endif
DL_INLINE Vec sqrt(Vec a) {
#if defined(__SSE2__)
  return {_mm_sqrt_ps(a.v)};
#elif defined(__aarch64__)
  return {vsqrtq_f32(a.v)};
#else
  return {f32x4{__builtin_sqrtf(a.v[0]), __builtin_sqrtf(a.v[1]), __builtin_sqrtf(a.v[2]), __builtin_sqrtf(a.v[3])}};
#endif
}
DL_INLINE VecI bits_as_int(Vec a) { return {reinterpret_cast<i32x4>(a.v)}; }
DL_INLINE Vec bits_as_float(VecI a) { return {reinterpret_cast<f32x4>(a.v)}; }
DL_INLINE Vec abs(Vec a) { return {reinterpret_cast<f32x4>(reinterpret_cast<i32x4>(a.v) & 0x7fffffff)}; }

// Vec: comparisons
DL_INLINE Mask lt(Vec a, Vec b) { return {a.v < b.v}; }
DL_INLINE Mask le(Vec a, Vec b) { return {a.v <= b.v}; }
DL_INLINE Mask gt(Vec a, Vec b) { return {a.v > b.v}; }
DL_INLINE Mask ge(Vec a, Vec b) { return {a.v >= b.v}; }
DL_INLINE Mask eq(Vec a, Vec b) { return {a.v == b.v}; }
DL_INLINE Mask ne(Vec a, Vec b) { return {a.v != b.v}; }
DL_INLINE Mask isnan(Vec a) { return {a.v != a.v}; }
DL_INLINE VecI select(Mask m, VecI a, VecI b) { return {(m.m & a.v) | (~m.m & b.v)}; }
DL_INLINE Vec select(Mask m, Vec a, Vec b) { return bits_as_float(select(m, bits_as_int(a), bits_as_int(b))); }
#if defined(__SSE2__)
DL_INLINE Vec fast_max(Vec a, Vec b) { return {_mm_max_ps(a.v, b.v)}; }
DL_INLINE Vec fast_min(Vec a, Vec b) { return {_mm_min_ps(a.v, b.v)}; }
#else
DL_INLINE Vec fast_max(Vec a, Vec b) { return select(gt(a, b), a, b); }
DL_INLINE Vec fast_min(Vec a, Vec b) { return select(lt(a, b), a, b); }
#endif
DL_INLINE Vec max(Vec a, Vec b) { return select(isnan(a), a, fast_max(a, b)); }
DL_INLINE Vec min(Vec a, Vec b) { return select(isnan(a), a, fast_min(a, b)); }

// Rounding without SSE4.1: adding and taking away 2^23 leaves the nearest integer. From 2^23 on every float is one.
DL_INLINE Vec round_nearest(Vec a) {
  const i32x4 sign = reinterpret_cast<i32x4>(a.v) & static_cast<int32_t>(0x80000000u);
  const f32x4 magic = broadcast(8388608.0f).v;
  f32x4 shifted = abs(a).v + magic;
  shifted = shifted - magic;
  const Vec rounded = {reinterpret_cast<f32x4>(reinterpret_cast<i32x4>(shifted) | sign)};
  return select(lt(abs(a), {magic}), rounded, a);
}
DL_INLINE Vec floor(Vec a) {
  const Vec r = round_nearest(a), down = r - broadcast(1.0f);
  return select(gt(r, a), down, r);
}
DL_INLINE Vec ceil(Vec a) { return -floor(-a); }
DL_INLINE Vec trunc(Vec a) { return select(lt(a, broadcast(0.0f)), ceil(a), floor(a)); }

// Reductions over the lanes
DL_INLINE float reduce_add(Vec a) { return (a.v[0] + a.v[2]) + (a.v[1] + a.v[3]); }
DL_INLINE float reduce_max(Vec a) {
  const Vec m2 = max(a, {f32x4{a.v[2], a.v[3], a.v[0], a.v[1]}});
  return max(m2, {f32x4{m2.v[1], m2.v[0], m2.v[3], m2.v[2]}}).v[0];
}
DL_INLINE float reduce_min(Vec a) { return -reduce_max(-a); }

// VecI
DL_INLINE VecI broadcast(int32_t x) { return {i32x4{x, x, x, x}}; }
DL_INLINE VecI iota() { return {i32x4{0, 1, 2, 3}}; }
DL_INLINE VecI load(const int32_t* p) { return {load_lanes<i32x4>(p)}; }
DL_INLINE VecI load(const int32_t* p, int64_t n) { return {load_lanes<i32x4>(p, n)}; }
DL_INLINE void store(int32_t* p, VecI a) { store_lanes(p, a.v); }
DL_INLINE void store(int32_t* p, VecI a, int64_t n) { store_lanes(p, a.v, n); }
// Unsigned lanes wrap; signed ones would be undefined.
DL_INLINE u32x4 as_unsigned(VecI a) { return reinterpret_cast<u32x4>(a.v); }
DL_INLINE VecI from_unsigned(u32x4 a) { return {reinterpret_cast<i32x4>(a)}; }
DL_INLINE VecI operator+(VecI a, VecI b) { return from_unsigned(as_unsigned(a) + as_unsigned(b)); }
DL_INLINE VecI operator-(VecI a, VecI b) { return from_unsigned(as_unsigned(a) - as_unsigned(b)); }
DL_INLINE VecI operator*(VecI a, VecI b) { return from_unsigned(as_unsigned(a) * as_unsigned(b)); }
DL_INLINE VecI operator&(VecI a, VecI b) { return {a.v & b.v}; }
DL_INLINE VecI operator|(VecI a, VecI b) { return {a.v | b.v}; }
DL_INLINE VecI operator^(VecI a, VecI b) { return {a.v ^ b.v}; }
template <int k> DL_INLINE VecI shl(VecI a) { return from_unsigned(as_unsigned(a) << k); }
template <int k> DL_INLINE VecI shr(VecI a) { return from_unsigned(as_unsigned(a) >> k); }
template <int k> DL_INLINE VecI sar(VecI a) { return {a.v >> k}; }
DL_INLINE Mask eq(VecI a, VecI b) { return {a.v == b.v}; }
DL_INLINE Mask gt(VecI a, VecI b) { return {a.v > b.v}; }
struct WideProduct { VecI lo, hi; };
DL_INLINE WideProduct mul_wide_u32(VecI a, VecI b) {
#if defined(__SSE2__)
  const __m128i va = reinterpret_cast<__m128i>(a.v), vb = reinterpret_cast<__m128i>(b.v);
  const i32x4 even = reinterpret_cast<i32x4>(_mm_mul_epu32(va, vb));
  const i32x4 odd = reinterpret_cast<i32x4>(_mm_mul_epu32(_mm_srli_epi64(va, 32), _mm_srli_epi64(vb, 32)));
  return {{i32x4{even[0], odd[0], even[2], odd[2]}}, {i32x4{even[1], odd[1], even[3], odd[3]}}};
#else
  WideProduct p;
  for (int i = 0; i < 4; ++i) {
    const uint64_t wide = uint64_t{as_unsigned(a)[i]} * as_unsigned(b)[i];
    p.lo.v[i] = static_cast<int32_t>(wide);
    p.hi.v[i] = static_cast<int32_t>(wide >> 32);
  }
  return p;
#endif
}

// Conversions
DL_INLINE VecI to_int(Vec a) {
#if defined(__SSE2__)
  return {reinterpret_cast<i32x4>(_mm_cvttps_epi32(a.v))};
#else
  return {__builtin_convertvector(a.v, i32x4)};
#endif
}
DL_INLINE VecI to_int_nearest(Vec a) {
#if defined(__SSE2__)
  return {reinterpret_cast<i32x4>(_mm_cvtps_epi32(a.v))};
#else
  return to_int(round_nearest(a));
#endif
}
DL_INLINE Vec to_float(VecI a) { return {__builtin_convertvector(a.v, f32x4)}; }

// Narrow integers
DL_INLINE VecI load_u16(const uint16_t* p) { return {__builtin_convertvector(load_lanes<u16x4>(p), i32x4)}; }
DL_INLINE VecI load_u16(const uint16_t* p, int64_t n) {
  return {__builtin_convertvector(load_lanes<u16x4>(p, n), i32x4)};
}
DL_INLINE void store_u16(uint16_t* p, VecI a) { store_lanes(p, __builtin_convertvector(a.v, u16x4)); }
DL_INLINE void store_u16(uint16_t* p, VecI a, int64_t n) { store_lanes(p, __builtin_convertvector(a.v, u16x4), n); }
DL_INLINE VecI load_u8(const uint8_t* p) { return {__builtin_convertvector(load_lanes<u8x4>(p), i32x4)}; }
DL_INLINE VecI load_u8(const uint8_t* p, int64_t n) { return {__builtin_convertvector(load_lanes<u8x4>(p, n), i32x4)}; }
DL_INLINE void store_u8(uint8_t* p, VecI a) { store_lanes(p, __builtin_convertvector(a.v, u8x4)); }
DL_INLINE void store_u8(uint8_t* p, VecI a, int64_t n) { store_lanes(p, __builtin_convertvector(a.v, u8x4), n); }

// bool arrays
DL_INLINE Mask load_mask(const bool* p) { return !eq(load_u8(reinterpret_cast<const uint8_t*>(p)), broadcast(0)); }
DL_INLINE Mask load_mask(const bool* p, int64_t n) {
  return !eq(load_u8(reinterpret_cast<const uint8_t*>(p), n), broadcast(0));
}
DL_INLINE void store_mask(bool* p, Mask m) { store_u8(reinterpret_cast<uint8_t*>(p), VecI{m.m} & broadcast(1)); }
DL_INLINE void store_mask(bool* p, Mask m, int64_t n) {
  store_u8(reinterpret_cast<uint8_t*>(p), VecI{m.m} & broadcast(1), n);
}

// Halves in double precision, see wide.h.
typedef double f64xh __attribute__((vector_size(16)));
DL_INLINE f64xh lower_half(Vec a) { return f64xh{a.v[0], a.v[1]}; }
DL_INLINE f64xh upper_half(Vec a) { return f64xh{a.v[2], a.v[3]}; }
DL_INLINE Vec join_halves(f64xh lo, f64xh hi) {
  return {f32x4{static_cast<float>(lo[0]), static_cast<float>(lo[1]), static_cast<float>(hi[0]),
                static_cast<float>(hi[1])}};
}
DL_INLINE VecI join_low_bits(f64xh lo, f64xh hi) {
  const i32x4 l = reinterpret_cast<i32x4>(lo), h = reinterpret_cast<i32x4>(hi);
  return {i32x4{l[0], l[2], h[0], h[2]}};
}

}  // namespace
}  // namespace dl
