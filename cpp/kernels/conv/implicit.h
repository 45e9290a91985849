// Implicit GEMM: the weights times the unfolded input, which is made panel by panel and used while it is in the cache.
#pragma once
#include "core/parallel.h"
#include "kernels/conv/tile.h"
#include "kernels/conv/unfold.h"

namespace dl {
namespace {

constexpr int64_t kBlockMade = 504;      // channels of a block: 36 row panels
constexpr int64_t kStepDepth = 256;      // a panel of 256 terms x 32 pixels takes 32 KiB: the first-level cache
constexpr int64_t kInPlacePixels = 128;  // up to here the weights are used too seldom to reorder them

// c = the sums (and the bias) of row panels [q0, q1) for the `pixels` of the block that `unfolder` was started on.
template <class T> void implicit_sums(const Gather<T>& job, Unfolder<T>& unfolder, int64_t q0, int64_t q1,
                                      int64_t pixels, T* c, int64_t c_row, T* panel, const int32_t* at) {
  constexpr int L = Lanes_t<T>::size;
  constexpr int64_t width = kConvVectors * L;
  const int64_t K = job.depth(), r0 = panel_row(q0, job.M), g = unfolder.g;
  if (job.b || K == 0)
    for (int64_t r = r0; r < panel_row(q1, job.M); ++r) {
      const T start = job.b ? job.b[g * job.M + r] : T{0};
      for (int64_t j = 0; j < pixels; ++j) c[(r - r0) * c_row + j] = start;
    }
  const auto step = [&](int64_t k, int64_t depth) {
    const bool add = job.b || k > 0;
    for (int64_t j = 0; j < pixels; j += width) {
      const int64_t n = min_of(width, pixels - j);
      const int vectors = n <= L ? 1 : 2;
      if (n < vectors * L) fill_zero(panel, depth * width);  // idle lanes hold numbers that cost no time
      unfolder.panel(k, k + depth, j, n, panel, width);
      for (int64_t q = q0; q < q1; ++q) {
        const int64_t r = panel_row(q, job.M), R = panel_row(q + 1, job.M) - r;
        T* to = c + (r - r0) * c_row + j;
        if (job.weights) {
          const T* a = job.weights + (g * job.M + r) * K + k * R;
          packed_conv_tile_for<T>(R, vectors)(depth, a, panel, at, to, c_row, n, add);
        } else {
          const T* a = job.w + g * job.w_g + r * job.w_m + k;
          conv_tile_for<T>(R, vectors)(depth, a, job.w_m, 1, panel, at, to, c_row, n, add);
        }
      }
    }
  };
  if (K == 0) return;
  for (int64_t channel = 0; channel < job.C; channel += unfolder.channels) {
    unfolder.load_channels(channel);
    const int64_t k1 = min_of(K, (channel + unfolder.channels) * unfolder.taps);
    for (int64_t k = channel * unfolder.taps; k < k1; k += kStepDepth) step(k, min_of(kStepDepth, k1 - k));
  }
}

// Writes sums of runs of pixels to where they belong in y.
template <class T> void scatter_runs(const Gather<T>& job, int64_t g, int64_t r0, int64_t r1, const Run* runs,
                                     int64_t run_count, const T* c, int64_t c_row) {
  const int64_t plane = job.rows.y_size * job.cols.y_size, step = job.cols.y_step;
  for (int64_t i = 0; i < run_count; ++i) {
    const Run& run = runs[i];
    T* y = job.y_planes(run.n, g) + r0 * plane + (job.rows.y_first + run.i * job.rows.y_step) * job.cols.y_size +
           job.cols.y_first + run.j * step;
    const T* from = c + run.at;
    for (int64_t r = r0; r < r1; ++r, y += plane, from += c_row) {
      if (step == 1) copy_strided_run(from, 1, y, run.count);
      else
        for (int64_t l = 0; l < run.count; ++l) y[l * step] = from[l];
    }
  }
}

// Few pixels and many channels: the channels are cut too, as long as a block unfolds for 112 rows or more.
template <class T> int64_t row_blocks_of(const Gather<T>& job, int64_t chunks) {
  const int64_t want = ceil_div(blocks_of_work(job), job.G * chunks);
  return max_of(ceil_div(job.M, kBlockMade), min_of(want, job.M / 112));
}

template <class T> void implicit_gemm(Gather<T> job) {
  const Chunks chunks = chunks_of(job);
  if (job.G * job.M * chunks.count == 0) return;
  if (job.depth_first && job.N * job.grid() <= kInPlacePixels) job.weights = nullptr;
  else pack_weights(job);
  const int64_t row_blocks = row_blocks_of(job, chunks.count), panels = row_panels(job.M);
  const double work =
      static_cast<double>(chunks.pixels * ceil_div(job.M, row_blocks)) * static_cast<double>(job.depth() + 1);
  const int64_t grain = static_cast<int64_t>(kConvBlockWork / work);
  const bool flat = job.rows.y_step == 1 && job.cols.y_step == 1;
  const int64_t plane = job.rows.y_size * job.cols.y_size;
  parallel_for(job.G * chunks.count * row_blocks, max_of(1, grain), [&](int64_t begin, int64_t end) {
    constexpr int64_t width = kConvVectors * Lanes_t<T>::size;
    T* const panel = static_cast<T*>(thread_scratch());
    T* const sums = panel + kStepDepth * width;
    Unfolder<T> unfolder(job, kStepDepth, sums + (kBlockMade + kConvRows) * kBlockPixels);
    int32_t at[kStepDepth];
    for (int64_t k = 0; k < kStepDepth; ++k) at[k] = static_cast<int32_t>(k * width);
    for (int64_t t = begin; t < end; ++t) {
      const int64_t g = t / (chunks.count * row_blocks), chunk = t / row_blocks % chunks.count, rb = t % row_blocks;
      const int64_t q0 = rb * panels / row_blocks, q1 = (rb + 1) * panels / row_blocks;
      const int64_t p0 = chunks.begin(chunk), pixels = chunks.end(chunk) - p0;
      unfolder.start(g, p0, p0 + pixels);
      const Run &first = unfolder.runs[0], &last = unfolder.runs[unfolder.run_count - 1];
      const int64_t r0 = panel_row(q0, job.M), r1 = panel_row(q1, job.M);
      if (flat && first.n == last.n) {
        T* y = job.y_planes(first.n, g) + r0 * plane + first.i * job.cols.out + first.j;
        implicit_sums(job, unfolder, q0, q1, pixels, y, plane, panel, at);
      } else {
        implicit_sums(job, unfolder, q0, q1, pixels, sums, kBlockPixels, panel, at);
        scatter_runs(job, g, r0, r1, unfolder.runs, unfolder.run_count, sums, kBlockPixels);
      }
    }
  });
}

}  // namespace
}  // namespace dl
