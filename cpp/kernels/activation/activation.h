// Contracts of the activation family: elementwise kernels of float, bfloat16 and double, with the gradients beside
// them. Aliasing, precision and broadcasting are those of kernels/elementwise/elementwise.h.
#pragma once
#include "kernels/elementwise/elementwise.h"
#include "kernels/unary/unary.h"

namespace dl {

// y[i] = f(x[i]):
//   relu max(x, 0), NaN stays   sigmoid 1 / (1 + e^-x)   tanh   silu x sigmoid(x)   softplus log(1 + e^x)
//   gelu x P(Z <= x), Z normal  gelu_tanh x sigmoid(2 sqrt(2/pi) (x + 0.044715 x^3))
// At x = -inf gelu, gelu_tanh and silu have their limit, 0.
template <class T> using activation_fn = unary_fn<T, T>;

// y[i] = f(x[i]; p): leaky_relu  x > 0 ? x : p x;  elu  x > 0 ? x : p (e^x - 1). q is not used.
template <class T> using activation_param_fn = unary_param_fn<T>;

// dx = dy f'(x), broadcasting: kernel(a, dy, dx, shape), where a is
//   y for relu_backward, tanh_backward, sigmoid_backward; x for gelu_backward, gelu_tanh_backward, silu_backward.
template <class T> using activation_backward_fn = binary_fn<T, T>;

}  // namespace dl
