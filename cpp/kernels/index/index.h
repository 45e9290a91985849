// Contracts of the index family: reading, writing and adding to the elements that integer indices select.
#pragma once
#include <cstdint>
#include <type_traits>

namespace dl {

constexpr int kIndexDims = 8;

template <class T> static inline T wrapping_add(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) return a + b;
  else return static_cast<T>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
}

// Some dimensions of a tensor, the last innermost; strides in elements. No dimension at all is one element.
struct IndexDims {
  int ndim;
  int64_t sizes[kIndexDims], strides[kIndexDims];
};

// One index per selection and indexed dimension; negative ones count from the end.
struct IndexArrays {
  int n;
  const int64_t* index[kIndexDims];  // count each
  int64_t sizes[kIndexDims], strides[kIndexDims];
};

// offsets[b] = sum over k of index_k[b] * stride_k, for b in [0, count). Where an index is outside [-size, size) the
// offset counts it as 0 and *out_of_range becomes 1; otherwise *out_of_range is left alone.
using index_offsets_fn = void (*)(const IndexArrays* arrays, int64_t count, int64_t* offsets, int* out_of_range);

// The selection: element (o, b, i) of x[outer, offset, inner] lies at outer(o) + offsets[b] + inner(i).
struct IndexShape {
  IndexDims outer, inner;
  int64_t count;  // of offsets
};

// y[o, b, i] = x[outer(o) + offsets[b] + inner(i)]; y is contiguous. T stands for any element of its size.
template <class T> using index_read_fn = void (*)(const T* x, const int64_t* offsets, T* y, const IndexShape* shape);
// x[outer(o) + offsets[b] + inner(i)] = y[o, b, i]; of several writes to one element the one of the highest b stays.
template <class T> using index_write_fn = void (*)(T* x, const int64_t* offsets, const T* y, const IndexShape* shape);
// x[outer(o) + offsets[b] + inner(i)] += y[o, b, i], in the order of b, in T's own precision; integers wrap.
template <class T> using index_add_fn = void (*)(T* x, const int64_t* offsets, const T* y, const IndexShape* shape);

}  // namespace dl
