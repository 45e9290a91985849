// The weight gradient as a product of the unfolded input and dy, both made chunk by chunk of pixels:
//   dw^T[(c, t, u), m] = sum_pixels unfolded[(c, t, u), pixel] * dy[m, pixel]
// One block owns a rectangle of dw and a part of the pixels, and adds their chunks in order.
#pragma once
#include "core/parallel.h"
#include "kernels/conv/tile.h"
#include "kernels/conv/unfold.h"

namespace dl {
namespace {

constexpr int64_t kUnfoldedRows = 168, kUnfoldedCols = 256;  // of a block

// panels[j][at + pixel][lane] = dy[channel m0 + j * width + lane, pixel], for the pixels [begin, end) over all images.
template <class T> void transpose_dy(const Gather<T>& job, const T* dy, int64_t g, int64_t m0, int64_t m1,
                                     int64_t begin, int64_t end, T* panels) {
  constexpr int64_t width = kConvVectors * Lanes_t<T>::size;
  const int64_t grid = job.grid();
  for (int64_t p = begin; p < end;) {
    const int64_t n = p / grid, i = p % grid, count = min_of(grid - i, end - p);
    const T* plane = dy + (n * job.G + g) * job.M * grid + i;
    for (int64_t m = m0; m < m1; m += width)
      pack(plane + m * grid, grid, int64_t{1}, min_of(width, m1 - m), count,
           panels + (m - m0) * kBlockPixels + (p - begin) * width, width);
    p += count;
  }
}

// dw[m, k] = sums[k - k0, m - m0].
template <class T>
void store_transposed(const T* sums, int64_t sums_row, int64_t rows, int64_t cols, T* dw, int64_t dw_row) {
  using V = Lanes_t<T>;
  constexpr int L = V::size;
  for (int64_t k = 0; k < rows; k += L)
    for (int64_t m = 0; m < cols; m += L) {
      const int64_t height = min_of(L, rows - k), n = min_of(L, cols - m);
      V square[L];
#pragma GCC unroll 16
      for (int r = 0; r < L; ++r) square[r] = r < height ? load(sums + (k + r) * sums_row + m) : broadcast(T{0});
      transpose(square);
      for (int r = 0; r < n; ++r) store(dw + (m + r) * dw_row + k, square[r], height);
    }
}

// Terms [k0, k1) x channels [m0, m1) of dw, summed over chunks [s0, s1) of pixels.
template <class T> void weight_block(const Gather<T>& job, const Chunks& chunks, Unfolder<T>& unfolder, const T* dy,
                                     T* dw, T* scratch, int64_t g, int64_t k0, int64_t k1, int64_t m0, int64_t m1,
                                     int64_t s0, int64_t s1) {
  constexpr int L = Lanes_t<T>::size;
  constexpr int64_t width = kConvVectors * L, sums_row = kUnfoldedCols;
  const int64_t K = job.depth(), rows = k1 - k0;
  T* const sums = scratch;                                        // [rows][kUnfoldedCols]
  T* const unfolded = sums + kUnfoldedRows * sums_row;            // [rows][kBlockPixels]
  T* const transposed = unfolded + kUnfoldedRows * kBlockPixels;  // panels of [kBlockPixels][width]
  fill_zero(sums, rows * sums_row);
  for (int64_t s = s0; s < s1; ++s) {
    const int64_t p = chunks.begin(s), count = chunks.end(s) - p;
    transpose_dy(job, dy, g, m0, m1, p, p + count, transposed);
    unfolder.start(g, p, p + count);
    unfolder.unfold(k0, k1, count, unfolded);
    for (int64_t m = m0; m < m1; m += width) {
      const int vectors = m1 - m <= L ? 1 : 2;
      const T* panel = transposed + (m - m0) * kBlockPixels;
      for (int64_t q = 0; q < row_panels(rows); ++q) {
        const int64_t r = panel_row(q, rows), R = panel_row(q + 1, rows) - r;
        pixels_tile_for<T>(R, vectors)(count, unfolded + r * kBlockPixels, panel, sums + r * sums_row + (m - m0),
                                       sums_row, int64_t{vectors} * L, true);
      }
    }
  }
  store_transposed(sums, sums_row, rows, m1 - m0, dw + (g * job.M + m0) * K + k0, K);
}

template <class T> void weight_gemm(const Gather<T>& job, const T* dy, T* dw, T* workspace, int64_t splits) {
  const Chunks chunks = chunks_of(job);
  const int64_t K = job.depth(), row_blocks = ceil_div(K, kUnfoldedRows), col_blocks = ceil_div(job.M, kUnfoldedCols);
  const int64_t blocks = row_blocks * col_blocks;
  if (job.G * blocks == 0) return;
  const double work = static_cast<double>(job.N * job.grid()) / static_cast<double>(splits) *
                      static_cast<double>(ceil_div(K, row_blocks) * ceil_div(job.M, col_blocks));
  const int64_t grain = static_cast<int64_t>(kConvBlockWork / (work + 256));
  parallel_for(splits * job.G * blocks, max_of(1, grain), [&](int64_t begin, int64_t end) {
    T* const scratch = static_cast<T*>(thread_scratch());
    Unfolder<T> unfolder(job, kUnfoldedRows,
                         scratch + kUnfoldedRows * (kUnfoldedCols + kBlockPixels) + kBlockPixels * kUnfoldedCols);
    for (int64_t t = begin; t < end; ++t) {
      const int64_t split = t / (job.G * blocks), g = t / blocks % job.G;
      const int64_t rb = t / col_blocks % row_blocks, cb = t % col_blocks;
      T* to = splits > 1 ? workspace + split * job.G * job.M * K : dw;
      weight_block(job, chunks, unfolder, dy, to, scratch, g, rb * K / row_blocks, (rb + 1) * K / row_blocks,
                   cb * job.M / col_blocks, (cb + 1) * job.M / col_blocks, split * chunks.count / splits,
                   (split + 1) * chunks.count / splits);
    }
  });
  if (splits > 1) add_parts(workspace, splits, job.G * job.M * K, dw);
}

}  // namespace
}  // namespace dl
