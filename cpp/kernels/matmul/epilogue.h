// Bias, activation and the stored pre-activation, over a block of C that was just written and is still in the cache.
#pragma once
#include "kernels/matmul/lanes.h"
#include "kernels/matmul/matmul.h"
#include "kernels/matmul/pack.h"
#include "simd/math.h"

namespace dl {
namespace {

DL_INLINE Vec relu_of(Vec x) { return select(lt(x, zero()), zero(), x); }  // NaN stays
// Far out on the left both are zero, also for -inf.
DL_INLINE Vec gelu_of(Vec x) { return max(x, broadcast(-20.0f)) * normal(x).cdf; }
// x (1 + tanh u) / 2 = x sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x^3)
DL_INLINE Vec gelu_tanh_of(Vec x) {
  x = max(x, broadcast(-20.0f));
  return x * sigmoid(x * fma(x * x, broadcast(0.0713548163f), broadcast(1.59576912f)));
}

// float64 serves gradient checks, not speed: lane by lane through libm.
template <class F> DL_INLINE VecD each_lane(VecD x, F f) {
  double lane[VecD::size];
  store(lane, x);
  for (double& v : lane) v = f(v);
  return load(lane);
}
DL_INLINE VecD relu_of(VecD x) {
  return each_lane(x, [](double v) { return v < 0 ? 0.0 : v; });
}
DL_INLINE VecD gelu_of(VecD x) {
  return each_lane(x, [](double v) {
    const double cdf = 0.5 * __builtin_erfc(-0.70710678118654752440 * v);
    return cdf == 0 ? 0.0 : v * cdf;
  });
}
DL_INLINE VecD gelu_tanh_of(VecD x) {
  return each_lane(x, [](double v) {
    const double gate = 1 / (1 + __builtin_exp(-1.59576912160573071176 * (v + 0.044715 * v * v * v)));
    return gate == 0 ? 0.0 : v * gate;
  });
}

// Sums that are of C's type are in C already, and have been added to what was there.
template <class T, class Out, class Activate>
void finish_rows(const T* sums, int64_t sums_row, const T* bias, const T* bias_m, const Out* residual, Out* c, Out* pre,
                 int64_t c_row, int64_t rows, int64_t n, bool accumulate, Activate act) {
  using V = Lanes_t<T>;
  for (int64_t i = 0; i < rows; ++i, c += c_row, sums += sums_row) {
    const V shift = broadcast(bias_m ? bias_m[i] : T{0});
    for (int64_t j = 0; j < n; j += V::size) {
      const int64_t lanes = min_of(V::size, n - j);
      V v = load(sums + j, lanes);
      if constexpr (sizeof(T) != sizeof(Out)) {
        if (accumulate) v = load(c + j, lanes) + v;
      }
      if (bias) v = v + load(bias + j, lanes);
      if (bias_m) v = v + shift;
      if (residual) v = v + load(residual + i * c_row + j, lanes);
      if (pre) store(pre + i * c_row + j, v, lanes);
      store(c + j, act(v), lanes);
    }
  }
}

// Rows [i, i + rows) and columns [j, j + n) of C.
template <class In, class Out> void finish(const MatmulArgs<In, Out>& p, const matmul_sum_t<Out>* sums,
                                           int64_t sums_row, int64_t i, int64_t rows, int64_t j, int64_t n) {
  using T = matmul_sum_t<Out>;
  using V = Lanes_t<T>;
  if (sizeof(T) == sizeof(Out) && !p.bias && !p.bias_m && !p.residual && !p.pre &&
      p.activation == MatmulActivation::none)
    return;
  const int64_t at = i * p.c_row + j;
  const auto run = [&](auto act) {
    finish_rows(sums, sums_row, p.bias ? p.bias + j : nullptr, p.bias_m ? p.bias_m + i : nullptr,
                p.residual ? p.residual + at : nullptr, p.c + at, p.pre ? p.pre + at : nullptr, p.c_row, rows, n,
                p.accumulate, act);
  };
  switch (p.activation) {
    case MatmulActivation::none: return run([](V v) { return v; });
    case MatmulActivation::relu: return run([](V v) { return relu_of(v); });
    case MatmulActivation::gelu: return run([](V v) { return gelu_of(v); });
    case MatmulActivation::gelu_tanh: return run([](V v) { return gelu_tanh_of(v); });
  }
}

}  // namespace
}  // namespace dl
