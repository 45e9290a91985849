// Reading every step-th element.
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

}  // namespace
}  // namespace dl
