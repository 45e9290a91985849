#include <cstddef>
#include <vector>

#include "dispatch/kernel.h"
#include "kernels/interpolate/interpolate.h"

namespace dl {
namespace {

// body(place, share) for the places that element i comes from.
template <class T, class Body> void for_sources(const ResampleAxis<T>& a, int64_t i, const Body& body) {
  if (!a.share) return body(a.first[i], 1.0);
  body(a.first[i], 1.0 - a.share[i]);
  body(a.second[i], static_cast<double>(a.share[i]));
}

template <class T> void forward(const T* x, T* y, int64_t planes, const ResampleAxis<T>* h, const ResampleAxis<T>* w) {
  for (int64_t p = 0; p < planes; ++p, x += h->in * w->in)
    for (int64_t i = 0; i < h->out; ++i)
      for (int64_t j = 0; j < w->out; ++j) {
        double sum = 0;
        for_sources(*h, i, [&](int64_t r, double a) {
          for_sources(*w, j, [&](int64_t c, double b) { sum += a * b * x[r * w->in + c]; });
        });
        *y++ = static_cast<T>(sum);
      }
}

template <class T>
void backward(const T* dy, T* dx, int64_t planes, const ResampleAxis<T>* h, const ResampleAxis<T>* w) {
  const int64_t size = h->in * w->in;
  std::vector<double> sums(static_cast<size_t>(size));
  for (int64_t p = 0; p < planes; ++p) {
    for (double& s : sums) s = 0;
    for (int64_t i = 0; i < h->out; ++i)
      for (int64_t j = 0; j < w->out; ++j, ++dy)
        for_sources(*h, i, [&](int64_t r, double a) {
          for_sources(*w, j, [&](int64_t c, double b) { sums[static_cast<size_t>(r * w->in + c)] += a * b * *dy; });
        });
    for (double s : sums) *dx++ = static_cast<T>(s);
  }
}

#define DL_INTERPOLATE(T, name)                                                \
  DL_REGISTER("interpolate_forward/" name, forward, interpolate_forward_fn<T>) \
  DL_REGISTER("interpolate_backward/" name, backward, interpolate_backward_fn<T>)
DL_INTERPOLATE(float, "float32")
DL_INTERPOLATE(double, "float64")

}  // namespace
}  // namespace dl
