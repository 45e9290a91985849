#include <cmath>

#include "dispatch/kernel.h"
#include "kernels/batch_norm/batch_norm.h"
#include "kernels/reference.h"

namespace dl {
namespace {

// body(i) for every element of channel c.
template <class Body> void for_channel(const BatchNormShape& s, int64_t c, const Body& body) {
  for (int64_t n = 0; n < s.N; ++n)
    for (int64_t i = 0; i < s.S; ++i) body((n * s.C + c) * s.S + i);
}

template <class T, class P> void forward(const T* x, const P* w, const P* b, T* y, double* mean, double* var, double*,
                                         const BatchNormShape* s, double eps) {
  const double n = static_cast<double>(s->N * s->S);
  for (int64_t c = 0; c < s->C; ++c) {
    Sum values, about, squares;
    for_channel(*s, c, [&](int64_t i) { values.add(value_of(x[i])); });
    const double m = values.value / n;
    for_channel(*s, c, [&](int64_t i) { about.add(value_of(x[i]) - m); });
    const double rest = about.value / n;  // what rounding took from m
    for_channel(*s, c, [&](int64_t i) {
      const double d = value_of(x[i]) - m - rest;
      squares.add(d * d);
    });
    mean[c] = m + rest;
    var[c] = squares.value / n;
    const double scale = (w ? w[c] : 1) / std::sqrt(var[c] + eps), shift = b ? b[c] : 0;
    for_channel(*s, c, [&](int64_t i) { y[i] = rounded<T>((value_of(x[i]) - m - rest) * scale + shift); });
  }
}

template <class T, class P> void apply(const T* x, const P* w, const P* b, const double* mean, const double* var, T* y,
                                       double*, const BatchNormShape* s, double eps) {
  for (int64_t c = 0; c < s->C; ++c) {
    const double scale = (w ? w[c] : 1) / std::sqrt(var[c] + eps), shift = b ? b[c] : 0;
    for_channel(*s, c, [&](int64_t i) { y[i] = rounded<T>((value_of(x[i]) - mean[c]) * scale + shift); });
  }
}

template <class T, class P> void backward(const T* x, const P* w, const double* mean, const double* var, const T* dy,
                                          T* dx, P* dw, P* db, double*, const BatchNormShape* s, double eps, bool own) {
  const double n = static_cast<double>(s->N * s->S);
  for (int64_t c = 0; c < s->C; ++c) {
    const double rstd = 1 / std::sqrt(var[c] + eps), scale = (w ? w[c] : 1) * rstd;
    auto xhat = [&](int64_t i) { return (value_of(x[i]) - mean[c]) * rstd; };
    Sum of_dy, of_dy_xhat;
    for_channel(*s, c, [&](int64_t i) {
      of_dy.add(value_of(dy[i]));
      of_dy_xhat.add(value_of(dy[i]) * xhat(i));
    });
    const double sum = of_dy.value, sum_xhat = of_dy_xhat.value;
    if (dw) dw[c] = static_cast<P>(sum_xhat);
    if (db) db[c] = static_cast<P>(sum);
    if (!dx) continue;
    for_channel(*s, c, [&](int64_t i) {
      const double centred = own ? value_of(dy[i]) - sum / n - xhat(i) * (sum_xhat / n) : value_of(dy[i]);
      dx[i] = rounded<T>(scale * centred);
    });
  }
}

#define DL_BATCH_NORM(T, P, name)                                                    \
  DL_REGISTER("batch_norm_forward/" name, (forward<T, P>), batch_norm_forward_fn<T>) \
  DL_REGISTER("batch_norm_apply/" name, (apply<T, P>), batch_norm_apply_fn<T>)       \
  DL_REGISTER("batch_norm_backward/" name, (backward<T, P>), batch_norm_backward_fn<T>)
DL_BATCH_NORM(float, float, "float32")
DL_BATCH_NORM(bfloat16, float, "bfloat16")
DL_BATCH_NORM(double, double, "float64")

}  // namespace
}  // namespace dl
