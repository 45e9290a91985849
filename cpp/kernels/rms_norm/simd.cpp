// RMS norm: a row stays in L1 between its passes, one that reads and one that writes.
#include "core/parallel.h"
#include "dispatch/kernel.h"
#include "kernels/rms_norm/rms_norm.h"
#include "simd/rows.h"

namespace dl {
namespace {

constexpr int64_t kElementsPerBlock = 16384;
constexpr int64_t kStrip = 512;  // columns of dw that one block adds up

template <class T> void forward(const T* x, const T* w, T* y, float* rrms, int64_t rows, int64_t cols, double eps) {
  const int64_t grain = cols < kElementsPerBlock ? kElementsPerBlock / cols : 1;
  parallel_for(rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const T* const from = x + r * cols;
      T* const to = y + r * cols;
      const float squares = sum_over(cols, [&](int64_t i, auto lanes) DL_BODY {
        const Vec v = load(from + i, lanes);
        return v * v;
      });
      rrms[r] = 1.0f / __builtin_sqrtf(squares / static_cast<float>(cols) + static_cast<float>(eps));
      const Vec scale = broadcast(rrms[r]);
      for_each_vec(cols, [&](int64_t i, auto lanes) DL_BODY {
        const Vec v = load(from + i, lanes) * scale;
        store(to + i, w ? v * load(w + i, lanes) : v, lanes);
      });
    }
  });
}

// dx of one row; adds dy * xhat to dw where it is wanted.
template <class T> void backward_row(const T* x, const T* w, float rrms, const T* dy, T* dx, float* dw, int64_t cols) {
  auto gradient = [&](int64_t i, auto lanes) DL_BODY {
    const Vec d = load(dy + i, lanes);
    return w ? d * load(w + i, lanes) : d;
  };
  const float sum =
      sum_over(cols, [&](int64_t i, auto lanes) DL_BODY { return gradient(i, lanes) * load(x + i, lanes); });
  const Vec v = broadcast(rrms), mean = broadcast(sum / static_cast<float>(cols) * rrms);
  for_each_vec(cols, [&](int64_t i, auto lanes) DL_BODY {
    const Vec xhat = load(x + i, lanes) * v, g = gradient(i, lanes);
    if (dw) store(dw + i, fma(load(dy + i, lanes), xhat, load(dw + i, lanes)), lanes);
    store(dx + i, v * fnma(xhat, mean, g), lanes);
  });
}

template <class T> void backward(const T* x, const T* w, const float* rrms, const T* dy, T* dx, T* dw, float* workspace,
                                 int64_t rows, int64_t cols) {
  const int64_t block = rms_norm_block(cols), blocks = (rows + block - 1) / block;
  parallel_for(rows, block, [&](int64_t begin, int64_t end) {
    for (int64_t first = begin; first < end; first += block) {  // one block, unless there is only one thread
      float* const sum = dw ? workspace + first / block * cols : nullptr;
      if (sum) for_each_vec(cols, [&](int64_t i, auto lanes) DL_BODY { store(sum + i, zero(), lanes); });
      for (int64_t r = first; r < first + block && r < end; ++r)
        backward_row(x + r * cols, w, rrms[r], dy + r * cols, dx + r * cols, sum, cols);
    }
  });
  if (!dw) return;
  parallel_for(cols, kStrip, [&](int64_t begin, int64_t end) {
    for_each_vec(end - begin, [&](int64_t i, auto lanes) DL_BODY {
      Vec sum = zero();
      for (int64_t k = 0; k < blocks; ++k) sum += load(workspace + k * cols + begin + i, lanes);
      store(dw + begin + i, sum, lanes);
    });
  });
}

DL_REGISTER("rms_norm_forward/float32", forward, rms_norm_forward_fn<float>)
DL_REGISTER("rms_norm_forward/bfloat16", forward, rms_norm_forward_fn<bfloat16>)
DL_REGISTER("rms_norm_backward/float32", backward, rms_norm_backward_fn<float>)
DL_REGISTER("rms_norm_backward/bfloat16", backward, rms_norm_backward_fn<bfloat16>)

}  // namespace
}  // namespace dl
