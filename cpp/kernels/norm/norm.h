// Contracts of the norm family. x is (rows, cols), row-major.
#pragma once
#include <cstdint>

#include "core/bfloat16.h"

namespace dl {

// What statistics of a row are kept in.
template <class T> struct StatisticOf { using type = T; };
template <> struct StatisticOf<bfloat16> { using type = float; };

// y[r, c] = (h[r, c] - mean[r]) * rstd[r] * w[c] + b[c] with h = x + residual, which is kept in `sum` (both (rows,
// cols), or both nullptr: h = x). rstd = 1 / sqrt(var + eps), var over the row without correction. w (cols) and b
// (cols) may be nullptr: 1 and 0. y may be x. Two passes about the mean, whose own rounding is put right by the sum of
// the deviations: a mean 10^4 times the deviation costs no digits. Of bfloat16 numbers h is rounded before anything is
// computed of it.
template <class T> using layer_norm_forward_fn = void (*)(const T* x, const T* residual, const T* w, const T* b, T* sum,
                                                          T* y, typename StatisticOf<T>::type* mean,
                                                          typename StatisticOf<T>::type* rstd, int64_t rows,
                                                          int64_t cols, double eps);

// With xhat = (x - mean) * rstd, where x is what was normalised, g = dy * w and dsum (rows, cols), its gradient from
// elsewhere, or nullptr:
//   dx = rstd * (g - mean(g) - xhat * mean(g * xhat)) + dsum;  dw = sum over rows of dy * xhat;  db = sum of dy.
// dw and db (cols) may be nullptr. Rows are added up in blocks of layer_norm_block(cols), the blocks in order.
// workspace: 2 * cols * ceil(rows / layer_norm_block(cols)) elements where dw or db is wanted. Saved: x, mean, rstd.
template <class T>
using layer_norm_backward_fn = void (*)(const T* x, const T* w, const typename StatisticOf<T>::type* mean,
                                        const typename StatisticOf<T>::type* rstd, const T* dy, const T* dsum, T* dx,
                                        T* dw, T* db, typename StatisticOf<T>::type* workspace, int64_t rows,
                                        int64_t cols);

static inline int64_t layer_norm_block(int64_t cols) {
  const int64_t rows = 65536 / (cols > 0 ? cols : 1);
  return rows > 16 ? rows : 16;
}

}  // namespace dl
