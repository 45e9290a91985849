// What the GEMM needs beyond Vec: float64 lanes under the same names, and the transpose of a square of lanes.
#pragma once
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

// 0 ... N-1 as a pack (std::integer_sequence would be a shared template).
template <int... I> struct Ints {};
template <int N, int... I> struct MakeInts : MakeInts<N - 1, N - 1, I...> {};
template <int... I> struct MakeInts<0, I...> { using type = Ints<I...>; };

// Lanes of a and b in blocks of S: the first takes a's even blocks and puts b's even blocks after each, the second
// does the same with the odd ones.
#if defined(__clang__) || __GNUC__ >= 12
#define DL_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
template <class T> struct IndexOf;
template <> struct IndexOf<Vec> { typedef int32_t type __attribute__((vector_size(sizeof(Vec)))); };
template <> struct IndexOf<VecD> { typedef int64_t type __attribute__((vector_size(sizeof(VecD)))); };
#define DL_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, typename IndexOf<V>::type{__VA_ARGS__})
#endif
template <int S, class V, int... I> DL_INLINE V even_blocks(V a, V b, Ints<I...>) {
  return {DL_SHUFFLE(a.v, b.v, (I & S ? V::size + I - S : I)...)};
}
template <int S, class V, int... I> DL_INLINE V odd_blocks(V a, V b, Ints<I...>) {
  return {DL_SHUFFLE(a.v, b.v, (I & S ? V::size + I : I + S)...)};
}
#undef DL_SHUFFLE

// r[i] lane j <-> r[j] lane i.
template <int S, class V> DL_INLINE void transpose_from(V (&r)[V::size]) {
  if constexpr (S < V::size) {
    constexpr typename MakeInts<V::size>::type lanes;
#pragma GCC unroll 16
    for (int i = 0; i < V::size; ++i) {
      if (i & S) continue;
      const V a = r[i], b = r[i + S];
      r[i] = even_blocks<S>(a, b, lanes);
      r[i + S] = odd_blocks<S>(a, b, lanes);
    }
    transpose_from<2 * S>(r);
  }
}
template <class V> DL_INLINE void transpose(V (&r)[V::size]) { transpose_from<1>(r); }

}  // namespace
}  // namespace dl
