// Contracts of the gather family: along one axis every element has an index of its own.
#pragma once
#include <cstdint>

#include "kernels/index/index.h"

namespace dl {

// index, and what is read or written beside x, are contiguous of shape (outer, count, inner). Element (o, k, i) belongs
// with x at outer(o) + index[o, k, i] * stride + inner(i), where index, counted from the end if negative, is in
// [-size, size): check_indices has seen to that.
struct GatherShape {
  IndexDims outer, inner;  // of x
  int64_t size, stride;    // of x along the axis
  int64_t count;
};

// *out_of_range becomes 1 where any index[i], i in [0, n), is outside [-size, size); otherwise it is left alone.
using check_indices_fn = void (*)(const int64_t* index, int64_t n, int64_t size, int* out_of_range);

// y = x at the indices. T stands for any element of its size.
template <class T> using gather_fn = void (*)(const T* x, const int64_t* index, T* y, const GatherShape* shape);
// x = y at the indices; of several writes to one element the one of the highest k stays.
template <class T> using scatter_fn = void (*)(T* x, const int64_t* index, const T* y, const GatherShape* shape);
// x += y at the indices, in the order of k, in T's own precision; integers wrap.
template <class T> using scatter_add_fn = void (*)(T* x, const int64_t* index, const T* y, const GatherShape* shape);

}  // namespace dl
