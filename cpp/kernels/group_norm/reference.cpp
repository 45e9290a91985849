#include <cmath>

#include "dispatch/kernel.h"
#include "kernels/group_norm/group_norm.h"
#include "kernels/reference.h"

namespace dl {
namespace {

template <class T, class P> void forward(const T* x, const P* w, const P* b, T* y, double* mean, double* rstd,
                                         const GroupNormShape* s, double eps) {
  const int64_t D = s->C / s->G, len = D * s->S;
  const double n = static_cast<double>(len);
  for (int64_t r = 0; r < s->N * s->G; ++r, x += len, y += len) {
    Sum values, about, squares;
    for (int64_t i = 0; i < len; ++i) values.add(value_of(x[i]));
    const double m = values.value / n;
    for (int64_t i = 0; i < len; ++i) about.add(value_of(x[i]) - m);
    const double rest = about.value / n;  // what rounding took from m
    for (int64_t i = 0; i < len; ++i) {
      const double d = value_of(x[i]) - m - rest;
      squares.add(d * d);
    }
    mean[r] = m + rest;
    rstd[r] = 1 / std::sqrt(squares.value / n + eps);
    for (int64_t i = 0; i < len; ++i) {
      const int64_t c = r % s->G * D + i / s->S;
      y[i] = rounded<T>((value_of(x[i]) - m - rest) * rstd[r] * (w ? w[c] : 1) + (b ? b[c] : 0));
    }
  }
}

template <class T, class P> void backward(const T* x, const P* w, const double* mean, const double* rstd, const T* dy,
                                          T* dx, P* dw, P* db, double* workspace, const GroupNormShape* s) {
  const int64_t D = s->C / s->G, len = D * s->S, all = s->N * s->C;
  double *const sums = workspace, *const sums_xhat = workspace + all;  // (N, C): of dy and of dy * xhat
  auto xhat = [&](int64_t r, int64_t i) { return (value_of(x[r * len + i]) - mean[r]) * rstd[r]; };
  for (int64_t k = 0; k < 2 * all; ++k) workspace[k] = 0;
  for (int64_t r = 0; r < s->N * s->G; ++r) {
    double of_g = 0, of_gx = 0;
    for (int64_t i = 0; i < len; ++i) {
      const double d = value_of(dy[r * len + i]), dxhat = d * xhat(r, i);
      const int64_t c = r % s->G * D + i / s->S, k = r * D + i / s->S;
      sums[k] += d;
      sums_xhat[k] += dxhat;
      of_g += d * (w ? w[c] : 1);
      of_gx += dxhat * (w ? w[c] : 1);
    }
    for (int64_t i = 0; dx && i < len; ++i) {
      const double g = value_of(dy[r * len + i]) * (w ? w[r % s->G * D + i / s->S] : 1);
      const double n = static_cast<double>(len);
      dx[r * len + i] = rounded<T>(rstd[r] * (g - of_g / n - xhat(r, i) * (of_gx / n)));
    }
  }
  for (int64_t c = 0; c < s->C; ++c) {
    double sum = 0, sum_xhat = 0;
    for (int64_t k = c; k < all; k += s->C) {
      sum += sums[k];
      sum_xhat += sums_xhat[k];
    }
    if (dw) dw[c] = static_cast<P>(sum_xhat);
    if (db) db[c] = static_cast<P>(sum);
  }
}

#define DL_GROUP_NORM(T, P, name)                                                    \
  DL_REGISTER("group_norm_forward/" name, (forward<T, P>), group_norm_forward_fn<T>) \
  DL_REGISTER("group_norm_backward/" name, (backward<T, P>), group_norm_backward_fn<T>)
DL_GROUP_NORM(float, float, "float32")
DL_GROUP_NORM(bfloat16, float, "bfloat16")
DL_GROUP_NORM(double, double, "float64")

}  // namespace
}  // namespace dl
