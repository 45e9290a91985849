// Reductions that look at a row twice: variance about the mean, logsumexp about the maximum.
#include "simd/rows.h"
#include "core/parallel.h"
#include "dispatch/kernel.h"
#include "kernels/reduce/reduce.h"
#include "simd/math.h"

namespace dl {
namespace {

constexpr int64_t kElementsPerBlock = 32768;

struct Moments { double mean, m2; };

// The second pass corrects what rounding left in the mean.
template <class T> Moments moments_of(const T* x, int64_t n) {
  const double count = static_cast<double>(n);
  const float sum = sum_over(n, [&](int64_t i, auto lanes) DL_BODY { return load(x + i, lanes); });
  const float mean = static_cast<float>(sum / count);
  const Vec m = broadcast(mean);
  const double rest = sum_over(n, [&](int64_t i, auto lanes) DL_BODY { return load(x + i, lanes) - m; });
  const double squares = sum_over(n, [&](int64_t i, auto lanes) DL_BODY {
    const Vec d = load(x + i, lanes) - m;
    return d * d;
  });
  return {mean + rest / count, squares - rest * rest / count};
}

template <class T> void put(T* y, double v) { store(y, broadcast(static_cast<float>(v)), 1); }

template <class T>
void moments(const T* x, T* mean, T* var, int64_t rows, int64_t n, double divisor, double* workspace) {
  const int64_t chunks = plan_reduce(n, 1).chunks;
  auto* partial = reinterpret_cast<Moments*>(workspace);
  parallel_for(rows * chunks, larger(1, kElementsPerBlock / n), [&](int64_t begin, int64_t end) {
    for (int64_t u = begin; u < end; ++u) {
      const int64_t start = u % chunks * kReduceRun;
      const Moments m = moments_of(x + u / chunks * n + start, smaller(kReduceRun, n - start));
      if (chunks > 1) {
        partial[u] = m;
      } else {
        put(mean + u, m.mean);
        put(var + u, m.m2 / divisor);
      }
    }
  });
  if (chunks == 1) return;
  for (int64_t r = 0; r < rows; ++r) {
    Moments all = partial[r * chunks];
    double count = static_cast<double>(kReduceRun);
    for (int64_t c = 1; c < chunks; ++c) {
      const Moments& m = partial[r * chunks + c];
      const double more = static_cast<double>(smaller(kReduceRun, n - c * kReduceRun)), delta = m.mean - all.mean;
      all.mean += delta * more / (count + more);
      all.m2 += m.m2 + delta * delta * count * more / (count + more);
      count += more;
    }
    put(mean + r, all.mean);
    put(var + r, all.m2 / divisor);
  }
}

template <class T> void logsumexp(const T* x, T* y, int64_t rows, int64_t cols) {
  parallel_for(rows, larger(1, kElementsPerBlock / 4 / cols), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const T* row = x + r * cols;
      const float most = max_over(cols, [&](int64_t i, auto lanes) DL_BODY { return load(row + i, lanes); });
      // About an infinite maximum inf - inf would be NaN; about zero the sum is right: infinite, or zero.
      const float shift = most == kInf || most == -kInf ? 0.0f : most;
      const Vec s = broadcast(shift);
      const float sum = sum_over(cols, [&](int64_t i, auto lanes) DL_BODY { return exp(load(row + i, lanes) - s); });
      store(y + r, s + log(broadcast(sum)), 1);
    }
  });
}

DL_REGISTER("moments/float32", moments, moments_fn<float>)
DL_REGISTER("moments/bfloat16", moments, moments_fn<bfloat16>)
DL_REGISTER("logsumexp/float32", logsumexp, logsumexp_fn<float>)
DL_REGISTER("logsumexp/bfloat16", logsumexp, logsumexp_fn<bfloat16>)

}  // namespace
}  // namespace dl
