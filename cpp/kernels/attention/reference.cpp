// One query at a time, in double.
#include <algorithm>
#include <cmath>
#include <vector>

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
  std::vector<double> s(static_cast<size_t>(a.Tk)), weight(s.size());
  for (int64_t b = 0; b < a.B; ++b)
    for (int64_t h = 0; h < a.H; ++h)
      for (int64_t i = 0; i < a.Tq; ++i) {
        double most = -INFINITY, sum = 0;
        for (int64_t j = 0; j < a.Tk; ++j) {
          s[j] = score(a, b, h, i, j);
          if (!(s[j] <= most)) most = s[j];
        }
        for (int64_t j = 0; j < a.Tk; ++j) sum += most == -INFINITY ? 0 : std::exp(s[j] - most);
        const double log_sum = sum == 0 ? -INFINITY : most + std::log(sum);
        lse[(b * a.H + h) * a.Tq + i] = static_cast<T>(log_sum);
        for (int64_t j = 0; j < a.Tk; ++j) {
          s[j] = sum == 0 ? 0 : std::exp(s[j] - log_sum);
          weight[j] = kept(a, b, h, i, j) * s[j];
        }
        for (int64_t d = 0; d < a.E; ++d) {
          double out = 0;
          for (int64_t j = 0; j < a.Tk; ++j)
            if (s[j] != 0) out += weight[j] * static_cast<double>(row(a.v, a.v_strides, b, h / (a.H / a.G), j)[d]);
          row(y, y_strides, b, h, i)[d] = static_cast<T>(out);
        }
      }
}

template <class T> void attention_backward(const AttentionArgs<T>* args, const AttentionGradients<T>* grads) {
  const AttentionArgs<T>& a = *args;
  const AttentionGradients<T>& g = *grads;
  const int64_t group = a.H / a.G;
  std::vector<double> weight(static_cast<size_t>(a.Tk)), ds(weight.size());  // of one query
  std::vector<double> dk(static_cast<size_t>(a.Tk * a.D)), dv(static_cast<size_t>(a.Tk * a.E));
  for (int64_t b = 0; b < a.B; ++b)
    for (int64_t c = 0; c < a.G; ++c) {
      std::fill(dk.begin(), dk.end(), 0.0);
      std::fill(dv.begin(), dv.end(), 0.0);
      for (int64_t h = c * group; h < (c + 1) * group; ++h)
        for (int64_t i = 0; i < a.Tq; ++i) {
          const T *q = row(a.q, a.q_strides, b, h, i), *dy = row(g.dy, g.dy_strides, b, h, i);
          const double lse = static_cast<double>(g.lse[(b * a.H + h) * a.Tq + i]);
          const double delta = dot(dy, row(g.y, g.y_strides, b, h, i), a.E);
          for (int64_t j = 0; j < a.Tk; ++j) {
            const double p = lse == -INFINITY ? 0 : std::exp(score(a, b, h, i, j) - lse), keep = kept(a, b, h, i, j);
            const double dp = keep * dot(dy, row(a.v, a.v_strides, b, c, j), a.E);
            weight[j] = keep * p;
            ds[j] = p == 0 ? 0 : p * (dp - delta) * a.scale;
          }
          for (int64_t d = 0; d < a.D; ++d) {
            double sum = 0;
            for (int64_t j = 0; j < a.Tk; ++j) sum += ds[j] * static_cast<double>(row(a.k, a.k_strides, b, c, j)[d]);
            row(g.dq, g.dq_strides, b, h, i)[d] = static_cast<T>(sum);
          }
          for (int64_t j = 0; j < a.Tk; ++j) {
            for (int64_t d = 0; d < a.D; ++d) dk[j * a.D + d] += ds[j] * static_cast<double>(q[d]);
            for (int64_t d = 0; d < a.E; ++d) dv[j * a.E + d] += weight[j] * static_cast<double>(dy[d]);
          }
        }
      for (int64_t j = 0; j < a.Tk; ++j) {
        for (int64_t d = 0; d < a.D; ++d) row(g.dk, g.dk_strides, b, c, j)[d] = static_cast<T>(dk[j * a.D + d]);
        for (int64_t d = 0; d < a.E; ++d) row(g.dv, g.dv_strides, b, c, j)[d] = static_cast<T>(dv[j * a.E + d]);
      }
    }
}

DL_REGISTER("attention_forward/float32", attention_forward, attention_forward_fn<float>)
DL_REGISTER("attention_forward/float64", attention_forward, attention_forward_fn<double>)
DL_REGISTER("attention_backward/float32", attention_backward, attention_backward_fn<float>)
DL_REGISTER("attention_backward/float64", attention_backward, attention_backward_fn<double>)

}  // namespace
}  // namespace dl
