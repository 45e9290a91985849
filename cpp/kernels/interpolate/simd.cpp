// Resampling row by row: rows are mixed with vectors, columns are picked out of the mixed row. A row of the result that
// comes from the same rows as the one before it is a copy of it.
#include "core/parallel.h"
#include "dispatch/kernel.h"
#include "kernels/interpolate/interpolate.h"
#include "simd/rows.h"

namespace dl {
namespace {

constexpr int64_t kElementsPerBlock = 16384;
using Axis = ResampleAxis<float>;

inline bool like_the_one_before(const Axis& h, int64_t i) {
  if (i == 0 || h.first[i] != h.first[i - 1]) return false;
  return !h.share || (h.second[i] == h.second[i - 1] && h.share[i] == h.share[i - 1]);
}

// The row of x that row i of the result picks its columns from; `mixed` has room for one.
inline const float* source_row(const float* x, const Axis& h, int64_t i, int64_t cols, float* mixed) {
  const float* a = x + h.first[i] * cols;
  if (!h.share) return a;
  const float* b = x + h.second[i] * cols;
  const Vec share = broadcast(h.share[i]), rest = broadcast(1 - h.share[i]);
  for_each_vec(cols, [&](int64_t c, auto lanes) DL_BODY {
    store(mixed + c, fma(load(b + c, lanes), share, load(a + c, lanes) * rest), lanes);
  });
  return mixed;
}

void forward(const float* x, float* y, int64_t planes, const Axis* height, const Axis* width) {
  const Axis h = *height, w = *width;
  const int64_t grain = w.out < kElementsPerBlock ? kElementsPerBlock / w.out : 1;
  parallel_for(planes * h.out, grain, [&](int64_t begin, int64_t end) {
    float* const mixed = static_cast<float*>(thread_scratch());
    for (int64_t r = begin; r < end; ++r) {
      const int64_t i = r % h.out;
      float* const to = y + r * w.out;
      if (r > begin && like_the_one_before(h, i)) {
        std::memcpy(to, to - w.out, static_cast<size_t>(w.out) * sizeof(float));
        continue;
      }
      const float* from = source_row(x + r / h.out * h.in * w.in, h, i, w.in, mixed);
      if (w.share)
        for (int64_t j = 0; j < w.out; ++j)
          to[j] = from[w.first[j]] * (1 - w.share[j]) + from[w.second[j]] * w.share[j];
      else
        for (int64_t j = 0; j < w.out; ++j) to[j] = from[w.first[j]];
    }
  });
}

// Adds what a row of dy gives to the columns of x.
inline void scatter(const float* dy, const Axis& w, float* to) {
  for (int64_t j = 0; j < w.out; ++j) {
    if (w.share) {
      to[w.first[j]] += dy[j] * (1 - w.share[j]);
      to[w.second[j]] += dy[j] * w.share[j];
    } else {
      to[w.first[j]] += dy[j];
    }
  }
}

inline void add_scaled(const float* from, float scale, float* to, int64_t n) {
  const Vec v = broadcast(scale);
  for_each_vec(n, [&](int64_t i, auto lanes)
                      DL_BODY { store(to + i, fma(load(from + i, lanes), v, load(to + i, lanes)), lanes); });
}

void backward(const float* dy, float* dx, int64_t planes, const Axis* height, const Axis* width) {
  const Axis h = *height, w = *width;
  const int64_t size = h.in * w.in, work = size + h.out * w.out;
  parallel_for(planes, work < kElementsPerBlock ? kElementsPerBlock / work : 1, [&](int64_t begin, int64_t end) {
    float* const columns = static_cast<float*>(thread_scratch());
    for (int64_t p = begin; p < end; ++p) {
      float* const to = dx + p * size;
      std::memset(to, 0, static_cast<size_t>(size) * sizeof(float));
      for (int64_t i = 0; i < h.out; ++i) {
        std::memset(columns, 0, static_cast<size_t>(w.in) * sizeof(float));
        scatter(dy + (p * h.out + i) * w.out, w, columns);
        for (; i + 1 < h.out && like_the_one_before(h, i + 1); ++i)
          scatter(dy + (p * h.out + i + 1) * w.out, w, columns);
        add_scaled(columns, h.share ? 1 - h.share[i] : 1, to + h.first[i] * w.in, w.in);
        if (h.share) add_scaled(columns, h.share[i], to + h.second[i] * w.in, w.in);
      }
    }
  });
}

DL_REGISTER("interpolate_forward/float32", forward, interpolate_forward_fn<float>)
DL_REGISTER("interpolate_backward/float32", backward, interpolate_backward_fn<float>)

}  // namespace
}  // namespace dl
