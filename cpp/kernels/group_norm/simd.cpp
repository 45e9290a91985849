// Group norm: a group of a sample is one run of memory, summed in pieces whose sums are added in double, and read
// again while it lies in the cache. What belongs to a channel (w, b, sums for dw and db) goes channel by channel, or,
// where channels are shorter than a vector is worth, by strips of several, with the channel's number spread over them.
#include "core/parallel.h"
#include "dispatch/kernel.h"
#include "kernels/group_norm/group_norm.h"
#include "simd/rows.h"

namespace dl {
namespace {

constexpr int64_t kElementsPerBlock = 16384;
constexpr int64_t kPiece = 4096;   // elements that are summed in float
constexpr int64_t kNarrow = 32;    // channels of fewer elements go in strips
constexpr int64_t kStrip = 512;    // elements of a strip
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

inline int64_t channels_of_strip(int64_t S) { return S < kNarrow ? kStrip / S : 1; }

// to[i] = scale(c) for every element i of channels [c, c + n).
template <class Of> DL_INLINE void spread(const Of& of, int64_t c, int64_t n, int64_t S, float* to) {
  for (int64_t k = 0; k < n; ++k)
    for (int64_t j = 0; j < S; ++j) to[k * S + j] = of(c + k);
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
  const int64_t D = s.C / s.G, len = D * s.S, together = channels_of_strip(s.S);
  const int64_t grain = len < kElementsPerBlock ? kElementsPerBlock / len : 1;
  parallel_for(s.N * s.G, grain, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const T* const from = x + r * len;
      T* const to = y + r * len;
      moments(from, len, eps, mean + r, rstd + r);
      const float near = static_cast<float>(mean[r]);
      const double rest = mean[r] - near, inverse = rstd[r];
      const float *const ws = w ? w + r % s.G * D : nullptr, *const bs = b ? b + r % s.G * D : nullptr;
      auto scale_of = [&](int64_t c) { return static_cast<float>(inverse * (ws ? ws[c] : 1)); };
      auto shift_of = [&](int64_t c) {
        return static_cast<float>((bs ? bs[c] : 0) - rest * inverse * (ws ? ws[c] : 1));
      };
      const Vec m = broadcast(near);
      for (int64_t c = 0; c < D; c += together) {
        const int64_t at = c * s.S;
        if (together == 1) {
          const Vec scale = broadcast(scale_of(c)), shift = broadcast(shift_of(c));
          for_each_vec(s.S, [&](int64_t i, auto lanes) DL_BODY {
            store(to + at + i, fma(load(from + at + i, lanes) - m, scale, shift), lanes);
          });
          continue;
        }
        float scale[kStrip], shift[kStrip];
        const int64_t n = least(together, D - c);
        spread(scale_of, c, n, s.S, scale);
        spread(shift_of, c, n, s.S, shift);
        for_each_vec(n * s.S, [&](int64_t i, auto lanes) DL_BODY {
          store(to + at + i, fma(load(from + at + i, lanes) - m, load(scale + i, lanes), load(shift + i, lanes)),
                lanes);
        });
      }
    }
  });
}

// Sums of dy and of dy * (x - near) of each of D channels.
template <class T>
void channel_sums(const T* x, const T* dy, float near, int64_t D, int64_t S, double* of_dy, double* of_dy_x) {
  const int64_t together = channels_of_strip(S);
  const Vec m = broadcast(near);
  for (int64_t c = 0; c < D; c += together) {
    const int64_t at = c * S;
    if (together == 1) {
      const auto sum = totals_over<2>(S, [&](int64_t i, auto lanes, auto add) DL_BODY {
        const Vec d = load(dy + at + i, lanes);
        add(0, d);
        add(1, d * (load(x + at + i, lanes) - m));
      });
      of_dy[c] = sum.of[0];
      of_dy_x[c] = sum.of[1];
      continue;
    }
    float d[kStrip], product[kStrip];
    const int64_t n = least(together, D - c);
    for_each_vec(n * S, [&](int64_t i, auto lanes) DL_BODY {
      const Vec v = load(dy + at + i, lanes);
      store(d + i, v, lanes);
      store(product + i, v * (load(x + at + i, lanes) - m), lanes);
    });
    for (int64_t k = 0; k < n; ++k) {
      of_dy[c + k] = of_dy_x[c + k] = 0;
      for (int64_t j = 0; j < S; ++j) {
        of_dy[c + k] += d[k * S + j];
        of_dy_x[c + k] += product[k * S + j];
      }
    }
  }
}

// dx = dy * rstd * w + (x - near) * slope + level.
template <class T, class Scale> DL_INLINE void input_gradient(const T* x, const T* dy, T* dx, float near, float slope,
                                                              float level, const Scale& scale_of, int64_t D,
                                                              int64_t S) {
  const int64_t together = channels_of_strip(S);
  const Vec m = broadcast(near), by_x = broadcast(slope), constant = broadcast(level);
  for (int64_t c = 0; c < D; c += together) {
    const int64_t at = c * S, n = least(together, D - c);
    float scale[kStrip];
    if (together > 1) spread(scale_of, c, n, S, scale);
    const Vec one = broadcast(scale_of(c));
    for_each_vec(n * S, [&](int64_t i, auto lanes) DL_BODY {
      const Vec by_dy = together > 1 ? load(scale + i, lanes) : one;
      const Vec rest = fma(load(x + at + i, lanes) - m, by_x, constant);
      store(dx + at + i, fma(load(dy + at + i, lanes), by_dy, rest), lanes);
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
      input_gradient(
          x + r * len, dy + r * len, dx + r * len, near, static_cast<float>(slope), static_cast<float>(level),
          [&](int64_t c) { return static_cast<float>(inverse * (ws ? ws[c] : 1)); }, D, s.S);
    }
  });
  if (!dw && !db) return;
  parallel_for(s.C, kChannels, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      double sum = 0, sum_xhat = 0;
      for (int64_t k = c; k < all; k += s.C) {
        sum += workspace[k];
        sum_xhat += workspace[all + k];
      }
      if (dw) dw[c] = static_cast<float>(sum_xhat);
      if (db) db[c] = static_cast<float>(sum);
    }
  });
}

DL_REGISTER("group_norm_forward/float32", forward, group_norm_forward_fn<float>)
DL_REGISTER("group_norm_forward/bfloat16", forward, group_norm_forward_fn<bfloat16>)
DL_REGISTER("group_norm_backward/float32", backward, group_norm_backward_fn<float>)
DL_REGISTER("group_norm_backward/bfloat16", backward, group_norm_backward_fn<bfloat16>)

}  // namespace
}  // namespace dl
