// Loops over one row of any length with a Vec body: `term(i, lanes)` gives the vector that starts at element i, where
// lanes is Whole or Part{n}; load(p, lanes) and store(p, v, lanes) take either. Bodies are lambdas marked DL_BODY.
#pragma once
#include "simd/vec.h"

#define DL_BODY __attribute__((always_inline))

namespace dl {
namespace {

struct Whole {};
struct Part { int64_t n; };
template <class T> DL_INLINE Vec load(const T* p, Whole) { return load(p); }
template <class T> DL_INLINE Vec load(const T* p, Part lanes) { return load(p, lanes.n); }
template <class T> DL_INLINE void store(T* p, Vec v, Whole) { store(p, v); }
template <class T> DL_INLINE void store(T* p, Vec v, Part lanes) { store(p, v, lanes.n); }
DL_INLINE Vec keep(Vec v, Vec, Whole) { return v; }
DL_INLINE Vec keep(Vec v, Vec otherwise, Part lanes) { return select(first_n(lanes.n), v, otherwise); }

constexpr int kRowStreams = 4;  // independent chains, to hide the latency of an addition
constexpr int kRowSteps = 16;   // additions one after another before a tree takes over: bounds the error of a sum

// Several sums over the same pass, lane by lane, added to `total`: terms(i, lanes, add) calls add(k, v) for sum k.
// Depth of the tree: 16 + n / (64 lanes).
template <int kSums, class Terms> DL_INLINE void add_sums(int64_t n, const Terms& terms, Vec (&total)[kSums]) {
  constexpr int64_t V = Vec::size, kStep = kRowStreams * V;
  int64_t i = 0;
  while (n - i >= kStep) {
    Vec a[kSums][kRowStreams];
    for (int j = 0; j < kRowStreams; ++j) terms(i + j * V, Whole{}, [&](int k, Vec v) DL_BODY { a[k][j] = v; });
    i += kStep;
    for (int s = 1; s < kRowSteps && n - i >= kStep; ++s, i += kStep)
      for (int j = 0; j < kRowStreams; ++j) terms(i + j * V, Whole{}, [&](int k, Vec v) DL_BODY { a[k][j] += v; });
    for (int k = 0; k < kSums; ++k) total[k] += (a[k][0] + a[k][1]) + (a[k][2] + a[k][3]);
  }
  for (; n - i >= V; i += V) terms(i, Whole{}, [&](int k, Vec v) DL_BODY { total[k] += v; });
  if (i < n) {
    const Part rest{n - i};
    terms(i, rest, [&](int k, Vec v) DL_BODY { total[k] += keep(v, zero(), rest); });
  }
}

// The same of one row, as numbers.
template <int kSums> struct Sums { float of[kSums]; };
template <int kSums, class Terms> DL_INLINE Sums<kSums> sums_over(int64_t n, const Terms& terms) {
  Vec total[kSums];
  for (int k = 0; k < kSums; ++k) total[k] = zero();
  add_sums(n, terms, total);
  Sums<kSums> sums;
  for (int k = 0; k < kSums; ++k) sums.of[k] = reduce_add(total[k]);
  return sums;
}

// The sum of every term.
template <class Term> DL_INLINE float sum_over(int64_t n, const Term& term) {
  return sums_over<1>(n, [&](int64_t i, auto lanes, auto add) DL_BODY { add(0, term(i, lanes)); }).of[0];
}

// The largest term; NaN where any is.
template <class Term> DL_INLINE float max_over(int64_t n, const Term& term) {
  constexpr int64_t V = Vec::size, kStep = kRowStreams * V;
  const Vec least = broadcast(-__builtin_inff());
  Vec a[kRowStreams] = {least, least, least, least};
  int64_t i = 0;
  for (; n - i >= kStep; i += kStep)
    for (int j = 0; j < kRowStreams; ++j) a[j] = max(a[j], term(i + j * V, Whole{}));
  for (; n - i >= V; i += V) a[0] = max(a[0], term(i, Whole{}));
  if (i < n) a[1] = max(a[1], keep(term(i, Part{n - i}), least, Part{n - i}));
  return reduce_max(max(max(a[0], a[1]), max(a[2], a[3])));
}

// Just does it: body(i, lanes) over [0, n).
template <class Body> DL_INLINE void for_each_vec(int64_t n, const Body& body) {
  int64_t i = 0;
  for (; n - i >= Vec::size; i += Vec::size) body(i, Whole{});
  if (i < n) body(i, Part{n - i});
}

}  // namespace
}  // namespace dl
