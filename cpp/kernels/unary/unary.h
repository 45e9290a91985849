// Contracts of the unary family: functions of one number. T is one of float, bfloat16, double, int64_t, int32_t,
// uint8_t; aliasing and precision are those of kernels/elementwise/elementwise.h. Kernels are named "exp/float32" and
// so on.
#pragma once
#include <cstdint>

namespace dl {

// y[i] = f(x[i]) for i in [0, n).
//   T -> T     neg abs sign; floating: exp expm1 log log1p log2 sqrt rsqrt reciprocal erf sin cos
//              floor ceil round (half to even) trunc; integers: bitwise_not
//   T -> bool  isnan isinf isfinite (floating)
template <class X, class Y> using unary_fn = void (*)(const X* x, Y* y, int64_t n);

// y[i] = f(x[i]; p, q), floating.
//   clamp  x held between p and q; NaN stays
template <class T> using unary_param_fn = void (*)(const T* x, T* y, int64_t n, double p, double q);

}  // namespace dl
