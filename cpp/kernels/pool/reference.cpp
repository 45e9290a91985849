#include <cmath>

#include "dispatch/kernel.h"
#include "kernels/pool/pool.h"

namespace dl {
namespace {

bool inside(int64_t i, const PoolAxis& a) { return 0 <= i && i < a.in; }

// Calls f(input index within the plane) for every element inside the window, in row-major order.
template <class F> void in_window(const Pool2dShape& s, int64_t oh, int64_t ow, F f) {
  for (int64_t p = 0; p < s.h.kernel; ++p)
    for (int64_t q = 0; q < s.w.kernel; ++q) {
      const int64_t h = oh * s.h.stride - s.h.pad + p * s.h.dilation, w = ow * s.w.stride - s.w.pad + q * s.w.dilation;
      if (inside(h, s.h) && inside(w, s.w)) f(h * s.w.in + w);
    }
}

// Calls f(input offset of the plane, output row, output column, output index) for every output.
template <class F> void for_each_output(const Pool2dShape& s, F f) {
  for (int64_t p = 0; p < s.planes; ++p)
    for (int64_t i = 0; i < s.h.out; ++i)
      for (int64_t j = 0; j < s.w.out; ++j) f(p * s.h.in * s.w.in, i, j, (p * s.h.out + i) * s.w.out + j);
}

template <class T> void zero(T* x, const Pool2dShape& s) {
  for (int64_t i = 0; i < s.planes * s.h.in * s.w.in; ++i) x[i] = 0;
}

template <class T> void max_pool2d_forward(const T* x, T* y, int64_t* index, const Pool2dShape* s) {
  for_each_output(*s, [&](int64_t plane, int64_t i, int64_t j, int64_t o) {
    T best = -HUGE_VAL;
    int64_t at = -1;
    in_window(*s, i, j, [&](int64_t k) {
      const T v = x[plane + k];
      if (at >= 0 && !(v > best) && !(v != v && best == best)) return;
      best = v;
      at = k;
    });
    y[o] = best;
    if (index) index[o] = at;
  });
}

template <class T> void max_pool2d_backward(const T* dy, const int64_t* index, T* dx, const Pool2dShape* s) {
  zero(dx, *s);
  for_each_output(*s, [&](int64_t plane, int64_t, int64_t, int64_t o) {
    if (index[o] >= 0) dx[plane + index[o]] += dy[o];
  });
}

double divisor_of(const Pool2dShape& s, const PoolDivisor& d, int64_t i, int64_t j) {
  return static_cast<double>(d.fixed ? d.fixed : pool_extent(s.h, i, d.padding) * pool_extent(s.w, j, d.padding));
}

template <class T> void avg_pool2d_forward(const T* x, T* y, const Pool2dShape* s, const PoolDivisor* d) {
  for_each_output(*s, [&](int64_t plane, int64_t i, int64_t j, int64_t o) {
    double sum = 0;
    in_window(*s, i, j, [&](int64_t k) { sum += static_cast<double>(x[plane + k]); });
    y[o] = static_cast<T>(sum / divisor_of(*s, *d, i, j));
  });
}

template <class T> void avg_pool2d_backward(const T* dy, T* dx, const Pool2dShape* s, const PoolDivisor* d) {
  zero(dx, *s);
  for_each_output(*s, [&](int64_t plane, int64_t i, int64_t j, int64_t o) {
    const T share = static_cast<T>(static_cast<double>(dy[o]) / divisor_of(*s, *d, i, j));
    in_window(*s, i, j, [&](int64_t k) { dx[plane + k] += share; });
  });
}

template <class F> void in_tile(const Pool2dShape& s, int64_t i, int64_t j, F f) {
  for (int64_t h = adaptive_begin(s.h, i); h < adaptive_end(s.h, i); ++h)
    for (int64_t w = adaptive_begin(s.w, j); w < adaptive_end(s.w, j); ++w) f(h * s.w.in + w);
}

double tile_size(const Pool2dShape& s, int64_t i, int64_t j) {
  return static_cast<double>((adaptive_end(s.h, i) - adaptive_begin(s.h, i)) *
                             (adaptive_end(s.w, j) - adaptive_begin(s.w, j)));
}

template <class T> void adaptive_avg_pool2d_forward(const T* x, T* y, const Pool2dShape* s) {
  for_each_output(*s, [&](int64_t plane, int64_t i, int64_t j, int64_t o) {
    double sum = 0;
    in_tile(*s, i, j, [&](int64_t k) { sum += static_cast<double>(x[plane + k]); });
    y[o] = static_cast<T>(sum / tile_size(*s, i, j));
  });
}

template <class T> void adaptive_avg_pool2d_backward(const T* dy, T* dx, const Pool2dShape* s) {
  zero(dx, *s);
  for_each_output(*s, [&](int64_t plane, int64_t i, int64_t j, int64_t o) {
    const T share = static_cast<T>(static_cast<double>(dy[o]) / tile_size(*s, i, j));
    in_tile(*s, i, j, [&](int64_t k) { dx[plane + k] += share; });
  });
}

#define DL_POOL_KERNELS(T, t)                                                                                   \
  DL_REGISTER("max_pool2d_forward/" t, max_pool2d_forward, max_pool2d_forward_fn<T>)                            \
  DL_REGISTER("max_pool2d_backward/" t, max_pool2d_backward, max_pool2d_backward_fn<T>)                         \
  DL_REGISTER("avg_pool2d_forward/" t, avg_pool2d_forward, avg_pool2d_forward_fn<T>)                            \
  DL_REGISTER("avg_pool2d_backward/" t, avg_pool2d_backward, avg_pool2d_backward_fn<T>)                         \
  DL_REGISTER("adaptive_avg_pool2d_forward/" t, adaptive_avg_pool2d_forward, adaptive_avg_pool2d_forward_fn<T>) \
  DL_REGISTER("adaptive_avg_pool2d_backward/" t, adaptive_avg_pool2d_backward, adaptive_avg_pool2d_backward_fn<T>)
DL_POOL_KERNELS(float, "float32")
DL_POOL_KERNELS(double, "float64")

}  // namespace
}  // namespace dl
