#include <cmath>

#include "dispatch/kernel.h"
#include "kernels/loss/loss.h"
#include "kernels/reference.h"

namespace dl {
namespace {

template <class T, class S = typename LossOf<T>::type> void forward(const T* x, const int64_t* target, const S* w,
                                                                    S* loss, S* norm, S* statistics, int64_t rows,
                                                                    int64_t cols, const CrossEntropyOptions* options) {
  for (int64_t r = 0; r < rows; ++r, x += cols) {
    double most = value_of(x[0]), sum = 0;
    for (int64_t c = 1; c < cols; ++c) {
      const double v = value_of(x[c]);
      if (v > most || v != v) most = v;
    }
    for (int64_t c = 0; c < cols; ++c) sum += std::exp(value_of(x[c]) - most);
    const double log_sum = std::log(sum);
    statistics[2 * r] = static_cast<S>(most);
    statistics[2 * r + 1] = static_cast<S>(log_sum);
    loss[r] = norm[r] = 0;
    const int64_t t = target[r];
    if (t == options->ignore_index) continue;
    auto minus_lp = [&](int64_t c) {
      return (w ? static_cast<double>(w[c]) : 1) * ((most - value_of(x[c])) + log_sum);
    };
    const double s = options->smoothing;
    double spread = 0;
    if (s > 0)
      for (int64_t c = 0; c < cols; ++c) spread += minus_lp(c);
    loss[r] = static_cast<S>((1 - s) * minus_lp(t) + s / static_cast<double>(cols) * spread);
    norm[r] = w ? w[t] : 1;
  }
}

template <class T, class S = typename LossOf<T>::type>
void backward(const T* x, const int64_t* target, const S* w, const S* statistics, const S* dloss, int64_t dloss_step,
              T* dx, int64_t rows, int64_t cols, const CrossEntropyOptions* options) {
  const double s = options->smoothing, share = s / static_cast<double>(cols);
  double total_w = static_cast<double>(cols);
  if (w) {
    total_w = 0;
    for (int64_t c = 0; c < cols; ++c) total_w += w[c];
  }
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t t = target[r];
    const bool ignored = t == options->ignore_index;
    const double chosen = ignored ? 0 : (1 - s) * (w ? w[t] : 1);
    for (int64_t c = 0; c < cols; ++c) {
      const double p = std::exp((value_of(x[r * cols + c]) - statistics[2 * r]) - statistics[2 * r + 1]);
      const double g = (chosen + share * total_w) * p - share * (w ? w[c] : 1) - (c == t ? chosen : 0);
      dx[r * cols + c] = rounded<T>(ignored ? 0 : dloss[r * dloss_step] * g);
    }
  }
}

#define DL_CROSS_ENTROPY(T, name)                                                     \
  DL_REGISTER("cross_entropy_forward/" name, forward<T>, cross_entropy_forward_fn<T>) \
  DL_REGISTER("cross_entropy_backward/" name, backward<T>, cross_entropy_backward_fn<T>)
DL_CROSS_ENTROPY(float, "float32")
DL_CROSS_ENTROPY(bfloat16, "bfloat16")
DL_CROSS_ENTROPY(double, "float64")

}  // namespace
}  // namespace dl
