// Contracts of the optimisers: one call updates many tensors. Their elements are cut into blocks of kOptimBlock, none
// of which spans two tensors, and the blocks of all tensors stand in one flat list: first_block numbers them through.
// Moments of bfloat16 parameters are kept in float; arithmetic is in float, for double parameters in double.
#pragma once
#include <cstdint>

#include "core/bfloat16.h"

namespace dl {

constexpr int64_t kOptimBlock = 16384;

template <class T> struct MomentOf { using type = float; };
template <> struct MomentOf<double> { using type = double; };
template <class T> using Moment = typename MomentOf<T>::type;

static inline int64_t optim_blocks(int64_t n) { return (n + kOptimBlock - 1) / kOptimBlock; }

// w, m, v (n,) are updated from dw (n,), by Kingma and Ba, "Adam: a method for stochastic optimization", 2015, as
// PyTorch computes it; with g = scale * dw, where scale is 1, less to clip the gradients, negative to maximise:
//   w *= decay;  g += l2 * w;  m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
//   w -= step_size * m / (sqrt(v) / root_bias2 + eps),  step_size = lr / (1 - beta1^t),  root_bias2 = sqrt(1 - beta2^t)
// decay = 1 - lr * weight_decay is AdamW's decoupled decay (Loshchilov and Hutter 2019); l2 is Adam's. Where v_max is
// given (AMSGrad, Reddi et al. 2018), v_max = max(v_max, v) stands in the last line for v.
template <class T> struct AdamTensor {
  T* w;
  const T* dw;
  Moment<T>*m, *v, *v_max;
  int64_t n, first_block;
  double step_size, root_bias2;
};
struct AdamOptions { double decay, l2, beta1, beta2, eps, scale; };
template <class T> using adam_fn = void (*)(const AdamTensor<T>* tensors, int64_t count, const AdamOptions* options);

// w (n,) is updated from dw (n,), as PyTorch computes it; with g = scale * dw, as above:
//   g += l2 * w;  m = first ? g : momentum * m + (1 - dampening) g;  g = nesterov ? g + momentum * m : m;  w -= lr * g
// where m is given; w -= lr * g where it is not (no momentum).
template <class T> struct SgdTensor {
  T* w;
  const T* dw;
  Moment<T>* m;
  int64_t n, first_block;
  bool first;
};
struct SgdOptions {
  double lr, momentum, dampening, l2;
  bool nesterov;
  double scale;
};
template <class T> using sgd_fn = void (*)(const SgdTensor<T>* tensors, int64_t count, const SgdOptions* options);

// w (n,) is updated from dw (n,) by Tieleman and Hinton, "Lecture 6.5 - rmsprop", 2012, as PyTorch computes it; with g
// as above:
//   g += l2 * w;  v = alpha v + (1 - alpha) g^2;  mean = alpha mean + (1 - alpha) g;  s = max(v - mean^2, 0)
//   u = g / (sqrt(s) + eps);  m = momentum * m + u;  w -= lr * m
// s = v where mean is not given (not centered), w -= lr * u where m is not (no momentum).
template <class T> struct RmspropTensor {
  T* w;
  const T* dw;
  Moment<T>*v, *mean, *m;
  int64_t n, first_block;
};
struct RmspropOptions { double lr, alpha, eps, l2, momentum, scale; };
template <class T> using rmsprop_fn = void (*)(const RmspropTensor<T>* tensors, int64_t count, const RmspropOptions* o);

// w (n,) is updated from dw (n,) by Duchi, Hazan and Singer, "Adaptive subgradient methods", 2011; with g as above:
//   g += l2 * w;  v += g^2;  w -= rate * g / (sqrt(v) + eps)
template <class T> struct AdagradTensor {
  T* w;
  const T* dw;
  Moment<T>* v;
  int64_t n, first_block;
  double rate;
};
struct AdagradOptions { double eps, l2, scale; };
template <class T> using adagrad_fn = void (*)(const AdagradTensor<T>* tensors, int64_t count, const AdagradOptions* o);

template <class T> struct OptimTensor {
  T* x;
  int64_t n, first_block;
};

// partial[b] = sum |x|^p over block b, or max |x| for p = infinity (NaN where any x is), for the norm of all tensors
// together: adding the partials in order gives the same bits on any number of threads. In double: a square of a float
// cannot overflow.
template <class T>
using norm_partials_fn = void (*)(const OptimTensor<T>* tensors, int64_t count, double p, double* partial);

// x *= factor, in every tensor.
template <class T> using scale_tensors_fn = void (*)(const OptimTensor<T>* tensors, int64_t count, double factor);

}  // namespace dl
