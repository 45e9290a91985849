// The largest of each window, and the way back to it.
#pragma once
#include "kernels/pool/rows.h"

namespace dl {
namespace {

constexpr float kLowest = -__builtin_inff();

DL_INLINE void max_pool2d_strip(const float* x, float* y, const Pool2dShape& s, int64_t oh, const Strip& strip) {
  // Largest down the window's columns first, whole rows at a time, then along its rows.
  float* const value = static_cast<float*>(thread_scratch());
  const Taps taps = taps_inside(s.h, oh);
  const int64_t first = taps.first < taps.last ? strip.first : strip.columns;
  const int64_t last = taps.first < taps.last ? strip.last : strip.columns;
  fill(value, kLowest, first);
  fill(value + last, kLowest, strip.columns - last);
  const int64_t top = oh * s.h.stride - s.h.pad;
  for (int64_t c = first; c < last; c += Vec::size) {
    const int64_t n = min_of(Vec::size, last - c);
    const float* from = x + (top + taps.first * s.h.dilation) * s.w.in + strip.left + c;
    Vec best = load(from, n);
    for (int64_t t = taps.first + 1; t < taps.last; ++t) best = max(best, load(from += s.h.dilation * s.w.in, n));
    store(value + c, best, n);
  }
  const int64_t step = s.w.stride, count = strip.j1 - strip.j0;
  for (int64_t j = 0; j < count; j += Vec::size) {
    const int64_t n = min_of(Vec::size, count - j);
    const float* from = value + j * step;
    Vec best = load_strided(from, step, n);
    for (int64_t t = 1; t < s.w.kernel; ++t) best = max(best, load_strided(from += s.w.dilation, step, n));
    store(y + strip.j0 + j, best, n);
  }
}

// n neighbouring windows whose columns all lie inside: the largest, and their places relative to the windows' corners.
// Row by row, so that the first of equal elements stays. KW and S: the kernel's width and stride, or 0 if they are not
// known before. from: the first window's first tap inside.
template <int KW, int S> DL_INLINE void max_of_windows(const float* from, const Pool2dShape& s, const Taps& rows,
                                                       int64_t n, float* y, int32_t* places) {
  const int64_t width = KW ? KW : s.w.kernel, step = S ? S : s.w.stride, down = s.h.dilation * s.w.in;
  const VecI next = broadcast(static_cast<int32_t>(s.w.dilation));
  Vec best = broadcast(kLowest);
  VecI place = broadcast(static_cast<int32_t>(rows.first * down));
  for (int64_t t = rows.first; t < rows.last; ++t, from += down) {
    VecI at = broadcast(static_cast<int32_t>(t * down));
#pragma GCC unroll 3
    for (int64_t u = 0; u < width; ++u, at = at + next) {
      const Vec v = load_strided(from + u * s.w.dilation, step, n);
      const Mask take = !(le(v, best) | isnan(best));
      best = select(take, v, best);
      place = select(take, at, place);
    }
  }
  store(y, best, n);
  store(places, place);
}

// One window, wherever it lies.
DL_INLINE void max_of_window(const float* x, const Pool2dShape& s, int64_t oh, int64_t j, float* y, int64_t* index) {
  const Taps rows = taps_inside(s.h, oh), cols = taps_inside(s.w, j);
  const int64_t corner = (oh * s.h.stride - s.h.pad) * s.w.in + j * s.w.stride - s.w.pad;
  float best = kLowest;
  int64_t at = -1;
  for (int64_t t = rows.first; t < rows.last; ++t)
    for (int64_t u = cols.first; u < cols.last; ++u) {
      const int64_t place = corner + t * s.h.dilation * s.w.in + u * s.w.dilation;
      if (at >= 0 && (x[place] <= best || best != best)) continue;
      best = x[place];
      at = place;
    }
  *y = best;
  *index = at;
}

template <int KW, int S>
void max_pool2d_row(const float* x, float* y, int64_t* index, Pool2dShape s, int64_t oh, int64_t j0, int64_t j1) {
  const Taps rows = taps_inside(s.h, oh);
  const int64_t step = S ? S : s.w.stride, span = (s.w.kernel - 1) * s.w.dilation + 1;
  const int64_t corner = (oh * s.h.stride - s.h.pad) * s.w.in - s.w.pad;
  // Outputs [first, last) lie inside, between the sides.
  const int64_t fitting = rows.first < rows.last ? s.w.in + s.w.pad - span : -1;
  const int64_t first = min_of(j1, max_of(j0, ceil_div(s.w.pad, step)));
  const int64_t last = max_of(first, min_of(j1, fitting < 0 ? 0 : fitting / step + 1));
  for (int64_t j = j0; j < first; ++j) max_of_window(x, s, oh, j, y + j, index + j);
  for (int64_t j = last; j < j1; ++j) max_of_window(x, s, oh, j, y + j, index + j);
  for (int64_t j = first; j < last; j += Vec::size) {
    if (last - first >= Vec::size) j = min_of(j, last - Vec::size);  // whole vectors, the last over some again
    const int64_t n = min_of(Vec::size, last - j), begin = corner + j * step;
    const float* const from = x + begin + rows.first * s.h.dilation * s.w.in;
    int32_t places[Vec::size];
    if (n == Vec::size) max_of_windows<KW, S>(from, s, rows, Vec::size, y + j, places);
    else max_of_windows<KW, S>(from, s, rows, n, y + j, places);
    for (int64_t l = 0; l < n; ++l) index[j + l] = begin + l * step + places[l];
  }
}

void max_pool2d_forward(const float* x, float* y, int64_t* index, const Pool2dShape* shape) {
  const Pool2dShape s = *shape;  // a copy: stores of places cannot change it
  const auto row = s.w.stride != 2   ? max_pool2d_row<0, 0>
                   : s.w.kernel == 2 ? max_pool2d_row<2, 2>
                   : s.w.kernel == 3 ? max_pool2d_row<3, 2>
                                     : max_pool2d_row<0, 2>;
  for_each_strip(s, [&](int64_t plane, int64_t oh, const Strip& strip) {
    const int64_t out = (plane * s.h.out + oh) * s.w.out;
    const float* const from = x + plane * s.h.in * s.w.in;
    if (index) row(from, y + out, index + out, s, oh, strip.j0, strip.j1);
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
