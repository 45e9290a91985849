// Contracts of the reduce family. Every reduction sees x as (outer, n, inner), contiguous, and goes over the middle.
#pragma once
#include <cstdint>

#include "core/bfloat16.h"

namespace dl {

// What partial results are kept in.
template <class Y> struct PartialOf { using type = Y; };
template <> struct PartialOf<bfloat16> { using type = float; };

// y[o, i] = op over k of x[o, k, i]; outer, n, inner >= 1. Registered as "<op>/<dtype of x>":
//   sum, mean, prod, norm1 (sum |x|), norm2 (sqrt sum x^2)   floating, Y = T; sum and prod also integers and bool, Y =
//   int64 max, min                                                  any dtype, Y = T; NaN where any x is NaN
// float32 and bfloat16 add up in float32, in trees whose depth grows with log n and n / 2^20; integers wrap.
// workspace: reduce_workspace(outer, n, inner) elements; may be nullptr when that is 0.
template <class T, class Y> using reduce_fn = void (*)(const T* x, Y* y, int64_t outer, int64_t n, int64_t inner,
                                                       typename PartialOf<Y>::type* workspace);

// mean[r] and var[r] = (sum over k of (x[r, k] - mean)^2) / divisor, by two passes over chunks that stay in cache,
// whose moments are then combined in double (Chan, Golub, LeVeque 1979). x is (rows, n): the reduced axes are at the
// end. workspace: 2 * reduce_workspace(rows, n, 1) elements.
template <class T>
using moments_fn = void (*)(const T* x, T* mean, T* var, int64_t rows, int64_t n, double divisor, double* workspace);

// index[o, i] = the first k with the largest (smallest) x[o, k, i], a NaN counting as the largest (smallest);
// value[o, i] = that element. n < 2^31.
// workspace: reduce_workspace(outer, n, inner) elements.
template <class T> using arg_reduce_fn = void (*)(const T* x, T* value, int64_t* index, int64_t outer, int64_t n,
                                                  int64_t inner, int64_t* workspace);

// y[o, k, i] = sum of x[o, j, i] over j <= k, or over j >= k in reverse. Y as for sum; floats add up in double.
// workspace: reduce_workspace(outer, n, 1) elements.
template <class T, class Y>
using cumsum_fn = void (*)(const T* x, Y* y, int64_t outer, int64_t n, int64_t inner, bool reverse, double* workspace);

// y[r] = log(sum over c of exp(x[r, c])), about the row's maximum. A row of -inf gives -inf.
template <class T> using logsumexp_fn = void (*)(const T* x, T* y, int64_t rows, int64_t cols);

// How the middle dimension is cut: into chunks that give partial results, combined in order. Depends on sizes alone.
constexpr int64_t kReduceRun = 65536;      // elements of one chunk where inner is 1
constexpr int64_t kReduceStrip = 1024;     // columns that one block works on: their sums stay in L1
constexpr int64_t kReduceWide = 64;        // narrower rows are taken several at once, so that vectors are filled
constexpr int64_t kReduceChunkRows = 512;  // rows of one chunk, at most

static inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

struct ReducePlan {
  int64_t fold;    // rows of `inner` elements taken as one
  int64_t length;  // rows of one chunk
  int64_t chunks, strips;
};
static inline ReducePlan plan_reduce(int64_t n, int64_t inner) {
  if (inner == 1) return {1, kReduceRun, (n + kReduceRun - 1) / kReduceRun, 1};
  const int64_t fold = inner < kReduceWide ? kReduceWide / inner : 1;
  const int64_t width = smaller(inner * fold, kReduceStrip);
  const int64_t length = fold * larger(8, smaller(kReduceChunkRows, 2 * kReduceRun / width));
  return {fold, length, (n + length - 1) / length, (inner + kReduceStrip - 1) / kReduceStrip};
}
static inline int64_t reduce_workspace(int64_t outer, int64_t n, int64_t inner) {
  const ReducePlan plan = plan_reduce(n, inner);
  return plan.chunks == 1 ? 0 : outer * plan.chunks * inner;
}

}  // namespace dl
