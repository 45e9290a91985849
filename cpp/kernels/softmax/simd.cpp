// Rows (inner = 1) stay in L2 between the passes over them. Otherwise neighbouring columns are taken side by side, a
// strip at a time, with their maxima and sums in L1.
#include <type_traits>

#include "core/parallel.h"
#include "dispatch/kernel.h"
#include "kernels/softmax/softmax.h"
#include "simd/math.h"
#include "simd/rows.h"

namespace dl {
namespace {

constexpr int64_t kElementsPerBlock = 8192;
constexpr int64_t kStrip = 256;

// The largest of a row, or any of its numbers where one is NaN: that makes the sum NaN, and with it the whole row.
template <class T> DL_INLINE Vec max_of_row(const T* x, int64_t n) {
  const Vec least = broadcast(-kInf);
  Vec most[kRowStreams] = {least, least, least, least};
  int64_t i = 0;
  for (; n - i >= kRowStreams * Vec::size; i += kRowStreams * Vec::size)
    for (int j = 0; j < kRowStreams; ++j) most[j] = fast_max(most[j], load(x + i + j * Vec::size));
  for (; n - i >= Vec::size; i += Vec::size) most[0] = fast_max(most[0], load(x + i));
  if (i < n) most[1] = fast_max(most[1], keep(load(x + i, n - i), least, Part{n - i}));
  return broadcast(reduce_max(fast_max(fast_max(most[0], most[1]), fast_max(most[2], most[3]))));
}

// exp(x) without the bound that no x <= 0 needs; 1 ulp.
DL_INLINE Vec exp_of_negative(Vec x) {
  const ExpParts p = split_exp(fast_max(broadcast(-104.0f), x));
  return scale_by_power_of_two(fma(p.r * p.r, expm1_tail(p.r), p.r) + broadcast(1.0f), p.n, p.n_int);
}

template <class T, bool kLog> void forward_row(const T* x, T* y, int64_t n) {
  const Vec most = max_of_row(x, n);
  auto exp_at = [&](int64_t i, auto lanes) DL_BODY { return exp_of_negative(load(x + i, lanes) - most); };
  if constexpr (kLog) {
    const Vec log_sum = log(broadcast(sum_over(n, exp_at)));
    for_each_vec(n, [&](int64_t i, auto lanes) DL_BODY { store(y + i, (load(x + i, lanes) - most) - log_sum, lanes); });
  } else if constexpr (std::is_same_v<T, float>) {
    const Vec scale = broadcast(1.0f / sum_over(n, [&](int64_t i, auto lanes) DL_BODY {
                                  prefetch(x + n + i);  // the next row comes in while this one is computed
                                  const Vec e = exp_at(i, lanes);
                                  store(y + i, e, lanes);
                                  return e;
                                }));
    for_each_vec(n, [&](int64_t i, auto lanes) DL_BODY { store(y + i, load(y + i, lanes) * scale, lanes); });
  } else {  // y would round the exponentials before they are scaled
    const Vec scale = broadcast(1.0f / sum_over(n, exp_at));
    for_each_vec(n, [&](int64_t i, auto lanes) DL_BODY { store(y + i, exp_at(i, lanes) * scale, lanes); });
  }
}

template <class T, bool kLog> void backward_row(const T* y, const T* dy, T* dx, int64_t n) {
  const Vec sum = broadcast(sum_over(n, [&](int64_t i, auto lanes) DL_BODY {
    const Vec d = load(dy + i, lanes);
    if constexpr (kLog) return d;
    else return load(y + i, lanes) * d;
  }));
  for_each_vec(n, [&](int64_t i, auto lanes) DL_BODY {
    const Vec v = load(y + i, lanes), d = load(dy + i, lanes);
    if constexpr (kLog) store(dx + i, fnma(exp(v), sum, d), lanes);
    else store(dx + i, v * (d - sum), lanes);
  });
}

// The arrays of a strip hold whole vectors, so only x, y and gradients need `lanes`.
template <class T, bool kLog> void forward_columns(const T* x, T* y, int64_t n, int64_t inner, int64_t width) {
  alignas(64) float most[kStrip], sum[kStrip];
  for_each_vec(width, [&](int64_t c, auto lanes) DL_BODY {
    store(most + c, load(x + c, lanes));
    store(sum + c, zero());
  });
  for (int64_t k = 1; k < n; ++k)
    for_each_vec(width, [&](int64_t c, auto lanes)
                            DL_BODY { store(most + c, max(load(most + c), load(x + k * inner + c, lanes))); });
  for (int64_t k = 0; k < n; ++k)
    for_each_vec(width, [&](int64_t c, auto lanes) DL_BODY {
      const Vec e = exp(load(x + k * inner + c, lanes) - load(most + c));
      store(sum + c, load(sum + c) + e);
    });
  for_each_vec(width, [&](int64_t c, auto) DL_BODY {
    const Vec s = load(sum + c);
    store(sum + c, kLog ? log(s) : broadcast(1.0f) / s);
  });
  for (int64_t k = 0; k < n; ++k)
    for_each_vec(width, [&](int64_t c, auto lanes) DL_BODY {
      const Vec shifted = load(x + k * inner + c, lanes) - load(most + c), s = load(sum + c);
      store(y + k * inner + c, kLog ? shifted - s : exp(shifted) * s, lanes);
    });
}

template <class T, bool kLog>
void backward_columns(const T* y, const T* dy, T* dx, int64_t n, int64_t inner, int64_t width) {
  alignas(64) float sum[kStrip];
  for_each_vec(width, [&](int64_t c, auto) DL_BODY { store(sum + c, zero()); });
  for (int64_t k = 0; k < n; ++k)
    for_each_vec(width, [&](int64_t c, auto lanes) DL_BODY {
      const Vec d = load(dy + k * inner + c, lanes), s = load(sum + c);
      if constexpr (kLog) store(sum + c, s + d);
      else store(sum + c, fma(load(y + k * inner + c, lanes), d, s));
    });
  for (int64_t k = 0; k < n; ++k)
    for_each_vec(width, [&](int64_t c, auto lanes) DL_BODY {
      const int64_t i = k * inner + c;
      const Vec v = load(y + i, lanes), d = load(dy + i, lanes), s = load(sum + c);
      if constexpr (kLog) store(dx + i, fnma(exp(v), s, d), lanes);
      else store(dx + i, v * (d - s), lanes);
    });
}

// Calls row(offset) or columns(offset, width) for all of (outer, n, inner).
template <class Row, class Columns>
void for_rows_or_columns(int64_t outer, int64_t n, int64_t inner, const Row& row, const Columns& columns) {
  const int64_t strips = (inner + kStrip - 1) / kStrip, elements = n * (inner < kStrip ? inner : kStrip);
  const int64_t grain = elements < kElementsPerBlock ? kElementsPerBlock / elements : 1;
  parallel_for(outer * strips, grain, [&](int64_t begin, int64_t end) {
    for (int64_t u = begin; u < end; ++u) {
      const int64_t first = u % strips * kStrip, offset = u / strips * n * inner + first;
      if (inner == 1) row(offset);
      else columns(offset, inner - first < kStrip ? inner - first : kStrip);
    }
  });
}

template <class T, bool kLog> void forward(const T* x, T* y, int64_t outer, int64_t n, int64_t inner) {
  for_rows_or_columns(
      outer, n, inner, [&](int64_t at) { forward_row<T, kLog>(x + at, y + at, n); },
      [&](int64_t at, int64_t width) { forward_columns<T, kLog>(x + at, y + at, n, inner, width); });
}

template <class T, bool kLog> void backward(const T* y, const T* dy, T* dx, int64_t outer, int64_t n, int64_t inner) {
  for_rows_or_columns(
      outer, n, inner, [&](int64_t at) { backward_row<T, kLog>(y + at, dy + at, dx + at, n); },
      [&](int64_t at, int64_t width) { backward_columns<T, kLog>(y + at, dy + at, dx + at, n, inner, width); });
}

#define DL_SOFTMAX(T, name)                                                               \
  DL_REGISTER("softmax_forward/" name, (forward<T, false>), softmax_forward_fn<T>)        \
  DL_REGISTER("softmax_backward/" name, (backward<T, false>), softmax_backward_fn<T>)     \
  DL_REGISTER("log_softmax_forward/" name, (forward<T, true>), log_softmax_forward_fn<T>) \
  DL_REGISTER("log_softmax_backward/" name, (backward<T, true>), log_softmax_backward_fn<T>)
DL_SOFTMAX(float, "float32")
DL_SOFTMAX(bfloat16, "bfloat16")

}  // namespace
}  // namespace dl
