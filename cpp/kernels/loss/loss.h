// Contracts of the loss family: cross-entropy from logits x (rows, cols) and class indices target (rows).
#pragma once
#include <cstdint>

#include "core/bfloat16.h"

namespace dl {

// What losses and row statistics are kept in.
template <class T> struct LossOf { using type = T; };
template <> struct LossOf<bfloat16> { using type = float; };

struct CrossEntropyOptions {
  int64_t ignore_index;  // rows with this target give 0 and no gradient; every other target lies in [0, cols)
  double smoothing;      // s in [0, 1]: this share of the target is spread over all classes
};

// With lp[r, c] = x[r, c] - logsumexp(x[r]), t = target[r] and class weights w (cols; nullptr: 1):
//   loss[r] = -(1 - s) w[t] lp[r, t] - s / cols * sum over c of w[c] lp[r, c];   norm[r] = w[t]
//   statistics[r] = {max, log(sum exp(x[r] - max))}, for the backward: no probabilities are stored.
template <class T, class S = typename LossOf<T>::type>
using cross_entropy_forward_fn = void (*)(const T* x, const int64_t* target, const S* w, S* loss, S* norm,
                                          S* statistics, int64_t rows, int64_t cols,
                                          const CrossEntropyOptions* options);

// dx[r, c] = dloss[r] * (((1 - s) w[t] + s / cols * sum w) exp(lp[r, c]) - s / cols * w[c] - (1 - s) w[t] [c = t]).
// dx may be x. dloss steps by dloss_step: 0 for one gradient that all rows share.
template <class T, class S = typename LossOf<T>::type>
using cross_entropy_backward_fn = void (*)(const T* x, const int64_t* target, const S* w, const S* statistics,
                                           const S* dloss, int64_t dloss_step, T* dx, int64_t rows, int64_t cols,
                                           const CrossEntropyOptions* options);

}  // namespace dl
