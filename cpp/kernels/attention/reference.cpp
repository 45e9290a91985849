// One score at a time, in double. Rows are passed over twice: for the log-sum-exp, then for the result.
#include <cmath>

#include "core/random.h"
#include "dispatch/kernel.h"
#include "kernels/attention/attention.h"

namespace dl {
namespace {

template <class T> const T* row(const T* x, const HeadStrides& s, int64_t b, int64_t h, int64_t t) {
  return x + b * s.b + h * s.h + t * s.t;
}
template <class T> T* row(T* x, const HeadStrides& s, int64_t b, int64_t h, int64_t t) {
  return x + b * s.b + h * s.h + t * s.t;
}

template <class T> double dot(const T* x, const T* y, int64_t n) {
  double sum = 0;
  for (int64_t d = 0; d < n; ++d) sum += static_cast<double>(x[d]) * static_cast<double>(y[d]);
  return sum;
}

template <class T> double score(const AttentionArgs<T>& a, int64_t b, int64_t h, int64_t i, int64_t j) {
  if (a.causal && j > i + a.causal_offset) return -INFINITY;
  const int64_t g = h / (a.H / a.G);
  double s = a.scale * dot(row(a.q, a.q_strides, b, h, i), row(a.k, a.k_strides, b, g, j), a.D);
  const int64_t m = b * a.mask_b + h * a.mask_h + i * a.mask_q + j * a.mask_k;
  if (a.allowed && !a.allowed[m]) return -INFINITY;
  if (a.bias) s += static_cast<double>(a.bias[m]);
  return s;
}

// 0 where dropped, keep_scale where kept.
template <class T> double kept(const AttentionArgs<T>& a, int64_t b, int64_t h, int64_t i, int64_t j) {
  if (!a.dropout) return 1;
  const uint64_t block = attention_block(b * a.H + h, a.Tq, a.Tk, i, j);
  return philox(a.seed, a.stream, block).v[j % 4] < a.threshold ? 0 : a.keep_scale;
}

template <class T> void attention_forward(const AttentionArgs<T>* args, T* y, HeadStrides y_strides, T* lse) {
  const AttentionArgs<T>& a = *args;
  for (int64_t b = 0; b < a.B; ++b)
    for (int64_t h = 0; h < a.H; ++h)
      for (int64_t i = 0; i < a.Tq; ++i) {
        const int64_t g = h / (a.H / a.G);
        double most = -INFINITY, sum = 0;
        for (int64_t j = 0; j < a.Tk; ++j) {
          const double s = score(a, b, h, i, j);
          if (!(s <= most)) most = s;  // a NaN stays
        }
        for (int64_t j = 0; j < a.Tk; ++j) sum += most == -INFINITY ? 0 : std::exp(score(a, b, h, i, j) - most);
        const double log_sum = sum == 0 ? -INFINITY : most + std::log(sum);
        lse[(b * a.H + h) * a.Tq + i] = static_cast<T>(log_sum);
        for (int64_t d = 0; d < a.E; ++d) {
          double out = 0;
          for (int64_t j = 0; j < a.Tk && sum != 0; ++j) {
            const double p = std::exp(score(a, b, h, i, j) - log_sum);
            if (p != 0) out += kept(a, b, h, i, j) * p * static_cast<double>(row(a.v, a.v_strides, b, g, j)[d]);
          }
          row(y, y_strides, b, h, i)[d] = static_cast<T>(out);
        }
      }
}

template <class T> void attention_backward(const AttentionArgs<T>* args, const AttentionGradients<T>* grads) {
  const AttentionArgs<T>& a = *args;
  const AttentionGradients<T>& g = *grads;
  const int64_t group = a.H / a.G;
  auto probability = [&](int64_t b, int64_t h, int64_t i, int64_t j) {
    const double lse = static_cast<double>(g.lse[(b * a.H + h) * a.Tq + i]);
    return lse == -INFINITY ? 0 : std::exp(score(a, b, h, i, j) - lse);
  };
  auto score_gradient = [&](int64_t b, int64_t h, int64_t i, int64_t j) {
    const double p = probability(b, h, i, j);
    if (p == 0) return 0.0;
    const T* dy = row(g.dy, g.dy_strides, b, h, i);
    const double delta = dot(dy, row(g.y, g.y_strides, b, h, i), a.E);
    const double dp = kept(a, b, h, i, j) * dot(dy, row(a.v, a.v_strides, b, h / group, j), a.E);
    return p * (dp - delta) * a.scale;
  };
  for (int64_t b = 0; b < a.B; ++b) {
    for (int64_t h = 0; h < a.H; ++h)
      for (int64_t i = 0; i < a.Tq; ++i)
        for (int64_t d = 0; d < a.D; ++d) {
          double sum = 0;
          for (int64_t j = 0; j < a.Tk; ++j)
            sum += score_gradient(b, h, i, j) * static_cast<double>(row(a.k, a.k_strides, b, h / group, j)[d]);
          row(g.dq, g.dq_strides, b, h, i)[d] = static_cast<T>(sum);
        }
    // Sums over the queries of all heads that share a key head.
    for (int64_t c = 0; c < a.G; ++c) {
      auto over_queries = [&](auto&& term) {
        double sum = 0;
        for (int64_t h = c * group; h < (c + 1) * group; ++h)
          for (int64_t i = 0; i < a.Tq; ++i) sum += term(h, i);
        return sum;
      };
      for (int64_t j = 0; j < a.Tk; ++j) {
        for (int64_t d = 0; d < a.D; ++d)
          row(g.dk, g.dk_strides, b, c, j)[d] = static_cast<T>(over_queries([&](int64_t h, int64_t i) {
            return score_gradient(b, h, i, j) * static_cast<double>(row(a.q, a.q_strides, b, h, i)[d]);
          }));
        for (int64_t d = 0; d < a.E; ++d)
          row(g.dv, g.dv_strides, b, c, j)[d] = static_cast<T>(over_queries([&](int64_t h, int64_t i) {
            return kept(a, b, h, i, j) * probability(b, h, i, j) *
                   static_cast<double>(row(g.dy, g.dy_strides, b, h, i)[d]);
          }));
      }
    }
  }
}

DL_REGISTER("attention_forward/float32", attention_forward, attention_forward_fn<float>)
DL_REGISTER("attention_forward/float64", attention_forward, attention_forward_fn<double>)
DL_REGISTER("attention_backward/float32", attention_backward, attention_backward_fn<float>)
DL_REGISTER("attention_backward/float64", attention_backward, attention_backward_fn<double>)

}  // namespace
}  // namespace dl
