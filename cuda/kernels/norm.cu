// Layer norm: a team of threads to a row, the gradients of weight and bias by columns.
#include "kernels/norm/norm.h"

#include "cuda/core/rows.h"

namespace dl {
namespace {

using namespace cuda;

template <int kThreads, int N, class T, class S> __global__ void __launch_bounds__(kRowThreads)
    forward_kernel(const T* x, const T* residual, const T* w, const T* b, T* sum, T* y, S* mean, S* rstd, int64_t rows,
                   int64_t cols, S eps) {
  DL_SHARED(S, room, kRowThreads / kWarp);
  const int64_t row = Team<kThreads>::row();
  if (row >= rows) return;
  const T* h = x + row * cols;
  S total = 0;
  if (residual) {
    const T* r = residual + row * cols;
    T* kept = sum + row * cols;
    for (int64_t c = Team<kThreads>::rank(); c < cols; c += kThreads) {
      kept[c] = narrow<T>(widen(h[c]) + widen(r[c]));
      total += widen(kept[c]);
    }
    h = kept;
  } else {
    over_row<kThreads, N>(h, cols, [&](S v, int64_t) { total += v; });
  }
  const S n = static_cast<S>(cols), m = block_sum<kThreads>(total, room) / n;
  S deviations = 0, squares = 0;
  for (int64_t c = Team<kThreads>::rank(); c < cols; c += kThreads) {
    const S d = widen(h[c]) - m;
    deviations += d;
    squares += d * d;
  }
  deviations = block_sum<kThreads>(deviations, room) / n;
  squares = block_sum<kThreads>(squares, room) / n;
  const S scale = 1 / sqrt(squares - deviations * deviations + eps), centre = m + deviations;
  if (Team<kThreads>::rank() == 0) {
    mean[row] = centre;
    rstd[row] = scale;
  }
  T* out = y + row * cols;
  for (int64_t c = Team<kThreads>::rank(); c < cols; c += kThreads) {
    const S xhat = (widen(h[c]) - m - deviations) * scale;
    out[c] = narrow<T>(xhat * (w ? widen(w[c]) : S(1)) + (b ? widen(b[c]) : S(0)));
  }
}

template <int kThreads, int N, class T, class S> __global__ void __launch_bounds__(kRowThreads)
    backward_kernel(const T* x, const T* w, const S* mean, const S* rstd, const T* dy, const T* dsum, T* dx,
                    int64_t rows, int64_t cols) {
  DL_SHARED(S, room, kRowThreads / kWarp);
  const int64_t row = Team<kThreads>::row();
  if (row >= rows) return;
  const int64_t start = row * cols;
  const S m = mean[row], scale = rstd[row];
  S g_sum = 0, gx_sum = 0;
  over_row<kThreads, N>(dy + start, cols, [&](S v, int64_t c) {
    const S g = w ? v * widen(w[c]) : v;
    g_sum += g;
    gx_sum += g * ((widen(x[start + c]) - m) * scale);
  });
  const S n = static_cast<S>(cols);
  g_sum = block_sum<kThreads>(g_sum, room) / n;
  gx_sum = block_sum<kThreads>(gx_sum, room) / n;
  fill_row<kThreads, N>(dx + start, cols, [&](int64_t c) {
    const S g = widen(dy[start + c]) * (w ? widen(w[c]) : S(1)), xhat = (widen(x[start + c]) - m) * scale;
    return scale * (g - g_sum - xhat * gx_sum) + (dsum ? widen(dsum[start + c]) : S(0));
  });
}

// dw and db of kRun rows, then of all: a thread a column, neighbours side by side.
constexpr int64_t kRun = 64;
template <class T, class S> __global__ void __launch_bounds__(kRowThreads)
    parameter_parts(const T* x, const S* mean, const S* rstd, const T* dy, S* parts, int64_t rows, int64_t cols,
                    int64_t runs) {
  for (int64_t t = int64_t{blockIdx.x} * kRowThreads + threadIdx.x; t < runs * cols;
       t += int64_t{gridDim.x} * kRowThreads) {
    const int64_t c = t % cols, begin = t / cols * kRun, end = begin + kRun < rows ? begin + kRun : rows;
    S dw = 0, db = 0;
    for (int64_t r = begin; r < end; ++r) {
      const S g = widen(dy[r * cols + c]);
      dw += g * ((widen(x[r * cols + c]) - mean[r]) * rstd[r]);
      db += g;
    }
    parts[t] = dw;
    parts[runs * cols + t] = db;
  }
}
template <class T, class S> __global__ void __launch_bounds__(kRowThreads)
    parameter_sums(const S* parts, T* dw, T* db, int64_t cols, int64_t runs) {
  for (int64_t c = int64_t{blockIdx.x} * kRowThreads + threadIdx.x; c < cols; c += int64_t{gridDim.x} * kRowThreads) {
    double w = 0, b = 0;
    for (int64_t run = 0; run < runs; ++run) {
      w += parts[run * cols + c];
      b += parts[(runs + run) * cols + c];
    }
    if (dw) dw[c] = narrow<T>(static_cast<Compute<T>>(w));
    if (db) db[c] = narrow<T>(static_cast<Compute<T>>(b));
  }
}

template <class T, class S = typename StatisticOf<T>::type>
void layer_norm_forward(const T* x, const T* residual, const T* w, const T* b, T* sum, T* y, S* mean, S* rstd,
                        int64_t rows, int64_t cols, double eps) {
  if (rows * cols == 0) return;
  with_row_plan(
      cols,
      [&](auto threads, auto chunk) {
        row_launch(rows, threads, "layer_norm_forward")(
            forward_kernel<decltype(threads)::value, decltype(chunk)::value, T, S>, x, residual, w, b, sum, y, mean,
            rstd, rows, cols, static_cast<S>(eps));
      },
      x);
}
template <class T, class S = typename StatisticOf<T>::type>
void layer_norm_backward(const T* x, const T* w, const S* mean, const S* rstd, const T* dy, const T* dsum, T* dx, T* dw,
                         T* db, S*, int64_t rows, int64_t cols) {
  if (rows * cols == 0) return;
  if (dw || db) {  // first: dx may be dy
    const int64_t runs = (rows + kRun - 1) / kRun;
    const Scratch<S> parts(2 * runs * cols);
    Launch(blocks_for(runs * cols, kRowThreads), kRowThreads)(parameter_parts<T, S>, x, mean, rstd, dy, parts.data(),
                                                              rows, cols, runs);
    Launch(blocks_for(cols, kRowThreads), kRowThreads)(parameter_sums<T, S>, parts.data(), dw, db, cols, runs);
  }
  with_row_plan(
      cols,
      [&](auto threads, auto chunk) {
        row_launch(rows, threads, "layer_norm_backward")(
            backward_kernel<decltype(threads)::value, decltype(chunk)::value, T, S>, x, w, mean, rstd, dy, dsum, dx,
            rows, cols);
      },
      dy, dx);
}

#define DL_NORM(T, t)                                                                   \
  DL_REGISTER("layer_norm_forward/" t, layer_norm_forward<T>, layer_norm_forward_fn<T>) \
  DL_REGISTER("layer_norm_backward/" t, layer_norm_backward<T>, layer_norm_backward_fn<T>)

DL_NORM(float, "float32")
DL_NORM(bfloat16, "bfloat16")
DL_NORM(double, "float64")

}  // namespace
}  // namespace dl
