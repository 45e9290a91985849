// Reading and writing every step-th element.
#pragma once
#include "kernels/matmul/lanes.h"

namespace dl {
namespace {

#if defined(__clang__) || __GNUC__ >= 12
template <class V, int... I> DL_INLINE V even_lanes(V a, V b, Ints<I...>) {
  return {__builtin_shufflevector(a.v, b.v, (2 * I)...)};
}
#else
template <class V, int... I> DL_INLINE V even_lanes(V a, V b, Ints<I...>) {
  return {__builtin_shuffle(a.v, b.v, typename IndexOf<V>::type{(2 * I)...})};
}
#endif

// Lanes p[0], p[step], p[2 * step] ... for the first n lanes; no other element is touched.
template <class T> DL_INLINE Lanes_t<T> load_strided(const T* p, int64_t step, int64_t n) {
  using V = Lanes_t<T>;
  constexpr int L = V::size;
  if (step == 1) return load(p, n);
  if (step == 2) {
    const int64_t span = 2 * n - 1;
    const V low = load(p, span < L ? span : L);
    const V high = span > L ? load(p + L, span - L) : broadcast(T{0});
    return even_lanes(low, high, typename MakeInts<L>::type{});
  }
  T lane[L] = {};
  for (int64_t i = 0; i < n; ++i) lane[i] = p[i * step];
  return load(lane);
}

#if defined(__AVX512F__)
DL_INLINE void store_even(float* p, Vec a, int64_t n) {
  const __m512i low = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
  const uint32_t used = 0x55555555u & static_cast<uint32_t>((uint64_t{1} << (2 * n)) - 1);
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>(used), _mm512_permutexvar_ps(low, a.v));
  const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
  _mm512_mask_storeu_ps(p + 16, static_cast<__mmask16>(used >> 16), _mm512_permutexvar_ps(high, a.v));
}
DL_INLINE void store_even(double* p, VecD a, int64_t n) {
  const __m512i low = _mm512_setr_epi64(0, 0, 1, 1, 2, 2, 3, 3);
  const uint32_t used = 0x5555u & ((1u << (2 * n)) - 1);
  _mm512_mask_storeu_pd(p, static_cast<__mmask8>(used), _mm512_permutexvar_pd(low, a.v));
  const __m512i high = _mm512_add_epi64(low, _mm512_set1_epi64(4));
  _mm512_mask_storeu_pd(p + 8, static_cast<__mmask8>(used >> 8), _mm512_permutexvar_pd(high, a.v));
}
#endif

// p[0], p[step], p[2 * step] ... = the first n lanes; no other element is touched.
template <class T> DL_INLINE void store_strided(T* p, int64_t step, Lanes_t<T> a, int64_t n) {
  if (step == 1) return store(p, a, n);
#if defined(__AVX512F__)
  if (step == 2) return store_even(p, a, n);
#endif
  T lane[Lanes_t<T>::size];
  store(lane, a);
  for (int64_t i = 0; i < n; ++i) p[i * step] = lane[i];
}

}  // namespace
}  // namespace dl
