#include <cmath>
#include <vector>

#include "dispatch/kernel.h"
#include "kernels/reference.h"
#include "kernels/rms_norm/rms_norm.h"

namespace dl {
namespace {

template <class T, class S>
void forward(const T* x, const T* w, T* y, S* rrms, int64_t rows, int64_t cols, double eps) {
  for (int64_t r = 0; r < rows; ++r, x += cols, y += cols) {
    double squares = 0;
    for (int64_t c = 0; c < cols; ++c) squares += value_of(x[c]) * value_of(x[c]);
    const double scale = 1 / std::sqrt(squares / static_cast<double>(cols) + eps);
    for (int64_t c = 0; c < cols; ++c) y[c] = rounded<T>(value_of(x[c]) * scale * (w ? value_of(w[c]) : 1));
    rrms[r] = static_cast<S>(scale);
  }
}

template <class T, class S>
void backward(const T* x, const T* w, const S* rrms, const T* dy, T* dx, T* dw, S*, int64_t rows, int64_t cols) {
  std::vector<double> sum_w(static_cast<size_t>(cols));
  for (int64_t r = 0; r < rows; ++r, x += cols, dy += cols, dx += cols) {
    double sum_gx = 0;
    auto g = [&](int64_t c) { return value_of(dy[c]) * (w ? value_of(w[c]) : 1); };
    for (int64_t c = 0; c < cols; ++c) {
      sum_w[c] += value_of(dy[c]) * value_of(x[c]) * rrms[r];
      sum_gx += g(c) * value_of(x[c]) * rrms[r];
    }
    const double mean = sum_gx / static_cast<double>(cols);
    for (int64_t c = 0; c < cols; ++c) dx[c] = rounded<T>(rrms[r] * (g(c) - value_of(x[c]) * rrms[r] * mean));
  }
  for (int64_t c = 0; dw && c < cols; ++c) dw[c] = rounded<T>(sum_w[c]);
}

#define DL_RMS_NORM(T, S, name)                                                  \
  DL_REGISTER("rms_norm_forward/" name, (forward<T, S>), rms_norm_forward_fn<T>) \
  DL_REGISTER("rms_norm_backward/" name, (backward<T, S>), rms_norm_backward_fn<T>)
DL_RMS_NORM(float, float, "float32")
DL_RMS_NORM(bfloat16, float, "bfloat16")
DL_RMS_NORM(double, double, "float64")

}  // namespace
}  // namespace dl
