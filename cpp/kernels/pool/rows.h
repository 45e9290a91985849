// What the pools share: output rows cut into strips, whose window columns lie in a padded row buffer.
#pragma once
#include "core/parallel.h"
#include "kernels/conv/strided.h"
#include "kernels/pool/pool.h"
#include "simd/vec.h"

namespace dl {
namespace {

DL_INLINE int64_t min_of(int64_t a, int64_t b) { return a < b ? a : b; }
DL_INLINE int64_t max_of(int64_t a, int64_t b) { return a > b ? a : b; }
DL_INLINE int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

constexpr int64_t kPoolWork = 65536;     // elements read by a block
constexpr int64_t kStripColumns = 8192;  // of input that the outputs of a strip read, their own window aside: L1 and L2

DL_INLINE void fill(float* y, float v, int64_t n) {
  int64_t i = 0;
  for (; i + Vec::size <= n; i += Vec::size) store(y + i, broadcast(v));
  if (i < n) store(y + i, broadcast(v), n - i);
}

// A strip: outputs [j0, j1) of a row; its windows read columns [left, left + columns), of which [first, last) exist.
struct Strip { int64_t j0, j1, left, columns, first, last; };

DL_INLINE int64_t strip_outputs(const PoolAxis& w) { return min_of(w.out, kStripColumns / w.stride + 1); }
DL_INLINE Strip strip_of(const PoolAxis& w, int64_t index) {
  Strip s;
  s.j0 = index * strip_outputs(w);
  s.j1 = min_of(w.out, s.j0 + strip_outputs(w));
  s.left = s.j0 * w.stride - w.pad;
  s.columns = (s.j1 - 1 - s.j0) * w.stride + (w.kernel - 1) * w.dilation + 1;
  s.first = min_of(s.columns, max_of(0, -s.left));
  s.last = max_of(s.first, min_of(s.columns, w.in - s.left));
  return s;
}

// Calls body(plane, output row, strip) for every strip, in parallel.
template <class Body> void for_each_strip(const Pool2dShape& s, const Body& body) {
  const int64_t strips = ceil_div(s.w.out, strip_outputs(s.w));
  const int64_t work = min_of(strip_outputs(s.w), s.w.out) * (s.h.kernel * s.w.stride + s.w.kernel);
  parallel_for(s.planes * s.h.out * strips, max_of(1, kPoolWork / work), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) body(t / strips / s.h.out, t / strips % s.h.out, strip_of(s.w, t % strips));
  });
}

// The taps of output o that lie inside the axis: [first, last).
struct Taps { int64_t first, last; };
DL_INLINE Taps taps_inside(const PoolAxis& a, int64_t o) {
  const int64_t begin = o * a.stride - a.pad;
  const int64_t first = begin >= 0 ? 0 : min_of(a.kernel, ceil_div(-begin, a.dilation));
  const int64_t last = begin >= a.in ? 0 : min_of(a.kernel, ceil_div(a.in - begin, a.dilation));
  return {first, max_of(first, last)};
}

}  // namespace
}  // namespace dl
