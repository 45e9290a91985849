// Group norm: a group of a sample is one run of memory, summed in pieces whose sums are added in double, and read
// again while it lies in the cache. What belongs to a channel (w, b, sums for dw and db) goes channel by channel, or,
// where a channel is one element, by vectors of channels.
#include "core/parallel.h"
#include "dispatch/kernel.h"
#include "kernels/group_norm/group_norm.h"
#include "simd/rows.h"

namespace dl {
namespace {

constexpr int64_t kElementsPerBlock = 16384;
constexpr int64_t kPiece = 4096;   // elements that are summed in float
constexpr int64_t kChannels = 64;  // channels of dw and db that one block adds up

inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// Sums over [0, n), piece by piece: terms(i, lanes, add) as in sums_over.
template <int kSums> struct Totals { double of[kSums]; };
template <int kSums, class Terms> DL_INLINE Totals<kSums> totals_over(int64_t n, const Terms& terms) {
  Totals<kSums> all{};
  for (int64_t at = 0; at < n; at += kPiece) {
    const auto part = sums_over<kSums>(least(kPiece, n - at),
                                       [&](int64_t i, auto lanes, auto add) DL_BODY { terms(at + i, lanes, add); });
    for (int k = 0; k < kSums; ++k) all.of[k] += part.of[k];
  }
  return all;
}

template <class T> void moments(const T* x, int64_t len, double eps, double* mean, double* rstd) {
  const double n = static_cast<double>(len);
  const auto sum = totals_over<1>(len, [&](int64_t i, auto lanes, auto add) DL_BODY { add(0, load(x + i, lanes)); });
  const float near = static_cast<float>(sum.of[0] / n);
  const Vec m = broadcast(near);
  const auto about = totals_over<2>(len, [&](int64_t i, auto lanes, auto add) DL_BODY {
    const Vec d = load(x + i, lanes) - m;
    add(0, d);
    add(1, d * d);
  });
  const double rest = about.of[0] / n, var = about.of[1] / n - rest * rest;
  *mean = near + rest;
  *rstd = 1 / __builtin_sqrt((var < 0 ? 0 : var) + eps);
}

template <class T> void forward(const T* x, const float* w, const float* b, T* y, double* mean, double* rstd,
                                const GroupNormShape* shape, double eps) {
  const GroupNormShape s = *shape;
  const int64_t D = s.C / s.G, len = D * s.S;
  const int64_t grain = len < kElementsPerBlock ? kElementsPerBlock / len : 1;
  parallel_for(s.N * s.G, grain, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const T* const from = x + r * len;
      T* const to = y + r * len;
      moments(from, len, eps, mean + r, rstd + r);
      const float near = static_cast<float>(mean[r]);
      const double rest = mean[r] - near, inverse = rstd[r];
      const float *const ws = w ? w + r % s.G * D : nullptr, *const bs = b ? b + r % s.G * D : nullptr;
      const Vec m = broadcast(near);
      if (s.S == 1) {
        const Vec by = broadcast(static_cast<float>(inverse)), back = broadcast(static_cast<float>(rest));
        for_each_vec(D, [&](int64_t c, auto lanes) DL_BODY {
          const Vec scale = ws ? load(ws + c, lanes) * by : by, xhat = load(from + c, lanes) - m - back;
          store(to + c, bs ? fma(xhat, scale, load(bs + c, lanes)) : xhat * scale, lanes);
        });
        continue;
      }
      for (int64_t c = 0; c < D; ++c) {
        const double by = inverse * (ws ? ws[c] : 1);
        const Vec scale = broadcast(static_cast<float>(by));
        const Vec shift = broadcast(static_cast<float>((bs ? bs[c] : 0) - rest * by));
        for_each_vec(s.S, [&](int64_t i, auto lanes) DL_BODY {
          store(to + c * s.S + i, fma(load(from + c * s.S + i, lanes) - m, scale, shift), lanes);
        });
      }
    }
  });
}

// Sums of dy and of dy * (x - near) of each of D channels.
template <class T>
void channel_sums(const T* x, const T* dy, float near, int64_t D, int64_t S, double* of_dy, double* of_dy_x) {
  if (S == 1) {
    float d[kChannels], product[kChannels];
    for (int64_t c = 0; c < D; c += kChannels) {
      const int64_t n = least(kChannels, D - c);
      const Vec m = broadcast(near);
      for_each_vec(n, [&](int64_t i, auto lanes) DL_BODY {
        const Vec v = load(dy + c + i, lanes);
        store(d + i, v, lanes);
        store(product + i, v * (load(x + c + i, lanes) - m), lanes);
      });
      for (int64_t i = 0; i < n; ++i) of_dy[c + i] = d[i];
      for (int64_t i = 0; i < n; ++i) of_dy_x[c + i] = product[i];
    }
    return;
  }
  const Vec m = broadcast(near);
  for (int64_t c = 0; c < D; ++c, x += S, dy += S) {
    const auto sum = totals_over<2>(S, [&](int64_t i, auto lanes, auto add) DL_BODY {
      const Vec d = load(dy + i, lanes);
      add(0, d);
      add(1, d * (load(x + i, lanes) - m));
    });
    of_dy[c] = sum.of[0];
    of_dy_x[c] = sum.of[1];
  }
}

// dx = dy * rstd * w + (x - near) * slope + level.
template <class T> void input_gradient(const T* x, const T* dy, const float* w, T* dx, float near, float rstd,
                                       float slope, float level, int64_t D, int64_t S) {
  const Vec m = broadcast(near), by_x = broadcast(slope), constant = broadcast(level), one = broadcast(rstd);
  if (S == 1) {
    for_each_vec(D, [&](int64_t c, auto lanes) DL_BODY {
      const Vec by_dy = w ? load(w + c, lanes) * one : one, rest = fma(load(x + c, lanes) - m, by_x, constant);
      store(dx + c, fma(load(dy + c, lanes), by_dy, rest), lanes);
    });
    return;
  }
  for (int64_t c = 0; c < D; ++c, x += S, dy += S, dx += S) {
    const Vec by_dy = w ? broadcast(w[c]) * one : one;
    for_each_vec(S, [&](int64_t i, auto lanes) DL_BODY {
      store(dx + i, fma(load(dy + i, lanes), by_dy, fma(load(x + i, lanes) - m, by_x, constant)), lanes);
    });
  }
}

template <class T> void backward(const T* x, const float* w, const double* mean, const double* rstd, const T* dy, T* dx,
                                 float* dw, float* db, double* workspace, const GroupNormShape* shape) {
  const GroupNormShape s = *shape;
  const int64_t D = s.C / s.G, len = D * s.S, all = s.N * s.C;
  const int64_t grain = len < kElementsPerBlock ? kElementsPerBlock / len : 1;
  parallel_for(s.N * s.G, grain, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const float near = static_cast<float>(mean[r]);
      const double rest = mean[r] - near, inverse = rstd[r], n = static_cast<double>(len);
      double *const of_dy = workspace + r * D, *const of_dy_xhat = workspace + all + r * D;
      const float* const ws = w ? w + r % s.G * D : nullptr;
      channel_sums(x + r * len, dy + r * len, near, D, s.S, of_dy, of_dy_xhat);
      double g = 0, gx = 0;
      for (int64_t c = 0; c < D; ++c) {
        of_dy_xhat[c] = (of_dy_xhat[c] - rest * of_dy[c]) * inverse;
        g += of_dy[c] * (ws ? ws[c] : 1);
        gx += of_dy_xhat[c] * (ws ? ws[c] : 1);
      }
      if (!dx) continue;
      const double slope = -inverse * inverse * gx / n, level = -inverse * g / n - slope * rest;
      input_gradient(x + r * len, dy + r * len, ws, dx + r * len, near, static_cast<float>(inverse),
                     static_cast<float>(slope), static_cast<float>(level), D, s.S);
    }
  });
  if (!dw && !db) return;
  parallel_for(s.C, kChannels, [&](int64_t begin, int64_t end) {
    for (int64_t first = begin; first < end; first += kChannels) {
      const int64_t n = least(kChannels, end - first);
      double sum[kChannels] = {}, sum_xhat[kChannels] = {};
      for (const double* of = workspace + first; of < workspace + all; of += s.C)
        for (int64_t c = 0; c < n; ++c) {
          sum[c] += of[c];
          sum_xhat[c] += of[all + c];
        }
      for (int64_t c = 0; c < n; ++c) {
        if (dw) dw[first + c] = static_cast<float>(sum_xhat[c]);
        if (db) db[first + c] = static_cast<float>(sum[c]);
      }
    }
  });
}

DL_REGISTER("group_norm_forward/float32", forward, group_norm_forward_fn<float>)
DL_REGISTER("group_norm_forward/bfloat16", forward, group_norm_forward_fn<bfloat16>)
DL_REGISTER("group_norm_backward/float32", backward, group_norm_backward_fn<float>)
DL_REGISTER("group_norm_backward/bfloat16", backward, group_norm_backward_fn<bfloat16>)

}  // namespace
}  // namespace dl
