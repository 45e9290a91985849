// Contracts of the mask family: the places where a mask holds, and rows of a tensor there. A mask has one byte per
// place, true unless 0. It is cut into blocks of kMaskBlock places; `starts` tells how many true ones come before each.
#pragma once
#include <cstdint>

namespace dl {

constexpr int64_t kMaskBlock = 32768;

// counts[k] = number of true places in [k * kMaskBlock, (k + 1) * kMaskBlock) of [0, n).
using mask_count_fn = void (*)(const uint8_t* mask, int64_t n, int64_t* counts);

// y[k, :] = the indices of the k-th true place in the shape sizes[ndim], in row-major order; ndim >= 1.
using mask_places_fn = void (*)(const uint8_t* mask, int64_t n, const int64_t* starts, const int64_t* sizes, int ndim,
                                int64_t* y);

// y[k, :] = x[p, :] for the k-th true place p; rows of `row` >= 1 elements. T stands for any element of its size.
template <class T>
using mask_read_fn = void (*)(const T* x, const uint8_t* mask, int64_t n, const int64_t* starts, int64_t row, T* y);
// x[p, :] = y[k, :] for the k-th true place p, or y[0, :] for all of them where y_step is 0 instead of row; other rows
// stay.
template <class T> using mask_write_fn = void (*)(T* x, const uint8_t* mask, int64_t n, const int64_t* starts,
                                                  int64_t row, const T* y, int64_t y_step);

}  // namespace dl
