#include <cmath>
#include <vector>

#include "dispatch/kernel.h"
#include "kernels/norm/norm.h"
#include "kernels/reference.h"

namespace dl {
namespace {

template <class T, class S> void forward(const T* x, const T* residual, const T* w, const T* b, T* sum, T* y, S* mean,
                                         S* rstd, int64_t rows, int64_t cols, double eps) {
  if (residual) {
    for (int64_t i = 0; i < rows * cols; ++i) sum[i] = rounded<T>(value_of(x[i]) + value_of(residual[i]));
    x = sum;
  }
  const double n = static_cast<double>(cols);
  for (int64_t r = 0; r < rows; ++r, x += cols, y += cols) {
    double m = 0, var = 0;
    for (int64_t c = 0; c < cols; ++c) m += value_of(x[c]);
    m /= n;
    double rest = 0;  // what rounding took from m
    for (int64_t c = 0; c < cols; ++c) rest += value_of(x[c]) - m;
    rest /= n;
    for (int64_t c = 0; c < cols; ++c) {
      const double d = value_of(x[c]) - m - rest;
      var += d * d;
    }
    const double scale = 1 / std::sqrt(var / n + eps);
    for (int64_t c = 0; c < cols; ++c) {
      const double xhat = (value_of(x[c]) - m - rest) * scale;
      y[c] = rounded<T>(xhat * (w ? value_of(w[c]) : 1) + (b ? value_of(b[c]) : 0));
    }
    mean[r] = static_cast<S>(m + rest);
    rstd[r] = static_cast<S>(scale);
  }
}

template <class T, class S> void backward(const T* x, const T* w, const S* mean, const S* rstd, const T* dy,
                                          const T* dsum, T* dx, T* dw, T* db, S*, int64_t rows, int64_t cols) {
  const double n = static_cast<double>(cols);
  auto g = [&](int64_t r, int64_t c) { return value_of(dy[r * cols + c]) * (w ? value_of(w[c]) : 1); };
  std::vector<double> xhat(static_cast<size_t>(cols)), sum_w(xhat.size()), sum_b(xhat.size());
  for (int64_t r = 0; r < rows; ++r) {
    double rest = 0, sum_g = 0, sum_gx = 0;
    for (int64_t c = 0; c < cols; ++c) rest += value_of(x[r * cols + c]) - mean[r];
    for (int64_t c = 0; c < cols; ++c) {
      xhat[c] = (value_of(x[r * cols + c]) - mean[r] - rest / n) * rstd[r];
      sum_w[c] += value_of(dy[r * cols + c]) * xhat[c];
      sum_b[c] += value_of(dy[r * cols + c]);
      sum_g += g(r, c);
      sum_gx += g(r, c) * xhat[c];
    }
    for (int64_t c = 0; c < cols; ++c) {
      const int64_t i = r * cols + c;
      dx[i] = rounded<T>(rstd[r] * (g(r, c) - sum_g / n - xhat[c] * (sum_gx / n)) + (dsum ? value_of(dsum[i]) : 0));
    }
  }
  for (int64_t c = 0; c < cols; ++c) {
    if (dw) dw[c] = rounded<T>(sum_w[c]);
    if (db) db[c] = rounded<T>(sum_b[c]);
  }
}

#define DL_LAYER_NORM(T, S, name)                                                    \
  DL_REGISTER("layer_norm_forward/" name, (forward<T, S>), layer_norm_forward_fn<T>) \
  DL_REGISTER("layer_norm_backward/" name, (backward<T, S>), layer_norm_backward_fn<T>)
DL_LAYER_NORM(float, float, "float32")
DL_LAYER_NORM(bfloat16, float, "bfloat16")
DL_LAYER_NORM(double, double, "float64")

}  // namespace
}  // namespace dl
