// Contracts of the group_norm family. x, y, dy and dx are (N, C, S), contiguous, N, C, S > 0: S is the product of the
// sizes after the channels. Each of the G groups of C / G neighbouring channels of a sample is normalised by itself.
// Its statistics are kept in double, whatever the dtype: there are few of them, and a mean of 10^4 deviations then
// costs no digits. w and b (C) may be nullptr: 1 and 0.
#pragma once
#include <cstdint>

#include "core/bfloat16.h"

namespace dl {

// What the parameters of a channel, w, b and their gradients, are kept in.
template <class T> struct AffineOf { using type = T; };
template <> struct AffineOf<bfloat16> { using type = float; };

struct GroupNormShape { int64_t N, C, S, G; };

// y = (x - mean[n, g]) * rstd[n, g] * w[c] + b[c] with rstd = 1 / sqrt(var + eps), var without correction; mean and
// rstd (N, G) are results too. Two passes about the mean, whose own rounding is put right by the sum of the
// deviations. y may be x.
template <class T> using group_norm_forward_fn = void (*)(const T* x, const typename AffineOf<T>::type* w,
                                                          const typename AffineOf<T>::type* b, T* y, double* mean,
                                                          double* rstd, const GroupNormShape* shape, double eps);

// With xhat = (x - mean) * rstd and g = dy * w: dx = rstd * (g - mean(g) - xhat * mean(g * xhat)), with means over the
// group; dw = sum of dy * xhat and db = sum of dy over samples and positions. dx, dw and db may be nullptr, dx may be
// dy. workspace: 2 * N * C doubles. Saved: x, mean, rstd.
template <class T>
using group_norm_backward_fn = void (*)(const T* x, const typename AffineOf<T>::type* w, const double* mean,
                                        const double* rstd, const T* dy, T* dx, typename AffineOf<T>::type* dw,
                                        typename AffineOf<T>::type* db, double* workspace, const GroupNormShape* shape);

}  // namespace dl
