#include <cmath>

#include "dispatch/kernel.h"
#include "kernels/reference.h"
#include "kernels/softmax/softmax.h"

namespace dl {
namespace {

// Calls body(first) with the offset of the first element of every column.
template <class Body> void for_columns(int64_t outer, int64_t n, int64_t inner, Body body) {
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t i = 0; i < inner; ++i) body(o * n * inner + i);
}

template <class T, bool kLog> void forward(const T* x, T* y, int64_t outer, int64_t n, int64_t inner) {
  for_columns(outer, n, inner, [&](int64_t at) {
    double most = value_of(x[at]), sum = 0;
    for (int64_t k = 1; k < n; ++k) {
      const double v = value_of(x[at + k * inner]);
      if (v > most || v != v) most = v;
    }
    for (int64_t k = 0; k < n; ++k) sum += std::exp(value_of(x[at + k * inner]) - most);
    for (int64_t k = 0; k < n; ++k) {
      const double shifted = value_of(x[at + k * inner]) - most;
      y[at + k * inner] = rounded<T>(kLog ? shifted - std::log(sum) : std::exp(shifted) / sum);
    }
  });
}

template <class T, bool kLog> void backward(const T* y, const T* dy, T* dx, int64_t outer, int64_t n, int64_t inner) {
  for_columns(outer, n, inner, [&](int64_t at) {
    double sum = 0;
    for (int64_t k = 0; k < n; ++k) {
      const int64_t i = at + k * inner;
      sum += kLog ? value_of(dy[i]) : value_of(y[i]) * value_of(dy[i]);
    }
    for (int64_t k = 0; k < n; ++k) {
      const int64_t i = at + k * inner;
      const double v = value_of(y[i]), d = value_of(dy[i]);
      dx[i] = rounded<T>(kLog ? d - std::exp(v) * sum : v * (d - sum));
    }
  });
}

#define DL_SOFTMAX(T, name)                                                               \
  DL_REGISTER("softmax_forward/" name, (forward<T, false>), softmax_forward_fn<T>)        \
  DL_REGISTER("softmax_backward/" name, (backward<T, false>), softmax_backward_fn<T>)     \
  DL_REGISTER("log_softmax_forward/" name, (forward<T, true>), log_softmax_forward_fn<T>) \
  DL_REGISTER("log_softmax_backward/" name, (backward<T, true>), log_softmax_backward_fn<T>)
DL_SOFTMAX(float, "float32")
DL_SOFTMAX(bfloat16, "bfloat16")
DL_SOFTMAX(double, "float64")

}  // namespace
}  // namespace dl
