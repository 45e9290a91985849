// Cross-entropy row by row: a row of 50,000 logits stays in L2 between the passes over it.
#include "core/parallel.h"
#include "dispatch/kernel.h"
#include "kernels/loss/loss.h"
#include "simd/math.h"
#include "simd/rows.h"

namespace dl {
namespace {

constexpr int64_t kElementsPerBlock = 8192;

DL_INLINE float value_of(float x) { return x; }
DL_INLINE float value_of(bfloat16 x) { return to_float(x); }

int64_t rows_per_block(int64_t cols) { return cols < kElementsPerBlock ? kElementsPerBlock / cols : 1; }

template <class T> void forward(const T* logits, const int64_t* target, const float* w, float* loss, float* norm,
                                float* statistics, int64_t rows, int64_t cols, const CrossEntropyOptions* options) {
  const float s = static_cast<float>(options->smoothing);
  parallel_for(rows, rows_per_block(cols), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const T* x = logits + r * cols;
      const float most = max_over(cols, [&](int64_t i, auto lanes) DL_BODY { return load(x + i, lanes); });
      const Vec shift = broadcast(most);
      const Vec sum =
          broadcast(sum_over(cols, [&](int64_t i, auto lanes) DL_BODY { return exp(load(x + i, lanes) - shift); }));
      float log_sum;
      store(&log_sum, log(sum), 1);
      statistics[2 * r] = most;
      statistics[2 * r + 1] = log_sum;
      const int64_t t = target[r];
      if (t == options->ignore_index) {
        loss[r] = norm[r] = 0;
        continue;
      }
      norm[r] = w ? w[t] : 1.0f;
      loss[r] = norm[r] * ((most - value_of(x[t])) + log_sum);
      if (s == 0) continue;
      const Vec l = broadcast(log_sum);
      const float spread = sum_over(cols, [&](int64_t i, auto lanes) DL_BODY {
        const Vec minus_lp = (shift - load(x + i, lanes)) + l;
        return w ? minus_lp * load(w + i, lanes) : minus_lp;
      });
      loss[r] = (1 - s) * loss[r] + s / static_cast<float>(cols) * spread;
    }
  });
}

template <class T> void backward(const T* logits, const int64_t* target, const float* w, const float* statistics,
                                 const float* dloss, int64_t dloss_step, T* gradient, int64_t rows, int64_t cols,
                                 const CrossEntropyOptions* options) {
  const float s = static_cast<float>(options->smoothing), share = s / static_cast<float>(cols);
  const float total_w = s == 0 ? 0
                        : w    ? sum_over(cols, [&](int64_t i, auto lanes) DL_BODY { return load(w + i, lanes); })
                               : static_cast<float>(cols);
  parallel_for(rows, rows_per_block(cols), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const T* x = logits + r * cols;
      T* dx = gradient + r * cols;
      const int64_t t = target[r];
      if (t == options->ignore_index) {
        for_each_vec(cols, [&](int64_t i, auto lanes) DL_BODY { store(dx + i, zero(), lanes); });
        continue;
      }
      const float d = dloss[r * dloss_step], chosen = (1 - s) * (w ? w[t] : 1.0f);
      const Vec shift = broadcast(statistics[2 * r]), log_sum = broadcast(statistics[2 * r + 1]);
      const Vec of_p = broadcast(d * (chosen + share * total_w)), of_w = broadcast(d * share);
      // The target's own gradient is a difference of nearly equal numbers when the network is sure: take it unrounded.
      const Vec lp = (broadcast(value_of(x[t])) - shift) - log_sum;
      const Vec own = fma(exp(lp), of_p, broadcast(-d * chosen)) - (w ? broadcast(w[t]) : broadcast(1.0f)) * of_w;
      if (s == 0) {
        for_each_vec(cols, [&](int64_t i, auto lanes)
                               DL_BODY { store(dx + i, exp((load(x + i, lanes) - shift) - log_sum) * of_p, lanes); });
      } else {
        for_each_vec(cols, [&](int64_t i, auto lanes) DL_BODY {
          const Vec p = exp((load(x + i, lanes) - shift) - log_sum);
          store(dx + i, fma(p, of_p, -(w ? load(w + i, lanes) * of_w : of_w)), lanes);
        });
      }
      store(dx + t, own, 1);
    }
  });
}

DL_REGISTER("cross_entropy_forward/float32", forward, cross_entropy_forward_fn<float>)
DL_REGISTER("cross_entropy_forward/bfloat16", forward, cross_entropy_forward_fn<bfloat16>)
DL_REGISTER("cross_entropy_backward/float32", backward, cross_entropy_backward_fn<float>)
DL_REGISTER("cross_entropy_backward/bfloat16", backward, cross_entropy_backward_fn<bfloat16>)

}  // namespace
}  // namespace dl
