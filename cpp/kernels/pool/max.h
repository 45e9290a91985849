// Largest down the window's columns first, whole rows at a time, then along its rows.
#pragma once
#include "kernels/pool/rows.h"

namespace dl {
namespace {

constexpr float kLowest = -__builtin_inff();
constexpr int32_t kNoRow = 0x7fffffff;  // of a column with nothing inside: any element wins against it

// The larger of two candidates; equal ones (and two NaN) are decided by `earlier`.
DL_INLINE Mask beats(Vec v, Vec best, Mask earlier) {
  return gt(v, best) | (isnan(v) & !isnan(best)) | (earlier & (eq(v, best) | (isnan(v) & isnan(best))));
}

// value[c] and, with places, row[c] (bits of int32) for the columns of a strip: the first largest element of each, over
// the rows inside.
template <bool places> DL_INLINE void largest_of_columns(const float* x, const Pool2dShape& s, int64_t oh,
                                                         const Strip& strip, float* value, float* row) {
  const Taps taps = taps_inside(s.h, oh);
  const int64_t first = taps.first < taps.last ? strip.first : strip.columns;
  const int64_t last = taps.first < taps.last ? strip.last : strip.columns;
  fill(value, kLowest, first);
  fill(value + last, kLowest, strip.columns - last);
  if constexpr (places) {
    float no_row;
    std::memcpy(&no_row, &kNoRow, sizeof no_row);
    fill(row, no_row, first);
    fill(row + last, no_row, strip.columns - last);
  }
  const int64_t top = oh * s.h.stride - s.h.pad;
  for (int64_t c = first; c < last; c += Vec::size) {
    const int64_t n = min_of(Vec::size, last - c);
    const float* from = x + (top + taps.first * s.h.dilation) * s.w.in + strip.left + c;
    int32_t h = static_cast<int32_t>(top + taps.first * s.h.dilation);
    Vec best = load(from, n);
    [[maybe_unused]] VecI at = broadcast(h);
    for (int64_t t = taps.first + 1; t < taps.last; ++t) {
      from += s.h.dilation * s.w.in;
      h += static_cast<int32_t>(s.h.dilation);
      const Vec v = load(from, n);
      if constexpr (places) {
        const Mask take = gt(v, best) | (isnan(v) & !isnan(best));
        best = select(take, v, best);
        at = select(take, broadcast(h), at);
      } else {
        best = max(best, v);
      }
    }
    store(value + c, best, n);
    if constexpr (places) store(row + c, bits_as_float(at), n);
  }
}

DL_INLINE void max_pool2d_strip(const float* x, float* y, const Pool2dShape& s, int64_t oh, const Strip& strip) {
  float* const value = static_cast<float*>(thread_scratch());
  largest_of_columns<false>(x, s, oh, strip, value, nullptr);
  const int64_t step = s.w.stride, count = strip.j1 - strip.j0;
  for (int64_t j = 0; j < count; j += Vec::size) {
    const int64_t n = min_of(Vec::size, count - j);
    const float* from = value + j * step;
    Vec best = load_strided(from, step, n);
    for (int64_t t = 1; t < s.w.kernel; ++t) best = max(best, load_strided(from += s.w.dilation, step, n));
    store(y + strip.j0 + j, best, n);
  }
}

DL_INLINE void max_pool2d_strip(const float* x, float* y, int64_t* index, const Pool2dShape& s, int64_t oh,
                                const Strip& strip) {
  float* const value = static_cast<float*>(thread_scratch());
  float* const row = value + strip.columns;
  largest_of_columns<true>(x, s, oh, strip, value, row);
  const int64_t step = s.w.stride, count = strip.j1 - strip.j0;
  for (int64_t j = 0; j < count; j += Vec::size) {
    const int64_t n = min_of(Vec::size, count - j);
    Vec best = load_strided(value + j * step, step, n);
    VecI best_row = bits_as_int(load_strided(row + j * step, step, n)), best_tap = broadcast(0);
    for (int64_t t = 1; t < s.w.kernel; ++t) {
      const int64_t at = j * step + t * s.w.dilation;
      const Vec v = load_strided(value + at, step, n);
      const VecI r = bits_as_int(load_strided(row + at, step, n));
      const Mask take = beats(v, best, gt(best_row, r));
      best = select(take, v, best);
      best_row = select(take, r, best_row);
      best_tap = select(take, broadcast(static_cast<int32_t>(t)), best_tap);
    }
    store(y + strip.j0 + j, best, n);
    int32_t rows[Vec::size], taps[Vec::size];
    store(rows, best_row);
    store(taps, best_tap);
    for (int64_t l = 0; l < n; ++l) {
      const int64_t column = strip.left + (j + l) * step + taps[l] * s.w.dilation;
      index[strip.j0 + j + l] = rows[l] == kNoRow ? -1 : rows[l] * s.w.in + column;
    }
  }
}

void max_pool2d_forward(const float* x, float* y, int64_t* index, const Pool2dShape* shape) {
  const Pool2dShape& s = *shape;
  for_each_strip(s, [&](int64_t plane, int64_t oh, const Strip& strip) {
    const int64_t out = (plane * s.h.out + oh) * s.w.out;
    const float* const from = x + plane * s.h.in * s.w.in;
    if (index) max_pool2d_strip(from, y + out, index + out, s, oh, strip);
    else max_pool2d_strip(from, y + out, s, oh, strip);
  });
}

// A block owns a band of rows of dx and reads the outputs whose windows reach it, in order.
void max_pool2d_backward(const float* dy, const int64_t* index, float* dx, const Pool2dShape* shape) {
  const Pool2dShape& s = *shape;
  const int64_t H = s.h.in, W = s.w.in, reach = (s.h.kernel - 1) * s.h.dilation;
  const int64_t height = min_of(H, max_of(1, kPoolWork / W)), bands = ceil_div(H, height);
  parallel_for(s.planes * bands, max_of(1, kPoolWork / (height * W)), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t plane = t / bands, r0 = t % bands * height, r1 = min_of(H, r0 + height);
      float* const to = dx + plane * H * W;
      fill(to + r0 * W, 0.0f, (r1 - r0) * W);
      const int64_t first = max_of(0, ceil_div(max_of(0, r0 + s.h.pad - reach), s.h.stride));
      const int64_t last = min_of(s.h.out, (r1 - 1 + s.h.pad) / s.h.stride + 1);
      const int64_t out = plane * s.h.out * s.w.out;
      for (int64_t o = out + first * s.w.out; o < out + last * s.w.out; ++o)
        if (index[o] >= r0 * W && index[o] < r1 * W) to[index[o]] += dy[o];
    }
  });
}

}  // namespace
}  // namespace dl
