// Contract of the triangle family.
#pragma once
#include <cstdint>

namespace dl {

// y[b, r, c] = x[b, r, c] where c - r <= diagonal (upper: where c - r >= diagonal), else 0. x and y are contiguous of
// shape (batch, rows, cols). T stands for any element of its size: all-zero bits are 0 in every dtype.
template <class T>
using triangle_fn = void (*)(const T* x, T* y, int64_t batch, int64_t rows, int64_t cols, int64_t diagonal, bool upper);

}  // namespace dl
