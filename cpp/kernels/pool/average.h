// Averages: sums down the window's columns first, whole rows at a time, then along its rows. Backward likewise: every
// row of dx gathers the rows of dy whose windows reach it, then spreads them along itself.
#pragma once
#include "kernels/pool/rows.h"

namespace dl {
namespace {

// y[0 .. n) = x, or += x
DL_INLINE void add_row(const float* x, float* y, int64_t n, bool first) {
  for (int64_t i = 0; i < n; i += Vec::size) {
    const int64_t lanes = min_of(Vec::size, n - i);
    store(y + i, first ? load(x + i, lanes) : load(y + i, lanes) + load(x + i, lanes), lanes);
  }
}

// The divisors of outputs [j, j + n) of a row whose windows hold `rows` rows.
DL_INLINE Vec divisors(const Pool2dShape& s, const PoolDivisor& d, int64_t rows, int64_t j, int64_t n) {
  if (d.fixed) return broadcast(static_cast<float>(d.fixed));
  const int64_t left = j * s.w.stride - s.w.pad;
  if (left >= 0 && left + (n - 1) * s.w.stride + s.w.kernel <= s.w.in)
    return broadcast(static_cast<float>(rows * s.w.kernel));
  float lane[Vec::size];
  for (int64_t l = 0; l < Vec::size; ++l)
    lane[l] = static_cast<float>(rows * pool_extent(s.w, j + min_of(l, n - 1), d.padding));
  return load(lane);
}

void avg_pool2d_forward(const float* x, float* y, const Pool2dShape* shape, const PoolDivisor* divisor) {
  const Pool2dShape& s = *shape;
  for_each_strip(s, [&](int64_t plane, int64_t oh, const Strip& strip) {
    float* const sums = static_cast<float*>(thread_scratch());
    fill(sums, 0.0f, strip.columns);
    const Taps taps = taps_inside(s.h, oh);
    for (int64_t t = taps.first; t < taps.last; ++t)
      add_row(x + (plane * s.h.in + oh * s.h.stride - s.h.pad + t) * s.w.in + strip.left + strip.first,
              sums + strip.first, strip.last - strip.first, t == taps.first);
    const int64_t rows = pool_extent(s.h, oh, divisor->padding), step = s.w.stride;
    float* const to = y + (plane * s.h.out + oh) * s.w.out;
    for (int64_t j = strip.j0; j < strip.j1; j += Vec::size) {
      const int64_t n = min_of(Vec::size, strip.j1 - j);
      Vec sum = load_strided(sums + (j - strip.j0) * step, step, n);
      for (int64_t t = 1; t < s.w.kernel; ++t) sum += load_strided(sums + (j - strip.j0) * step + t, step, n);
      store(to + j, sum / divisors(s, *divisor, rows, j, n), n);
    }
  });
}

// Outputs [first, last) of an axis whose windows reach element i.
DL_INLINE Taps windows_over(const PoolAxis& a, int64_t i) {
  const int64_t first = max_of(0, ceil_div(max_of(0, i + a.pad - a.kernel + 1), a.stride));
  return {first, max_of(first, min_of(a.out, (i + a.pad) / a.stride + 1))};
}

void avg_pool2d_backward(const float* dy, float* dx, const Pool2dShape* shape, const PoolDivisor* divisor) {
  const Pool2dShape& s = *shape;
  const int64_t W = s.w.in, strip = min_of(W, kStripColumns), strips = ceil_div(W, strip);
  const int64_t work = strip * (ceil_div(s.h.kernel, s.h.stride) + ceil_div(s.w.kernel, s.w.stride));
  parallel_for(s.planes * s.h.in * strips, max_of(1, kPoolWork / work), [&](int64_t begin, int64_t end) {
    float* const share = static_cast<float*>(thread_scratch());
    for (int64_t t = begin; t < end; ++t) {
      const int64_t plane = t / strips / s.h.in, h = t / strips % s.h.in, c0 = t % strips * strip,
                    c1 = min_of(W, c0 + strip);
      float* const to = dx + (plane * s.h.in + h) * W;
      fill(to + c0, 0.0f, c1 - c0);
      const Taps rows = windows_over(s.h, h);
      const int64_t j0 = windows_over(s.w, c0).first, j1 = windows_over(s.w, c1 - 1).last;
      if (rows.first == rows.last) continue;
      for (int64_t j = j0; j < j1; j += Vec::size) {
        const int64_t n = min_of(Vec::size, j1 - j);
        Vec sum = zero();
        for (int64_t i = rows.first; i < rows.last; ++i)
          sum += load(dy + (plane * s.h.out + i) * s.w.out + j, n) /
                 divisors(s, *divisor, pool_extent(s.h, i, divisor->padding), j, n);
        store(share + j - j0, sum, n);
      }
      for (int64_t j = j0; j < j1; ++j) {
        const int64_t left = j * s.w.stride - s.w.pad, right = min_of(c1, left + s.w.kernel);
        for (int64_t c = max_of(c0, left); c < right; ++c) to[c] += share[j - j0];
      }
    }
  });
}

// A plane with one output is one row.
DL_INLINE Pool2dShape flattened(Pool2dShape s) {
  if (s.h.out == 1 && s.w.out == 1) {
    s.w.in *= s.h.in;
    s.h.in = 1;
  }
  return s;
}

void adaptive_avg_pool2d_forward(const float* x, float* y, const Pool2dShape* shape) {
  const Pool2dShape s = flattened(*shape);
  const int64_t W = s.w.in, strip = min_of(W, kStripColumns);
  const int64_t work = W * (s.h.in / s.h.out + 2);
  parallel_for(s.planes * s.h.out, max_of(1, kPoolWork / work), [&](int64_t begin, int64_t end) {
    float* const scratch = static_cast<float*>(thread_scratch());
    for (int64_t t = begin; t < end; ++t) {
      const int64_t plane = t / s.h.out, i = t % s.h.out;
      const int64_t h0 = adaptive_begin(s.h, i), h1 = adaptive_end(s.h, i);
      float* const to = y + t * s.w.out;
      // Output j reads columns of one strip after another; its sum is kept in y meanwhile.
      fill(to, 0.0f, s.w.out);
      for (int64_t c0 = 0; c0 < W; c0 += strip) {
        const int64_t c1 = min_of(W, c0 + strip);
        const float* sums = x + (plane * s.h.in + h0) * W + c0;
        if (h1 - h0 > 1) {
          for (int64_t h = h0; h < h1; ++h) add_row(x + (plane * s.h.in + h) * W + c0, scratch, c1 - c0, h == h0);
          sums = scratch;
        }
        for (int64_t j = c0 * s.w.out / W; j < s.w.out && adaptive_begin(s.w, j) < c1; ++j) {
          const int64_t first = max_of(c0, adaptive_begin(s.w, j)), last = min_of(c1, adaptive_end(s.w, j));
          Vec sum = zero();
          for (int64_t c = first; c < last; c += Vec::size) sum += load(sums + c - c0, min_of(Vec::size, last - c));
          to[j] += reduce_add(sum);
        }
      }
      for (int64_t j = 0; j < s.w.out; ++j)
        to[j] /= static_cast<float>((h1 - h0) * (adaptive_end(s.w, j) - adaptive_begin(s.w, j)));
    }
  });
}

void adaptive_avg_pool2d_backward(const float* dy, float* dx, const Pool2dShape* shape) {
  const Pool2dShape s = flattened(*shape);
  const int64_t H = s.h.in, W = s.w.in;
  parallel_for(s.planes * H, max_of(1, kPoolWork / (W + s.w.out)), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t plane = t / H, h = t % H;
      float* const to = dx + t * W;
      fill(to, 0.0f, W);
      // The outputs whose tiles hold row h.
      const int64_t first = h * s.h.out / H, last = ceil_div((h + 1) * s.h.out, H);
      for (int64_t j = 0; j < s.w.out; ++j) {
        const int64_t c0 = adaptive_begin(s.w, j), c1 = adaptive_end(s.w, j);
        float sum = 0;
        for (int64_t i = first; i < last; ++i)
          sum += dy[(plane * s.h.out + i) * s.w.out + j] /
                 static_cast<float>((adaptive_end(s.h, i) - adaptive_begin(s.h, i)) * (c1 - c0));
        for (int64_t c = c0; c < c1; c += Vec::size) {
          const int64_t n = min_of(Vec::size, c1 - c);
          store(to + c, load(to + c, n) + broadcast(sum), n);
        }
      }
    }
  });
}

}  // namespace
}  // namespace dl
