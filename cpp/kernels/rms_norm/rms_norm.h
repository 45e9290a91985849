// Contracts of the rms_norm family. x is (rows, cols), row-major; w (cols) may be nullptr: 1.
#pragma once
#include <cstdint>

#include "core/bfloat16.h"

namespace dl {

// What 1 / root mean square of a row is kept in.
template <class T> struct RootOf { using type = T; };
template <> struct RootOf<bfloat16> { using type = float; };

// y[r, c] = x[r, c] * rrms[r] * w[c] with rrms = 1 / sqrt(mean(x²) + eps) over the row. y may be x.
template <class T> using rms_norm_forward_fn = void (*)(const T* x, const T* w, T* y, typename RootOf<T>::type* rrms,
                                                        int64_t rows, int64_t cols, double eps);

// With xhat = x * rrms and g = dy * w: dx = rrms * (g - xhat * mean(g * xhat)) over each row; dw = sum over rows of
// dy * xhat. dw (cols) may be nullptr; dx may be dy. Rows are added up in blocks of rms_norm_block(cols), the blocks in
// order. workspace: cols * ceil(rows / rms_norm_block(cols)) elements where dw is wanted. Saved: x, rrms.
template <class T> using rms_norm_backward_fn = void (*)(const T* x, const T* w, const typename RootOf<T>::type* rrms,
                                                         const T* dy, T* dx, T* dw, typename RootOf<T>::type* workspace,
                                                         int64_t rows, int64_t cols);

static inline int64_t rms_norm_block(int64_t cols) {
  const int64_t rows = 65536 / (cols > 0 ? cols : 1);
  return rows > 16 ? rows : 16;
}

}  // namespace dl
