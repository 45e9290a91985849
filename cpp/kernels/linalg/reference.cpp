#include <cmath>

#include "dispatch/kernel.h"
#include "kernels/linalg/linalg.h"

namespace dl {
namespace {

// Row by row; the order of the first minor without a positive pivot, or 0.
template <class T> int64_t factor(const T* a, T* l, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t k = 0; k <= i; ++k) {
      double sum = a[i * n + k];
      for (int64_t j = 0; j < k; ++j) sum -= static_cast<double>(l[i * n + j]) * l[k * n + j];
      if (k == i && !(sum > 0)) return i + 1;
      l[i * n + k] = static_cast<T>(k == i ? std::sqrt(sum) : sum / l[k * n + k]);
    }
    for (int64_t k = i + 1; k < n; ++k) l[i * n + k] = 0;
  }
  return 0;
}

template <class T> void cholesky(const T* a, T* l, int64_t batch, int64_t n, int64_t* minors) {
  for (int64_t b = 0; b < batch; ++b) minors[b] = factor(a + b * n * n, l + b * n * n, n);
}

template <class T>
void solve_triangular(const T* a, const T* b, T* x, int64_t batch, int64_t n, int64_t m, bool upper) {
  for (int64_t item = 0; item < batch; ++item, a += n * n, b += n * m, x += n * m)
    for (int64_t step = 0; step < n; ++step) {
      const int64_t i = upper ? n - 1 - step : step;
      for (int64_t c = 0; c < m; ++c) {
        double sum = b[i * m + c];
        for (int64_t j = upper ? i + 1 : 0; j < (upper ? n : i); ++j)
          sum -= static_cast<double>(a[i * n + j]) * x[j * m + c];
        x[i * m + c] = static_cast<T>(sum / a[i * n + i]);
      }
    }
}

DL_REGISTER("cholesky/float32", cholesky, cholesky_fn<float>)
DL_REGISTER("cholesky/float64", cholesky, cholesky_fn<double>)
DL_REGISTER("solve_triangular/float32", solve_triangular, solve_triangular_fn<float>)
DL_REGISTER("solve_triangular/float64", solve_triangular, solve_triangular_fn<double>)

}  // namespace
}  // namespace dl
