// Contracts of the batch_norm family. x, y, dy and dx are (N, C, S), contiguous, N, C, S > 0: S is the product of the
// sizes after the channels. Statistics of a channel are taken over its N * S elements and kept in double, whatever the
// dtype: there are few of them, and a mean of 10^4 deviations then costs no digits. w and b (C) may be nullptr: 1 and
// 0.
#pragma once
#include <cstdint>

#include "core/bfloat16.h"

namespace dl {

// What the parameters of a channel, w, b and their gradients, are kept in.
template <class T> struct ChannelOf { using type = T; };
template <> struct ChannelOf<bfloat16> { using type = float; };

struct BatchNormShape { int64_t N, C, S; };

// y = (x - mean[c]) * rstd * w[c] + b[c] with rstd = 1 / sqrt(var[c] + eps), mean and var (without correction) of the
// channel, which are results too. Each part of a channel (see below) is summed about its own mean, and the parts are
// merged in order by Chan's formula. y may be x. workspace: batch_norm_workspace(shape) doubles.
template <class T> using batch_norm_forward_fn = void (*)(const T* x, const typename ChannelOf<T>::type* w,
                                                          const typename ChannelOf<T>::type* b, T* y, double* mean,
                                                          double* var, double* workspace, const BatchNormShape* shape,
                                                          double eps);

// The same with a given mean and variance. y may be x.
template <class T> using batch_norm_apply_fn = void (*)(const T* x, const typename ChannelOf<T>::type* w,
                                                        const typename ChannelOf<T>::type* b, const double* mean,
                                                        const double* var, T* y, double* workspace,
                                                        const BatchNormShape* shape, double eps);

// With xhat = (x - mean) * rstd: db = sum of dy, dw = sum of dy * xhat, and where `own`, that is where mean and var are
// x's own, dx = w * rstd * (dy - db / (N S) - xhat * dw / (N S)), otherwise dx = w * rstd * dy.
// dx, dw and db may be nullptr. dx may be dy. Saved: x, mean, var.
template <class T> using batch_norm_backward_fn = void (*)(const T* x, const typename ChannelOf<T>::type* w,
                                                           const double* mean, const double* var, const T* dy, T* dx,
                                                           typename ChannelOf<T>::type* dw,
                                                           typename ChannelOf<T>::type* db, double* workspace,
                                                           const BatchNormShape* shape, double eps, bool own);

// How the work is cut, from the shape alone: channels go in units, and a unit in parts of at most `rows` samples by
// `span` elements side by side, which stay in the first cache between two passes. Where S is small, a unit is as many
// channels as lie in kBatchNormStrip columns and is computed column by column; otherwise it is one channel.
constexpr int64_t kBatchNormNarrow = 16, kBatchNormStrip = 128, kBatchNormRows = 64, kBatchNormPart = 4096;
constexpr int64_t kBatchNormFused = 131072;  // elements of a unit that stay in the second cache, x and dy

struct BatchNormPlan {
  bool narrow;
  int64_t channels, units;  // channels of a unit
  int64_t rows, span, parts_of_run, parts;
  // One thread takes a unit through all passes, while its data are in its cache. Otherwise each pass is shared out.
  bool fused;
};

static inline BatchNormPlan batch_norm_plan(const BatchNormShape& s) {
  BatchNormPlan p;
  p.narrow = s.S < kBatchNormNarrow;
  p.channels = p.narrow ? kBatchNormStrip / s.S : 1;
  if (p.channels > s.C) p.channels = s.C;
  p.units = (s.C + p.channels - 1) / p.channels;
  p.parts_of_run = p.narrow ? 1 : (s.S + kBatchNormPart - 1) / kBatchNormPart;
  p.span = p.narrow ? p.channels * s.S : ((s.S + p.parts_of_run - 1) / p.parts_of_run + 63) / 64 * 64;
  p.rows = p.narrow ? kBatchNormRows : p.parts_of_run > 1 ? 1 : kBatchNormPart / s.S;
  p.parts = (s.N + p.rows - 1) / p.rows * p.parts_of_run;
  const int64_t unit = s.N * s.S * p.channels;
  p.fused = unit <= kBatchNormFused && (p.units >= 8 || unit * p.units <= kBatchNormFused / 4);
  return p;
}

// Two doubles for each part of each channel and four floats for each channel, unless all stays with one thread.
static inline int64_t batch_norm_workspace(const BatchNormShape& s) {
  const BatchNormPlan p = batch_norm_plan(s);
  return p.fused ? 0 : 2 * s.C * (p.parts + 1);
}

}  // namespace dl
