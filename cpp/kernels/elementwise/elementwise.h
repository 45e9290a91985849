// Contracts of the elementwise family: two or three arguments, broadcasting. T is one of float, bfloat16, double,
// int64_t, int32_t, uint8_t; a bool tensor is passed as uint8_t zeros and ones. Kernels are named "add/float32" and so
// on.
//
// float32 and bfloat16 compute in float32 (the reference in double), float64 in double; integers wrap around.
// y may be the very buffer of an input that has y's layout; no other overlap.
#pragma once
#include <cstdint>

namespace dl {

constexpr int kElementwiseDims = 8;
constexpr int kElementwiseInputs = 3;

// The shape of y, which is contiguous, and where input k of element (i0, i1, ...) lies: at sum(i_d * strides[k][d]).
// Broadcasting is a stride of zero. The op has merged what can be merged; the last dimension is the innermost.
struct ElementwiseShape {
  int ndim;  // 1 ... kElementwiseDims
  int64_t sizes[kElementwiseDims];
  int64_t strides[kElementwiseInputs][kElementwiseDims];
  unsigned numbers;  // bit k: input k is one number, in the host's memory on any device
};

// y = f(a, b), broadcasting.
//   T, T -> T     add sub mul maximum minimum (NaN where either is NaN) pow; floating: div
//                 floor_divide, remainder: rounded down, so that the remainder has b's sign; integers by 0 give 0
//                 integer pow with a negative exponent: the power rounded towards zero, 0 for base 0
//                 integers: bitwise_and bitwise_or bitwise_xor
//   T, T -> bool  eq ne lt le gt ge
template <class T, class Y> using binary_fn = void (*)(const T* a, const T* b, Y* y, const ElementwiseShape* shape);

// y = condition ? a : b, broadcasting; input 0 is the condition. T stands for any element of its size: "where/1" ...
// "where/8".
template <class T>
using where_fn = void (*)(const bool* condition, const T* a, const T* b, T* y, const ElementwiseShape* shape);

}  // namespace dl
