// Contracts of the softmax family. x is (outer, n, inner), contiguous; the softmax goes over the middle.
#pragma once
#include <cstdint>

namespace dl {

// y[o, k, i] = exp(x[o, k, i] - max) / sum over j of exp(x[o, j, i] - max), with max over k of x[o, k, i].
// x and y may be the same buffer. Sums in float or wider. All -inf, or an inf, or a NaN, give NaN.
template <class T> using softmax_forward_fn = void (*)(const T* x, T* y, int64_t outer, int64_t n, int64_t inner);
// dx = y * (dy - sum over k of y * dy). dx may be dy. Saved: y.
template <class T>
using softmax_backward_fn = void (*)(const T* y, const T* dy, T* dx, int64_t outer, int64_t n, int64_t inner);

// y[o, k, i] = (x[o, k, i] - max) - log(sum over j of exp(x[o, j, i] - max)); otherwise as softmax.
template <class T> using log_softmax_forward_fn = softmax_forward_fn<T>;
// dx = dy - exp(y) * sum over k of dy. dx may be dy. Saved: y.
template <class T> using log_softmax_backward_fn = softmax_backward_fn<T>;

}  // namespace dl
