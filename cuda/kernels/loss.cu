// Cross-entropy: a team of threads to a row of logits; no probabilities are stored.
#include "kernels/loss/loss.h"

#include "cuda/core/rows.h"

namespace dl {
namespace {

using namespace cuda;

template <class S> DL_DEVICE S weight_of(const S* w, int64_t c) { return w ? w[c] : S(1); }

template <int kThreads, int N, class T, class S> __global__ void __launch_bounds__(kRowThreads)
    forward_kernel(const T* x, const int64_t* target, const S* w, S* loss, S* norm, S* statistics, int64_t rows,
                   int64_t cols, CrossEntropyOptions o) {
  DL_SHARED(S, room, kRowThreads / kWarp);
  const int64_t row = Team<kThreads>::row();
  if (row >= rows) return;
  const T* xr = x + row * cols;
  Exponentials<S> own;
  over_row<kThreads, N>(xr, cols, [&](S v, int64_t) { own.add(v); });
  const Exponentials<S> all = own.template combined<kThreads>(room);
  const S log_sum = log(all.sum), smoothing = static_cast<S>(o.smoothing);
  S spread = 0;
  if (smoothing > 0) {
    S sum = 0;
    over_row<kThreads, N>(xr, cols, [&](S v, int64_t c) { sum += weight_of(w, c) * (v - all.max - log_sum); });
    spread = smoothing / static_cast<S>(cols) * block_sum<kThreads>(sum, room);
  }
  if (Team<kThreads>::rank() != 0) return;
  const int64_t t = target[row];
  const bool ignored = t == o.ignore_index;
  const S wt = ignored ? S(0) : weight_of(w, t);
  norm[row] = wt;
  loss[row] = ignored ? S(0) : -(1 - smoothing) * wt * (widen(xr[t]) - all.max - log_sum) - spread;
  statistics[2 * row] = all.max;
  statistics[2 * row + 1] = log_sum;
}

template <int kThreads, int N, class T, class S> __global__ void __launch_bounds__(kRowThreads)
    backward_kernel(const T* x, const int64_t* target, const S* w, const S* statistics, const S* dloss,
                    int64_t dloss_step, T* dx, int64_t rows, int64_t cols, CrossEntropyOptions o) {
  DL_SHARED(S, room, kRowThreads / kWarp);
  const int64_t row = Team<kThreads>::row();
  if (row >= rows) return;
  const int64_t t = target[row], start = row * cols;
  const bool ignored = t == o.ignore_index;
  const S g = ignored ? S(0) : dloss[row * dloss_step], smoothing = static_cast<S>(o.smoothing);
  const S share = smoothing / static_cast<S>(cols), kept = ignored ? S(0) : (1 - smoothing) * weight_of(w, t);
  S total = kept;
  if (smoothing > 0) {
    S sum = 0;
    for (int64_t c = Team<kThreads>::rank(); c < cols; c += kThreads) sum += weight_of(w, c);
    total += share * block_sum<kThreads>(sum, room);
  }
  const S max = statistics[2 * row], log_sum = statistics[2 * row + 1];
  fill_row<kThreads, N>(dx + start, cols, [&](int64_t c) {
    if (ignored) return S(0);
    const S p = exp(widen(x[start + c]) - max - log_sum);
    return g * (total * p - share * weight_of(w, c) - (c == t ? kept : S(0)));
  });
}

template <class T, class S = typename LossOf<T>::type>
void cross_entropy_forward(const T* x, const int64_t* target, const S* w, S* loss, S* norm, S* statistics, int64_t rows,
                           int64_t cols, const CrossEntropyOptions* options) {
  if (rows == 0) return;
  with_row_plan(
      cols,
      [&](auto threads, auto chunk) {
        row_launch(rows, threads, "cross_entropy_forward")(
            forward_kernel<decltype(threads)::value, decltype(chunk)::value, T, S>, x, target, w, loss, norm,
            statistics, rows, cols, *options);
      },
      x);
}
template <class T, class S = typename LossOf<T>::type>
void cross_entropy_backward(const T* x, const int64_t* target, const S* w, const S* statistics, const S* dloss,
                            int64_t dloss_step, T* dx, int64_t rows, int64_t cols, const CrossEntropyOptions* options) {
  if (rows * cols == 0) return;
  with_row_plan(
      cols,
      [&](auto threads, auto chunk) {
        row_launch(rows, threads, "cross_entropy_backward")(
            backward_kernel<decltype(threads)::value, decltype(chunk)::value, T, S>, x, target, w, statistics, dloss,
            dloss_step, dx, rows, cols, *options);
      },
      x, dx);
}

#define DL_LOSS(T, t)                                                                            \
  DL_REGISTER("cross_entropy_forward/" t, cross_entropy_forward<T>, cross_entropy_forward_fn<T>) \
  DL_REGISTER("cross_entropy_backward/" t, cross_entropy_backward<T>, cross_entropy_backward_fn<T>)

DL_LOSS(float, "float32")
DL_LOSS(bfloat16, "bfloat16")
DL_LOSS(double, "float64")

}  // namespace
}  // namespace dl
