// Layer norm: a row stays in L1 between its passes.
#include "core/parallel.h"
#include "dispatch/kernel.h"
#include "kernels/norm/norm.h"
#include "simd/rows.h"

namespace dl {
namespace {

constexpr int64_t kElementsPerBlock = 16384;
constexpr int64_t kStrip = 512;  // columns of dw and db that one block adds up

// y = a + b, rounded.
template <class T> void add_rows(const T* a, const T* b, T* y, int64_t cols) {
  for_each_vec(cols,
               [&](int64_t i, auto lanes) DL_BODY { store(y + i, load(a + i, lanes) + load(b + i, lanes), lanes); });
}

template <class T>
void forward_row(const T* x, const T* w, const T* b, T* y, float* mean, float* rstd, int64_t cols, float eps) {
  const float n = static_cast<float>(cols);
  const float near = sum_over(cols, [&](int64_t i, auto lanes) DL_BODY { return load(x + i, lanes); }) / n;
  const Vec m = broadcast(near);
  const Sums<2> s = sums_over<2>(cols, [&](int64_t i, auto lanes, auto add) DL_BODY {
    const Vec d = load(x + i, lanes) - m;
    add(0, d);
    add(1, d * d);
  });
  const float rest = s.of[0] / n, var = s.of[1] / n - rest * rest;
  const float scale = 1.0f / __builtin_sqrtf((var < 0 ? 0 : var) + eps);
  *mean = near + rest;
  *rstd = scale;
  const Vec shift = broadcast(rest), v = broadcast(scale);
  for_each_vec(cols, [&](int64_t i, auto lanes) DL_BODY {
    Vec out = (load(x + i, lanes) - m - shift) * v;
    if (w) out *= load(w + i, lanes);
    if (b) out += load(b + i, lanes);
    store(y + i, out, lanes);
  });
}

template <class T> void forward(const T* x, const T* residual, const T* w, const T* b, T* sum, T* y, float* mean,
                                float* rstd, int64_t rows, int64_t cols, double eps) {
  const int64_t grain = cols < kElementsPerBlock ? kElementsPerBlock / cols : 1;
  parallel_for(rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      if (residual) add_rows(x + r * cols, residual + r * cols, sum + r * cols, cols);
      forward_row((residual ? sum : x) + r * cols, w, b, y + r * cols, mean + r, rstd + r, cols,
                  static_cast<float>(eps));
    }
  });
}

// dx of one row, with dsum on top; adds dy * xhat to dw and dy to db where they are wanted.
template <class T> void backward_row(const T* x, const T* w, float mean, float rstd, const T* dy, const T* dsum, T* dx,
                                     float* dw, float* db, int64_t cols) {
  const float n = static_cast<float>(cols);
  const Vec m = broadcast(mean), v = broadcast(rstd);
  auto gradient = [&](int64_t i, auto lanes) DL_BODY {
    const Vec d = load(dy + i, lanes);
    return w ? d * load(w + i, lanes) : d;
  };
  const Sums<3> s = sums_over<3>(cols, [&](int64_t i, auto lanes, auto add) DL_BODY {
    const Vec d = load(x + i, lanes) - m, g = gradient(i, lanes);
    add(0, g);
    add(1, g * d);
    add(2, d);
  });
  // The saved mean is rounded; the mean deviation from it is what rounding took.
  const float rest = s.of[2] / n, mean_g = s.of[0] / n, mean_gx = (s.of[1] / n - rest * mean_g) * rstd;
  const Vec shift = broadcast(rest), of_g = broadcast(mean_g), of_gx = broadcast(mean_gx);
  for_each_vec(cols, [&](int64_t i, auto lanes) DL_BODY {
    const Vec xhat = (load(x + i, lanes) - m - shift) * v, d = load(dy + i, lanes);
    if (dw) store(dw + i, fma(d, xhat, load(dw + i, lanes)), lanes);
    if (db) store(db + i, d + load(db + i, lanes), lanes);
    Vec out = v * fnma(xhat, of_gx, gradient(i, lanes) - of_g);
    if (dsum) out += load(dsum + i, lanes);
    store(dx + i, out, lanes);
  });
}

template <class T> void backward(const T* x, const T* w, const float* mean, const float* rstd, const T* dy,
                                 const T* dsum, T* dx, T* dw, T* db, float* workspace, int64_t rows, int64_t cols) {
  const int64_t block = layer_norm_block(cols), blocks = (rows + block - 1) / block;
  parallel_for(rows, block, [&](int64_t begin, int64_t end) {
    for (int64_t first = begin; first < end; first += block) {  // one block, unless there is only one thread
      float* const sum_w = dw ? workspace + first / block * 2 * cols : nullptr;
      float* const sum_b = db ? workspace + (first / block * 2 + 1) * cols : nullptr;
      for_each_vec(cols, [&](int64_t i, auto lanes) DL_BODY {
        if (sum_w) store(sum_w + i, zero(), lanes);
        if (sum_b) store(sum_b + i, zero(), lanes);
      });
      for (int64_t r = first; r < first + block && r < end; ++r)
        backward_row(x + r * cols, w, mean[r], rstd[r], dy + r * cols, dsum ? dsum + r * cols : nullptr, dx + r * cols,
                     sum_w, sum_b, cols);
    }
  });
  if (!dw && !db) return;
  parallel_for(cols, kStrip, [&](int64_t begin, int64_t end) {
    for_each_vec(end - begin, [&](int64_t i, auto lanes) DL_BODY {
      Vec sum_w = zero(), sum_b = zero();
      for (int64_t k = 0; k < blocks; ++k) {
        const float* partial = workspace + k * 2 * cols + begin + i;
        if (dw) sum_w += load(partial, lanes);
        if (db) sum_b += load(partial + cols, lanes);
      }
      if (dw) store(dw + begin + i, sum_w, lanes);
      if (db) store(db + begin + i, sum_b, lanes);
    });
  });
}

DL_REGISTER("layer_norm_forward/float32", forward, layer_norm_forward_fn<float>)
DL_REGISTER("layer_norm_forward/bfloat16", forward, layer_norm_forward_fn<bfloat16>)
DL_REGISTER("layer_norm_backward/float32", backward, layer_norm_backward_fn<float>)
DL_REGISTER("layer_norm_backward/bfloat16", backward, layer_norm_backward_fn<bfloat16>)

}  // namespace
}  // namespace dl
