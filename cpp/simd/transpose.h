// The transpose of a square of lanes, in registers.
#pragma once
#include "simd/vec.h"

namespace dl {
namespace {

// 0 ... N-1 as a pack (std::integer_sequence would be a shared template).
template <int... I> struct Ints {};
template <int N, int... I> struct MakeInts : MakeInts<N - 1, N - 1, I...> {};
template <int... I> struct MakeInts<0, I...> { using type = Ints<I...>; };

// Lanes of a and b in blocks of S: the first takes a's even blocks and puts b's even blocks after each, the second
// does the same with the odd ones.
#if defined(__clang__) || __GNUC__ >= 12
#define DL_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
template <int bytes> struct IndexLane { using type = int32_t; };
template <> struct IndexLane<8> { using type = int64_t; };
template <class V> struct IndexOf {
  typedef typename IndexLane<sizeof(V) / V::size>::type type __attribute__((vector_size(sizeof(V))));
};
#define DL_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, typename IndexOf<V>::type{__VA_ARGS__})
#endif
template <int S, class V, int... I> DL_INLINE V even_blocks(V a, V b, Ints<I...>) {
  return {DL_SHUFFLE(a.v, b.v, (I & S ? V::size + I - S : I)...)};
}
template <int S, class V, int... I> DL_INLINE V odd_blocks(V a, V b, Ints<I...>) {
  return {DL_SHUFFLE(a.v, b.v, (I & S ? V::size + I : I + S)...)};
}
#undef DL_SHUFFLE

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

// r[i] lane j <-> r[j] lane i. V is Vec, or another struct of `size` lanes in a vector `v`.
template <class V> DL_INLINE void transpose(V (&r)[V::size]) { transpose_from<1>(r); }

}  // namespace
}  // namespace dl
