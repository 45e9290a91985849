// What the GEMM needs beyond Vec: float64 lanes under the same names.
#pragma once
#include "simd/transpose.h"
#include "simd/vec.h"

namespace dl {
namespace {

#if defined(__AVX512F__)
struct VecD {
  static constexpr int size = 8;
  __m512d v;
};
DL_INLINE VecD broadcast(double x) { return {_mm512_set1_pd(x)}; }
DL_INLINE VecD load(const double* p) { return {_mm512_loadu_pd(p)}; }
DL_INLINE VecD load(const double* p, int64_t n) {
  return {_mm512_maskz_loadu_pd(static_cast<__mmask8>((1u << n) - 1u), p)};
}
DL_INLINE void store(double* p, VecD a) { _mm512_storeu_pd(p, a.v); }
DL_INLINE void store(double* p, VecD a, int64_t n) {
  _mm512_mask_storeu_pd(p, static_cast<__mmask8>((1u << n) - 1u), a.v);
}
DL_INLINE VecD fma(VecD a, VecD b, VecD c) { return {_mm512_fmadd_pd(a.v, b.v, c.v)}; }
#elif defined(__AVX2__)
struct VecD {
  static constexpr int size = 4;
  __m256d v;
};
DL_INLINE __m256i first_n_bits64(int64_t n) {
  return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3));
}
DL_INLINE VecD broadcast(double x) { return {_mm256_set1_pd(x)}; }
DL_INLINE VecD load(const double* p) { return {_mm256_loadu_pd(p)}; }
DL_INLINE VecD load(const double* p, int64_t n) { return {_mm256_maskload_pd(p, first_n_bits64(n))}; }
DL_INLINE void store(double* p, VecD a) { _mm256_storeu_pd(p, a.v); }
DL_INLINE void store(double* p, VecD a, int64_t n) { _mm256_maskstore_pd(p, first_n_bits64(n), a.v); }
DL_INLINE VecD fma(VecD a, VecD b, VecD c) { return {_mm256_fmadd_pd(a.v, b.v, c.v)}; }
#else
typedef double f64x2 __attribute__((vector_size(16)));
struct VecD {
  static constexpr int size = 2;
  f64x2 v;
};
DL_INLINE VecD broadcast(double x) { return {f64x2{x, x}}; }
DL_INLINE VecD load(const double* p) { return {f64x2{p[0], p[1]}}; }
DL_INLINE VecD load(const double* p, int64_t n) { return {f64x2{n > 0 ? p[0] : 0.0, n > 1 ? p[1] : 0.0}}; }
DL_INLINE void store(double* p, VecD a) { std::memcpy(p, &a.v, sizeof a.v); }
DL_INLINE void store(double* p, VecD a, int64_t n) {
  for (int64_t i = 0; i < n; ++i) p[i] = a.v[i];
}
DL_INLINE VecD fma(VecD a, VecD b, VecD c) { return {a.v * b.v + c.v}; }
#endif

DL_INLINE VecD operator+(VecD a, VecD b) { return {a.v + b.v}; }
DL_INLINE double reduce_add(VecD a) {
  double lane[VecD::size];
  store(lane, a);
  for (int n = VecD::size / 2; n > 0; n /= 2)
    for (int i = 0; i < n; ++i) lane[i] += lane[i + n];
  return lane[0];
}

template <class T> struct LanesOf;
template <> struct LanesOf<float> { using type = Vec; };
template <> struct LanesOf<double> { using type = VecD; };
template <class T> using Lanes_t = typename LanesOf<T>::type;

}  // namespace
}  // namespace dl
