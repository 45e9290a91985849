// The weight gradient with tiles whose rows are channels read and whose vectors are channels made: the rows of every
// plane lie interleaved, a pixel's channels side by side, so that all terms of a kernel read one copy, shifted.
//   dw^T[(c, t, u), m] = sum_pixels planes[pixel + shift(t, u), c] * dy[m, pixel]
#pragma once
#include "core/parallel.h"
#include "kernels/conv/pixels.h"
#include "kernels/conv/weight_gradient.h"

namespace dl {
namespace {

constexpr int64_t kPixelsAtOnce = 224;        // of a sum at once, about: their dy takes half of the first-level cache
constexpr int64_t kInterleaved = kConvRows;   // channels of a pixel
constexpr int64_t kInterleavedPlanes = 8192;  // elements, where that leaves a row: the other half

struct PixelWeightPlan {
  bool fits;
  int64_t images, height;       // of a chunk: whole images, or rows of one
  int64_t image_blocks, bands;  // how many
  PixelLayout layout;
};

template <class T> PixelWeightPlan pixel_weight_plan(const Gather<T>& job) {
  PixelWeightPlan p{};
  const int64_t taps = job.rows.taps * job.cols.taps, H = job.rows.out, W = job.cols.out;
  if (job.M < kPixelWidth<T> || job.C == 0 || taps == 0 || taps > kPackedTaps || job.N * job.grid() == 0) return p;
  if (W > kBlockPixels || span_of(job.rows) > kPixels || span_of(job.cols) > kPixels) return p;
  const bool pointwise = taps == 1 && job.rows.step == 1 && job.cols.step == 1;
  if (pointwise && job.grid() > kPixelsAtOnce / 2) return p;  // nothing is read twice
  const auto planes = [&](int64_t height) { return padded_layout(job, height).channel * kInterleaved; };
  if (planes(1) > kPixelPlanes) return p;
  p.height = ceil_div(H, ceil_div(H, max_of(1, kPixelsAtOnce / W)));
  while (p.height > 1 && planes(p.height) > kInterleavedPlanes) p.height = ceil_div(p.height, 2);
  const int64_t most = min_of(kPixelsAtOnce / job.grid(), kInterleavedPlanes / planes(H));
  p.images = p.height < H ? 1 : max_of(1, min_of(job.N, most));
  p.layout = padded_layout(job, p.height);
  p.image_blocks = ceil_div(job.N, p.images);
  p.bands = ceil_div(H, p.height);
  p.fits = true;
  return p;
}

// planes[position * kInterleaved + r] = channel c0 + r < c1 of image n at that position; what lies outside of the image
// is left as it is.
template <class T> void interleave_rows(const Gather<T>& job, const PixelLayout& p, int64_t n, int64_t g, int64_t c0,
                                        int64_t c1, int64_t i0, T* planes) {
  using V = Lanes_t<T>;
  constexpr int L = V::size;
  const int64_t H = job.rows.in, W = job.cols.in, plane = H * W;
  const int64_t rows = p.kept();
  if (p.width <= 0) return;
  const bool together = p.width == W && p.rows_kept == job.rows.step;  // whole rows that follow one another
  const T* const x = job.x_planes(n, g) + p.left;
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t h = p.image_row(i0, r);
    if (h < 0 || h >= H) continue;
    const int64_t taken = together ? min_of(rows - r, H - h) : 1, count = taken * p.width;
    for (int64_t c = c0; c < c1; c += L) {
      const int64_t channels = min_of(L, c1 - c);
      T* to = planes + (r * p.pitch + p.first) * kInterleaved + (c - c0);
      for (int64_t j = 0, col = 0; j < count; j += L) {
        const T* const from = x + c * plane + h * W + j;
        const int64_t pixels = min_of(L, count - j);
        V square[L];
#pragma GCC unroll 16
        for (int l = 0; l < L; ++l) square[l] = l < channels ? load(from + l * plane, pixels) : broadcast(T{0});
        transpose(square);
        for (int64_t l = 0; l < pixels; ++l, to += kInterleaved) {
          store(to, square[l], channels);
          if (++col == p.width) col = 0, to += (p.pitch - p.width) * kInterleaved;
        }
      }
    }
    r += taken - 1;
  }
}

// Channels [c0, c1) read x [m0, m1) made of dw, summed over chunks [s0, s1) of pixels.
template <class T> void pixel_weight_block(const Gather<T>& job, const PixelWeightPlan& plan, const T* dy, T* dw,
                                           int64_t g, int64_t c0, int64_t c1, int64_t m0, int64_t m1, int64_t s0,
                                           int64_t s1) {
  constexpr int64_t width = kPixelWidth<T>;
  const PixelLayout& layout = plan.layout;
  const int64_t taps = job.rows.taps * job.cols.taps, K = job.depth(), W = job.cols.out;
  const int64_t sums_row = ceil_div(m1 - m0, width) * width, rows = (c1 - c0) * taps;
  T* const planes = static_cast<T*>(thread_scratch());
  T* const transposed = planes + kPixelPlanes;
  T* const sums = transposed + kWeightCols * kBlockPixels;
  int32_t at[kBlockPixels];
  if (s0 >= s1) fill_zero(sums, rows * sums_row);
  for (int64_t s = s0; s < s1; ++s) {
    const int64_t n0 = s / plan.bands * plan.images, images = min_of(plan.images, job.N - n0);
    const int64_t i0 = s % plan.bands * plan.height, height = min_of(plan.height, job.rows.out - i0);
    const int64_t count = images * height * W, p = n0 * job.grid() + i0 * W;
    for (int64_t n = 0, k = 0; n < images; ++n)
      for (int64_t i = 0; i < height; ++i)
        for (int64_t j = 0; j < W; ++j)
          at[k++] = static_cast<int32_t>((n * layout.channel + layout.place(i, j)) * kInterleaved);
    transpose_dy(job, dy, g, m0, m1, p, p + count, transposed);
    for (int64_t q = 0; q < row_panels(c1 - c0); ++q) {
      const int64_t c = c0 + panel_row(q, c1 - c0), R = c0 + panel_row(q + 1, c1 - c0) - c;
      const auto tile = pixel_tile_for<T, 1>(R, MakeInts<kConvRows>::type{});
      fill_zero(planes, images * layout.channel * kInterleaved);
      for (int64_t n = 0; n < images; ++n)
        interleave_rows(job, layout, n0 + n, g, c, c + R, i0, planes + n * layout.channel * kInterleaved);
      for (int64_t m = m0; m < m1; m += width)
        for (int64_t t = 0; t < job.rows.taps; ++t)
          for (int64_t u = 0; u < job.cols.taps; ++u) {
            const T* const a = planes + layout.shift(t, u) * kInterleaved;
            T* const to = sums + ((c - c0) * taps + t * job.cols.taps + u) * sums_row + (m - m0);
            tile(count, a, at, transposed + (m - m0) * kBlockPixels, to, taps * sums_row, s > s0);
          }
    }
  }
  store_transposed(sums, sums_row, rows, m1 - m0, dw + (g * job.M + m0) * K + c0 * taps, K);
}

template <class T>
void pixel_weight(const Gather<T>& job, const PixelWeightPlan& plan, const T* dy, T* dw, T* workspace, int64_t splits) {
  const int64_t panels = row_panels(job.C), taps = job.rows.taps * job.cols.taps;
  const int64_t row_blocks = ceil_div(panels, max_of(1, kWeightRows / (taps * kConvRows)));
  const int64_t col_blocks = ceil_div(job.M, kWeightCols), blocks = row_blocks * col_blocks;
  const int64_t chunks = plan.image_blocks * plan.bands;
  parallel_for(splits * job.G * blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t split = t / (job.G * blocks), g = t / blocks % job.G;
      const int64_t rb = t / col_blocks % row_blocks, cb = t % col_blocks;
      T* const to = splits > 1 ? workspace + split * job.G * job.M * job.depth() : dw;
      pixel_weight_block(job, plan, dy, to, g, panel_row(rb * panels / row_blocks, job.C),
                         panel_row((rb + 1) * panels / row_blocks, job.C), cb * job.M / col_blocks,
                         (cb + 1) * job.M / col_blocks, split * chunks / splits, (split + 1) * chunks / splits);
    }
  });
  if (splits > 1) add_parts(workspace, splits, job.G * job.M * job.depth(), dw);
}

}  // namespace
}  // namespace dl
