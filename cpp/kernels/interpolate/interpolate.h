// Contracts of the interpolate family: planes resampled along rows and columns.
#pragma once
#include <cstdint>

namespace dl {

// Along one direction, element i of the result is (1 - share[i]) * element first[i] + share[i] * element second[i], or,
// where share is nullptr, element first[i] as it is. All places lie in [0, in); first never descends.
template <class T> struct ResampleAxis {
  int64_t in, out;
  const int32_t *first, *second;
  const T* share;
};

// Of a row before and after, which scratch memory holds.
constexpr int64_t kMaxResampled = int64_t{1} << 20;

// y (planes, h.out, w.out) of x (planes, h.in, w.in): rows are mixed first, then columns.
template <class T> using interpolate_forward_fn = void (*)(const T* x, T* y, int64_t planes, const ResampleAxis<T>* h,
                                                           const ResampleAxis<T>* w);

// The adjoint: dx is zero but for what each element of dy gives to its four places. Sums run in the order of dy's rows,
// the columns of each first.
template <class T> using interpolate_backward_fn = void (*)(const T* dy, T* dx, int64_t planes,
                                                            const ResampleAxis<T>* h, const ResampleAxis<T>* w);

}  // namespace dl
