// The form that the convolution and its input gradient share: every pixel made gathers what it needs.
//
//   y[n, g, m, pixel (i, j)] = sum_{c, t, u} w[g, m, c, t, u] * x[n, g, c, h.at(i, t), w.at(j, u)]
//
// The input gradient of a strided convolution falls apart into stride_h x stride_w such sums, one for each residue of
// the row and column of dx: those taps of the kernel that reach the residue, on a grid of every stride-th pixel.
#pragma once
#include "core/parallel.h"
#include "kernels/conv/conv.h"
#include "kernels/conv/tile.h"
#include "kernels/matmul/pack.h"

namespace dl {
namespace {

// One direction, rows or columns.
struct Axis {
  int64_t in;            // size of the plane that is read
  int64_t out;           // size of the grid of pixels made
  int64_t step, offset;  // pixel p and tap t read at p * step + offset + t * tap_step
  int64_t taps, tap_step;
  int64_t first, kernel_step;       // tap t is the kernel's row (column) first + t * kernel_step
  int64_t y_size, y_first, y_step;  // pixel p lies at y_first + p * y_step of the plane that is written
};

template <class T> struct Gather {
  const T* x;
  const T* w;
  const T* b;  // or null
  T* y;
  T* weights;          // reordered: panels of tile rows, see pack_weights; null: w is read in place
  int64_t N, G, C, M;  // images; groups; channels that a group reads and makes
  Axis rows, cols;
  int64_t KW, w_g, w_m, w_c;    // w: size of a kernel row; steps between groups, channels made and channels read
  bool depth_first;             // the terms of one m are neighbours in w, as they are forward
  const T* residual = nullptr;  // of y's shape, added to what is stored, which relu then cuts off below 0
  bool relu = false;
  const T* packed = nullptr;  // w in panels of pixel tiles, or null: see pack_pixel_panels
  int64_t depth() const { return C * rows.taps * cols.taps; }
  int64_t grid() const { return rows.out * cols.out; }
  const T* x_planes(int64_t n, int64_t g) const { return x + (n * G + g) * C * rows.in * cols.in; }
  T* y_planes(int64_t n, int64_t g) const { return y + (n * G + g) * M * rows.y_size * cols.y_size; }
};

DL_INLINE Axis forward_axis(int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t pad, int64_t dilation) {
  return {in, out, stride, -pad, kernel, dilation, 0, 1, out, 0, 1};
}

// Residue r of dx along one direction, 0 <= r < min(stride, size of dx).
DL_INLINE Axis gradient_axis(int64_t dx, int64_t dy, int64_t kernel, int64_t stride, int64_t pad, int64_t dilation,
                             int64_t r) {
  int64_t gcd = stride;
  for (int64_t rest = dilation; rest != 0;) {
    const int64_t next = gcd % rest;
    gcd = rest;
    rest = next;
  }
  const int64_t step = stride / gcd;  // between the taps that reach the residue
  int64_t first = 0;
  while (first < kernel && first < step && (r + pad - first * dilation) % stride) ++first;
  const int64_t taps = first < kernel && first < step ? ceil_div(kernel - first, step) : 0;
  const int64_t offset = taps ? (r + pad - first * dilation) / stride : 0;
  return {dy, ceil_div(dx - r, stride), 1, offset, taps, -step * dilation / stride, first, step, dx, r, stride};
}

template <class T>
Gather<T> forward_gather(const T* x, const T* w, const T* b, T* y, T* weights, const Conv2dShape& s) {
  const int64_t C = s.C / s.groups, M = s.O / s.groups, taps = s.KH * s.KW;
  return {x,
          w,
          b,
          y,
          weights,
          s.N,
          s.groups,
          C,
          M,
          forward_axis(s.H, s.OH, s.KH, s.stride_h, s.pad_h, s.dilation_h),
          forward_axis(s.W, s.OW, s.KW, s.stride_w, s.pad_w, s.dilation_w),
          s.KW,
          M * C * taps,
          C * taps,
          taps,
          true};
}

template <class T> Gather<T> gradient_gather(const T* dy, const T* w, const T* b, T* dx, T* weights,
                                             const Conv2dShape& s, int64_t row_residue, int64_t col_residue) {
  const int64_t C = s.C / s.groups, M = s.O / s.groups, taps = s.KH * s.KW;
  return {dy,
          w,
          b,
          dx,
          weights,
          s.N,
          s.groups,
          M,
          C,
          gradient_axis(s.H, s.OH, s.KH, s.stride_h, s.pad_h, s.dilation_h, row_residue),
          gradient_axis(s.W, s.OW, s.KW, s.stride_w, s.pad_w, s.dilation_w, col_residue),
          s.KW,
          M * C * taps,
          taps,
          C * taps,
          false};
}

// A pointwise convolution sees every plane as one row.
template <class T> void flatten_pointwise(Gather<T>& job) {
  const auto plain = [](const Axis& a) {
    return a.taps == 1 && a.step == 1 && a.offset == 0 && a.in == a.out && a.y_step == 1;
  };
  if (!plain(job.rows) || !plain(job.cols)) return;
  job.cols.in = job.cols.out = job.cols.y_size = job.rows.out * job.cols.out;
  job.rows.in = job.rows.out = job.rows.y_size = 1;
}

// Row panel q of M rows: panels of at most kConvRows rows, as even as can be (16 rows are 8 + 8, not 14 + 2).
DL_INLINE int64_t row_panels(int64_t M) { return ceil_div(M, kConvRows); }
DL_INLINE int64_t panel_row(int64_t q, int64_t M) { return q * M / row_panels(M); }

// panel[(k - k0) * step + r] = w[g, r0 + r, k] for R rows and the terms k = (c, t, u) of [k0, k1); 0 for R <= r < step.
template <class T> void pack_panel(const Gather<T>& job, int64_t g, int64_t r0, int64_t R, int64_t k0, int64_t k1,
                                   T* panel, int64_t step) {
  using V = Lanes_t<T>;
  constexpr int L = V::size;
  const T* const w = job.w + g * job.w_g + r0 * job.w_m;
  if (job.depth_first) {  // transpose squares
    for (int64_t i = 0; i < step; i += L)
      for (int64_t k = k0; k < k1; k += L) {
        const int64_t depth = min_of(L, k1 - k), present = R - i, kept = min_of(L, step - i);
        V square[L];
#pragma GCC unroll 16
        for (int r = 0; r < L; ++r) square[r] = r < present ? load(w + (i + r) * job.w_m + k, depth) : broadcast(T{0});
        transpose(square);
        for (int d = 0; d < depth; ++d) store(panel + (k - k0 + d) * step + i, square[d], kept);
      }
    return;
  }
  const int64_t TW = job.cols.taps, taps = job.rows.taps * TW;
  for (int64_t k = k0; k < k1; ++k, panel += step) {
    const T* const from = w + k / taps * job.w_c + (job.rows.first + k % taps / TW * job.rows.kernel_step) * job.KW +
                          job.cols.first + k % TW * job.cols.kernel_step;
    for (int64_t r = 0; r < R; ++r) panel[r] = from[r * job.w_m];
    for (int64_t r = R; r < step; ++r) panel[r] = T{0};
  }
}

// weights[g * M * depth + r0 * depth + k * R + r] = w[g, r0 + r, k], for the panel of rows [r0, r0 + R).
template <class T> void pack_weights(const Gather<T>& job) {
  const int64_t panels = row_panels(job.M), K = job.depth();
  parallel_for(job.G * panels, max_of(1, 65536 / max_of(1, kConvRows * K)), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t g = t / panels, r0 = panel_row(t % panels, job.M);
      const int64_t R = panel_row(t % panels + 1, job.M) - r0;
      pack_panel(job, g, r0, R, 0, K, job.weights + (g * job.M + r0) * K, R);
    }
  });
}

// Blocks that the work is worth, so that several threads get some: by the shape alone, as all that is cut.
template <class T> int64_t blocks_of_work(const Gather<T>& job) {
  const double work = static_cast<double>(job.G * job.M) * static_cast<double>(job.N * job.grid()) *
                      static_cast<double>(job.depth()) / kConvBlockWork;
  return work < 16 ? static_cast<int64_t>(work) : 16;
}

// The pixels of all images, counted through, in chunks of at most kBlockPixels. A chunk lies within a row of the grid
// where rows are long, within an image where images are large, and spans images where they are small.
struct Chunks {
  int64_t unit, pixels, per_unit, count;
  int64_t begin(int64_t i) const { return i / per_unit * unit + i % per_unit * pixels; }
  int64_t end(int64_t i) const { return min_of(begin(i) + pixels, (i / per_unit + 1) * unit); }
};

template <class T> Chunks chunks_of(const Gather<T>& job) {
  Chunks c{0, 0, 0, 0};
  const int64_t all = job.N * job.grid();
  if (all == 0) return c;
  c.unit = job.cols.out >= kBlockPixels ? job.cols.out : job.grid() >= kBlockPixels / 2 ? job.grid() : all;
  c.pixels = ceil_div(ceil_div(c.unit, ceil_div(c.unit, kBlockPixels)), 32) * 32;
  c.per_unit = ceil_div(c.unit, c.pixels);
  c.count = all / c.unit * c.per_unit;
  return c;
}

// Pixels that lie side by side in one row of the grid, and their place in a panel.
struct Run {
  int64_t n, i, j;  // image; row and first column of the grid
  int64_t at, count;
};

// Cuts the pixels [begin, end), counted over all images, into runs; returns their number, at most end - begin.
template <class T> int64_t runs_of(const Gather<T>& job, int64_t begin, int64_t end, Run* runs) {
  int64_t count = 0;
  for (int64_t p = begin; p < end;) {
    const int64_t j = p % job.cols.out, row = p / job.cols.out;
    const int64_t n = min_of(job.cols.out - j, end - p);
    runs[count++] = {row / job.rows.out, row % job.rows.out, j, p - begin, n};
    p += n;
  }
  return count;
}

// dw = the sum of its parts, in order.
template <class T> void add_parts(const T* parts, int64_t splits, int64_t size, T* dw) {
  using V = Lanes_t<T>;
  parallel_for(size, max_of(1024, 65536 / splits), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += V::size) {
      const int64_t n = min_of(V::size, end - i);
      V sum = load(parts + i, n);
      for (int64_t s = 1; s < splits; ++s) sum = sum + load(parts + s * size + i, n);
      store(dw + i, sum, n);
    }
  });
}

}  // namespace
}  // namespace dl
