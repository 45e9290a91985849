// What all matrix products share: where an item of the batch lies, cutting along K, and what follows the sum.
#pragma once
#include "cuda/core/kernel.h"
#include "kernels/matmul/matmul.h"

namespace dl {
namespace cuda {

// Parts of K whose sums are added in order afterwards, so that a small C over a long K fills the GPU.
struct Split {
  int count;      // 1: none
  int64_t depth;  // terms of each but the last, a multiple of 32
};

inline int64_t batch_of(const int64_t* sizes, int dims) {
  int64_t n = 1;
  for (int d = 0; d < dims; ++d) n *= sizes[d];
  return n;
}
constexpr int kMostSplits = 32;
inline Split split_of(int64_t tiles, int64_t K) {
  constexpr int64_t kFill = 132, kLeastDepth = 512;
  int64_t count = tiles < kFill ? kFill / (tiles > 0 ? tiles : 1) : 1;
  if (count > K / kLeastDepth) count = K / kLeastDepth;
  if (count > kMostSplits) count = kMostSplits;
  if (count <= 1) return {1, K};
  const int64_t depth = ((K + count - 1) / count + 31) / 32 * 32;
  return {static_cast<int>((K + depth - 1) / depth), depth};
}

struct Item { int64_t a, b, c; };
template <class In, class Out> DL_DEVICE Item item_at(const MatmulArgs<In, Out>& p, int64_t t) {
  Item at{0, 0, 0};
  for (int d = p.batch_dims - 1; d >= 0; --d) {
    const int64_t i = t % p.batch[d];
    t /= p.batch[d];
    at.a += i * p.a_batch[d], at.b += i * p.b_batch[d], at.c += i * p.c_batch[d];
  }
  return at;
}

DL_DEVICE float activated(float x, MatmulActivation activation) {
  switch (activation) {
    case MatmulActivation::relu: return x < 0 ? 0 : x;
    case MatmulActivation::gelu: {
      if (fabs(x) > 40) return x > 0 ? x : -0.0f;
      // erfc magnifies its argument's rounding error: it is put back in by the derivative.
      constexpr float high = 0.70710678118654752440f, low = static_cast<float>(0.70710678118654752440 - double{high});
      const float a = -x * high, error = fma(-x, high, -a) - x * low;
      return x * 0.5f * (erfc(a) - error * 1.12837916709551257390f * exp(-a * a));
    }
    case MatmulActivation::gelu_tanh: {
      const float u = 1.59576912160573071f * (x + 0.044715f * x * x * x);
      const float s = u < 0 ? exp(u) / (1 + exp(u)) : 1 / (1 + exp(-u));
      return s == 0 ? copysign(0.0f, x) : x * s;
    }
    default: return x;
  }
}
DL_DEVICE double activated(double x, MatmulActivation activation) {
  switch (activation) {
    case MatmulActivation::relu: return x < 0 ? 0 : x;
    case MatmulActivation::gelu: {
      if (fabs(x) > 40) return x > 0 ? x : -0.0;
      constexpr double high = 0.70710678118654752440, low = -4.8336466567264567e-17;
      const double a = -x * high, error = fma(-x, high, -a) - x * low;
      return x * 0.5 * (erfc(a) - error * 1.12837916709551257390 * exp(-a * a));
    }
    case MatmulActivation::gelu_tanh: {
      const double u = 1.59576912160573071 * (x + 0.044715 * x * x * x);
      const double s = u < 0 ? exp(u) / (1 + exp(u)) : 1 / (1 + exp(-u));
      return s == 0 ? copysign(0.0, x) : x * s;
    }
    default: return x;
  }
}

// C[m, n] of an item from its sum: accumulate, biases, residual, activation.
template <class In, class Out, class S>
DL_DEVICE void finish(const MatmulArgs<In, Out>& p, const Item& item, int64_t m, int64_t n, S sum) {
  const int64_t at = item.c + m * p.c_row + n;
  if (p.accumulate) sum += static_cast<S>(widen(p.c[at]));
  if constexpr (std::is_floating_point_v<S>) {
    if (p.bias) sum += p.bias[n];
    if (p.bias_m) sum += p.bias_m[m];
    if (p.residual) sum += widen(p.residual[at]);
    if (p.pre) p.pre[at] = narrow<Out>(sum);
    if (p.activation != MatmulActivation::none) sum = activated(sum, p.activation);
  }
  p.c[at] = narrow<Out>(sum);
}

// The parts of a split product, (items, splits, M, N), added in order.
template <class In, class Out, class S> __global__ void __launch_bounds__(256)
    add_parts(MatmulArgs<In, Out> p, const S* parts, int splits, int64_t total) {
  const int64_t size = p.M * p.N;
  for (int64_t i = int64_t{blockIdx.x} * 256 + threadIdx.x; i < total; i += int64_t{gridDim.x} * 256) {
    const int64_t item = i / size, at = i % size;
    S sum = 0;
    for (int s = 0; s < splits; ++s) sum += parts[(item * splits + s) * size + at];
    finish(p, item_at(p, item), at / p.N, at % p.N, sum);
  }
}

}  // namespace cuda
}  // namespace dl
