// Contracts of the pool family: 2-D pooling of `planes` = N * C planes, all tensors contiguous. Inputs and outputs do
// not overlap. Sizes of planes are positive; planes may be 0.
#pragma once
#include <cstdint>

namespace dl {

// One direction of a sliding window: output o covers o * stride - pad + t * dilation for t in [0, kernel).
struct PoolAxis { int64_t in, out, kernel, stride, pad, dilation; };

struct Pool2dShape {
  int64_t planes;
  PoolAxis h, w;
};

// y[p, o] = the largest x in the window, index[p, o] = its place, row * w.in + column: the first one in row-major order
// where several are equal. NaN counts as the largest. What lies outside the plane does not take part; a window with
// nothing inside gives -inf and index -1. index may be null.
template <class T> using max_pool2d_forward_fn = void (*)(const T* x, T* y, int64_t* index, const Pool2dShape* shape);
// dx[p, i] = the sum of dy[p, o] over the windows whose index is i, in row-major order of o.
template <class T>
using max_pool2d_backward_fn = void (*)(const T* dy, const int64_t* index, T* dx, const Pool2dShape* shape);

// How an average divides.
struct PoolDivisor {
  bool padding;   // count the elements of the padding too, but not what a window covers beyond it
  int64_t fixed;  // this number instead, where it is not 0
};

// y[p, o] = sum of the window / its divisor; elements outside the plane count as 0.
template <class T>
using avg_pool2d_forward_fn = void (*)(const T* x, T* y, const Pool2dShape* shape, const PoolDivisor* divisor);
template <class T>
using avg_pool2d_backward_fn = void (*)(const T* dy, T* dx, const Pool2dShape* shape, const PoolDivisor* divisor);

// The number that a window's extent along one direction contributes to the divisor.
static inline int64_t pool_extent(const PoolAxis& a, int64_t o, bool padding) {
  int64_t begin = o * a.stride - a.pad, end = begin + a.kernel;
  if (end > a.in + (padding ? a.pad : 0)) end = a.in + (padding ? a.pad : 0);
  if (begin < 0 && !padding) begin = 0;
  return end - begin;
}

// Averages over windows that tile the plane: output o of `out` covers [floor(o * in / out), ceil((o + 1) * in / out)).
// Only in and out of the axes are used.
template <class T> using adaptive_avg_pool2d_forward_fn = void (*)(const T* x, T* y, const Pool2dShape* shape);
template <class T> using adaptive_avg_pool2d_backward_fn = void (*)(const T* dy, T* dx, const Pool2dShape* shape);

static inline int64_t adaptive_begin(const PoolAxis& a, int64_t o) { return o * a.in / a.out; }
static inline int64_t adaptive_end(const PoolAxis& a, int64_t o) { return ((o + 1) * a.in + a.out - 1) / a.out; }

}  // namespace dl
