// Contracts of the copy family: moving elements between layouts, and between dtypes.
#pragma once
#include <cstdint>

namespace dl {

constexpr int kCopyDims = 8;

// Where to read and write: strides in elements, the last dimension innermost. The op has merged what can be merged.
struct CopyShape {
  int ndim;  // 1 … kCopyDims
  int64_t sizes[kCopyDims];
  int64_t x_strides[kCopyDims];
  int64_t y_strides[kCopyDims];
};

// y[i] = x[i] for every index i. T stands for any element of its size; x and y do not overlap.
template <class T> using copy_strided_fn = void (*)(const T* x, T* y, const CopyShape* shape);

// y[i] = D(x[i]) for i in [0, n). Floating to integer truncates, saturates and sends NaN to 0; to bool is x != 0;
// bfloat16 rounds to nearest even.
template <class S, class D> using cast_fn = void (*)(const S* x, D* y, int64_t n);

}  // namespace dl
