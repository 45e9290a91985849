// Softmax and its logarithm over the middle of (outer, n, inner). Rows that lie together (inner = 1) are read twice,
// once for maximum and sum, once to be written; otherwise a thread walks down each column, neighbours side by side.
#include "kernels/softmax/softmax.h"

#include "cuda/core/rows.h"

namespace dl {
namespace {

using namespace cuda;

template <bool kLog, class C> DL_DEVICE C normalised(C v, const Exponentials<C>& e, C scale) {
  if constexpr (kLog) return v - e.max - scale;
  else return exp(v - e.max) * scale;
}
template <bool kLog, class C> DL_DEVICE C scale_of(const Exponentials<C>& e) {
  if constexpr (kLog) return log(e.sum);
  else return 1 / e.sum;
}
template <bool kLog, class C> DL_DEVICE C gradient(C y, C dy, C sum) {
  if constexpr (kLog) return dy - exp(y) * sum;
  else return y * (dy - sum);
}

template <bool kLog, int kThreads, int N, class T> __global__ void __launch_bounds__(kRowThreads)
    rows_forward(const T* x, T* y, int64_t rows, int64_t cols) {
  using C = Compute<T>;
  DL_SHARED(C, room, kRowThreads / kWarp);
  const int64_t row = Team<kThreads>::row();
  if (row >= rows) return;
  Exponentials<C> own;
  over_row<kThreads, N>(x + row * cols, cols, [&](C v, int64_t) { own.add(v); });
  const Exponentials<C> all = own.template combined<kThreads>(room);
  const C scale = scale_of<kLog>(all);
  fill_row<kThreads, N>(y + row * cols, cols,
                        [&](int64_t c) { return normalised<kLog>(widen(x[row * cols + c]), all, scale); });
}

template <bool kLog, int kThreads, int N, class T> __global__ void __launch_bounds__(kRowThreads)
    rows_backward(const T* y, const T* dy, T* dx, int64_t rows, int64_t cols) {
  using C = Compute<T>;
  DL_SHARED(C, room, kRowThreads / kWarp);
  const int64_t row = Team<kThreads>::row();
  if (row >= rows) return;
  const T *yr = y + row * cols, *dyr = dy + row * cols;
  C own = 0;
  over_row<kThreads, N>(dyr, cols, [&](C v, int64_t c) { own += kLog ? v : v * widen(yr[c]); });
  const C sum = block_sum<kThreads>(own, room);
  fill_row<kThreads, N>(dx + row * cols, cols,
                        [&](int64_t c) { return gradient<kLog>(widen(yr[c]), widen(dyr[c]), sum); });
}

// Column c of (outer, inner).
DL_DEVICE int64_t column_start(int64_t c, int64_t n, int64_t inner) { return c / inner * n * inner + c % inner; }

template <bool kLog, class T> __global__ void __launch_bounds__(kRowThreads)
    columns_forward(const T* x, T* y, int64_t columns, int64_t n, int64_t inner) {
  using C = Compute<T>;
  for (int64_t c = int64_t{blockIdx.x} * kRowThreads + threadIdx.x; c < columns;
       c += int64_t{gridDim.x} * kRowThreads) {
    const int64_t start = column_start(c, n, inner);
    Exponentials<C> own;
    for (int64_t k = 0; k < n; ++k) own.add(widen(x[start + k * inner]));
    own = own.template combined<1>(nullptr);
    const C scale = scale_of<kLog>(own);
    for (int64_t k = 0; k < n; ++k) {
      const int64_t i = start + k * inner;
      y[i] = narrow<T>(normalised<kLog>(widen(x[i]), own, scale));
    }
  }
}
template <bool kLog, class T> __global__ void __launch_bounds__(kRowThreads)
    columns_backward(const T* y, const T* dy, T* dx, int64_t columns, int64_t n, int64_t inner) {
  using C = Compute<T>;
  for (int64_t c = int64_t{blockIdx.x} * kRowThreads + threadIdx.x; c < columns;
       c += int64_t{gridDim.x} * kRowThreads) {
    const int64_t start = column_start(c, n, inner);
    C sum = 0;
    for (int64_t k = 0; k < n; ++k) {
      const int64_t i = start + k * inner;
      sum += kLog ? widen(dy[i]) : widen(y[i]) * widen(dy[i]);
    }
    for (int64_t k = 0; k < n; ++k) {
      const int64_t i = start + k * inner;
      dx[i] = narrow<T>(gradient<kLog>(widen(y[i]), widen(dy[i]), sum));
    }
  }
}

template <bool kLog, class T> void softmax_forward(const T* x, T* y, int64_t outer, int64_t n, int64_t inner) {
  if (outer * n * inner == 0) return;
  if (inner > 1)
    return Launch(blocks_for(outer * inner, kRowThreads), kRowThreads)(columns_forward<kLog, T>, x, y, outer * inner, n,
                                                                       inner);
  with_row_plan(
      n,
      [&](auto threads, auto chunk) {
        row_launch(outer, threads, "softmax_forward")(
            rows_forward<kLog, decltype(threads)::value, decltype(chunk)::value, T>, x, y, outer, n);
      },
      x, y);
}
template <bool kLog, class T>
void softmax_backward(const T* y, const T* dy, T* dx, int64_t outer, int64_t n, int64_t inner) {
  if (outer * n * inner == 0) return;
  if (inner > 1)
    return Launch(blocks_for(outer * inner, kRowThreads), kRowThreads)(columns_backward<kLog, T>, y, dy, dx,
                                                                       outer * inner, n, inner);
  with_row_plan(
      n,
      [&](auto threads, auto chunk) {
        row_launch(outer, threads, "softmax_backward")(
            rows_backward<kLog, decltype(threads)::value, decltype(chunk)::value, T>, y, dy, dx, outer, n);
      },
      y, dy, dx);
}

#define DL_SOFTMAX(T, t)                                                                  \
  DL_REGISTER("softmax_forward/" t, softmax_forward<false>, softmax_forward_fn<T>)        \
  DL_REGISTER("softmax_backward/" t, softmax_backward<false>, softmax_backward_fn<T>)     \
  DL_REGISTER("log_softmax_forward/" t, softmax_forward<true>, log_softmax_forward_fn<T>) \
  DL_REGISTER("log_softmax_backward/" t, softmax_backward<true>, log_softmax_backward_fn<T>)

DL_SOFTMAX(float, "float32")
DL_SOFTMAX(bfloat16, "bfloat16")
DL_SOFTMAX(double, "float64")

}  // namespace
}  // namespace dl
