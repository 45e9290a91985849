// Padded copies of the part of x that a block of pixels reads. Every term (c, t, u) of the sum is then the same plane
// shifted by a constant: pixel (i, j) finds it at at[(c, t, u)] + i * pitch + j, without a bound to check. Where the
// convolution steps over pixels, the plane is cut into step_h x step_w planes of the pixels of one residue, so that
// neighbours in the grid are neighbours in memory as well.
#pragma once
#include "kernels/conv/gather.h"
#include "kernels/conv/strided.h"

namespace dl {
namespace {

// y[0 .. count) = x[0], x[step], ...
template <class T> DL_INLINE void copy_strided_run(const T* x, int64_t step, T* y, int64_t count) {
  constexpr int L = Lanes_t<T>::size;
  int64_t i = 0;
  if (step == 1) {
    for (; i + L <= count; i += L) store(y + i, load(x + i));
    if (i < count) store(y + i, load(x + i, count - i), count - i);
    return;
  }
  for (; i + L <= count; i += L) store(y + i, load_strided(x + i * step, step, L));
  if (i < count) store(y + i, load_strided(x + i * step, step, count - i), count - i);
}

template <class T> DL_INLINE void fill_zero(T* y, int64_t count) {
  constexpr int L = Lanes_t<T>::size;
  int64_t i = 0;
  for (; i + L <= count; i += L) store(y + i, broadcast(T{0}));
  if (i < count) store(y + i, broadcast(T{0}), count - i);
}

// One direction of the planes: tap t of pixel p is element p + shift(t) of the plane of residue(t).
struct Residues {
  int64_t low;  // position of the first tap's element, for pixel 0
  int64_t step, offset, tap_step;
  int64_t count;  // residues in use
  int64_t reach;  // largest shift
  int64_t distance(int64_t t) const { return offset + t * tap_step - low; }
  int64_t residue(int64_t t) const { return distance(t) % step; }
  int64_t shift(int64_t t) const { return distance(t) / step; }
};

// From the first element that a pixel reads to the last.
DL_INLINE int64_t span_of(const Axis& a) {
  return a.taps > 0 ? (a.taps - 1) * (a.tap_step < 0 ? -a.tap_step : a.tap_step) : 0;
}

DL_INLINE Residues residues_of(const Axis& a) {
  const int64_t span = span_of(a), low = a.tap_step < 0 ? a.offset - span : a.offset;
  return {low, a.step, a.offset, a.tap_step, min_of(a.step, span + 1), span / a.step};
}

constexpr int64_t kPlaneElements = 512 * 1024;  // at most, of a block's planes: they stay in the second-level cache

// The planes of some channels for `height` x `width` pixels of the grid.
struct PlaneLayout {
  Residues rows, cols;
  int64_t pitch, plane, channel;  // steps between rows, residues and channels
  int64_t shared;                 // zeros at the end of a row that are the start of the next as well
};

template <class T> PlaneLayout plane_layout(const Gather<T>& job, int64_t height, int64_t width) {
  PlaneLayout p{residues_of(job.rows), residues_of(job.cols), 0, 0, 0, 0};
  const double elements = static_cast<double>(p.rows.count) * static_cast<double>(height + p.rows.reach) *
                          static_cast<double>(p.cols.count) * static_cast<double>(width + p.cols.reach);
  if (elements > kPlaneElements) {  // far too large; sizes may not even fit into 64 bits
    p.channel = kPlaneElements + 1;
    return p;
  }
  if (width == job.cols.out && p.cols.step == 1) {
    const int64_t left = -p.cols.low, right = p.cols.low + width + p.cols.reach - job.cols.in;
    p.shared = max_of(0, min_of(min_of(left, right), p.cols.reach));
  }
  p.pitch = width + p.cols.reach - p.shared;
  p.plane = (height + p.rows.reach) * p.pitch + p.shared;
  p.channel = p.rows.count * p.cols.count * p.plane;
  return p;
}

// at[c * taps + t * cols.taps + u], for `channels` channels.
template <class T> void term_offsets(const Gather<T>& job, const PlaneLayout& p, int64_t channels, int32_t* at) {
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t t = 0; t < job.rows.taps; ++t)
      for (int64_t u = 0; u < job.cols.taps; ++u)
        *at++ = static_cast<int32_t>(c * p.channel + (p.rows.residue(t) * p.cols.count + p.cols.residue(u)) * p.plane +
                                     p.rows.shift(t) * p.pitch + p.cols.shift(u));
}

// Planes of channels [c0, c1) of image n for the pixels [i0, i0 + height) x [j0, j0 + width).
template <class T> void fill_planes(const Gather<T>& job, const PlaneLayout& p, int64_t n, int64_t g, int64_t c0,
                                    int64_t c1, int64_t i0, int64_t height, int64_t j0, T* planes) {
  const int64_t H = job.rows.in, W = job.cols.in, step = p.cols.step;
  for (int64_t c = c0; c < c1; ++c, planes += p.channel) {
    const T* const x = job.x_planes(n, g) + c * H * W;
    for (int64_t a = 0; a < p.rows.count; ++a)
      for (int64_t b = 0; b < p.cols.count; ++b) {
        T* y = planes + (a * p.cols.count + b) * p.plane;
        const int64_t left = j0 * step + p.cols.low + b;  // column of x of the first element
        const int64_t size = p.pitch + p.shared;
        const int64_t first = min_of(size, left >= 0 ? 0 : ceil_div(-left, step));
        const int64_t last = max_of(first, min_of(size, left >= W ? 0 : ceil_div(W - left, step)));
        int64_t h = i0 * p.rows.step + p.rows.low + a;
        for (int64_t i = 0; i < height + p.rows.reach; ++i, y += p.pitch, h += p.rows.step) {
          if (h < 0 || h >= H) {
            fill_zero(y, size);
            continue;
          }
          const T* const from = x + (h * W + left + first * step);
          for (int64_t j = 0; j < (last - first) * step; j += 64 / sizeof(T)) __builtin_prefetch(from + H * W + j);
          fill_zero(y, first);
          copy_strided_run(from, step, y + first, last - first);
          fill_zero(y + last, size - last);
        }
      }
  }
}

}  // namespace
}  // namespace dl
