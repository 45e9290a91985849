// Tiles whose rows are pixels and whose vectors are channels made. Neighbours in a row of the grid find a term of their
// sums next to each other in a padded plane, where the tile reads them one by one: nothing is unfolded, and images of
// any size fill the vectors. The sums of a block lie [pixel][channel]; they are transposed on their way to y.
#pragma once
#include "core/parallel.h"
#include "kernels/conv/planes.h"
#include "kernels/conv/strided.h"
#include "kernels/conv/tile.h"
#include "kernels/matmul/epilogue.h"

namespace dl {
namespace {

constexpr int64_t kPixels = 1024;         // of a block at most, and of a row
constexpr int64_t kPixelSums = 65536;     // of a block, about: they stay in the second-level cache
constexpr int64_t kPixelPlanes = 131072;  // elements of a block's planes
constexpr int64_t kPixelsInPlace = 1024;  // of a plane at most: the same pixel of larger ones meets in the cache's sets

template <class T> constexpr int64_t kPixelWidth = kConvVectors * Lanes_t<T>::size;  // channels of a tile

// Where the terms of a sum lie: in x itself where nothing is padded, else in padded copies of the rows that are read.
struct PixelLayout {
  bool in_place;
  Residues rows, cols;
  int64_t rows_kept;           // for a row of the grid
  int64_t pitch, channel;      // steps between rows and channels
  int64_t first, left, width;  // of a row: its first element of the image, that one's column, how many there are
  int64_t kept() const { return channel / pitch; }
  // The row of the image that is kept as number r for rows of the grid from i on.
  int64_t image_row(int64_t i, int64_t r) const {
    return i * rows.step + rows.low + r / rows_kept * rows.step + r % rows_kept;
  }
  // Where pixel (i, j) finds its first term, and tap (t, u) from there.
  int64_t place(int64_t i, int64_t j) const { return i * rows_kept * pitch + j * cols.step; }
  int64_t shift(int64_t t, int64_t u) const { return rows.distance(t) * pitch + cols.distance(u); }
};

template <class T> PixelLayout padded_layout(const Gather<T>& job, int64_t height) {
  PixelLayout p{false, residues_of(job.rows), residues_of(job.cols), 0, 0, 0, 0, 0, 0};
  const int64_t span = span_of(job.rows) + 1;
  p.rows_kept = min_of(job.rows.step, span);
  p.pitch = (job.cols.out - 1) * job.cols.step + span_of(job.cols) + 1;
  p.channel = ((height - 1) * p.rows_kept + span) * p.pitch;
  p.first = max_of(0, -p.cols.low);
  p.left = p.cols.low + p.first;
  p.width = min_of(p.pitch - p.first, job.cols.in - p.left);
  return p;
}

template <class T> PixelLayout pixel_layout(const Gather<T>& job, int64_t height) {
  PixelLayout p = padded_layout(job, height);
  const auto inside = [](const Axis& a, const Residues& r) {
    return r.low >= 0 && r.low + (a.out - 1) * a.step + span_of(a) < a.in;
  };
  if (inside(job.rows, p.rows) && inside(job.cols, p.cols) && job.rows.in * job.cols.in <= kPixelsInPlace) {
    p.in_place = true;
    p.rows_kept = job.rows.step, p.pitch = job.cols.in, p.channel = job.rows.in * job.cols.in;
  }
  return p;
}

struct PixelPlan {
  bool fits;
  int64_t channels;             // read at once
  int64_t images, height;       // of a block: whole images, or rows of one
  int64_t image_blocks, bands;  // how many
  int64_t parts;                // of the channels made
  PixelLayout layout;
};

template <class T> PixelPlan pixel_plan(const Gather<T>& job) {
  PixelPlan p{};
  const int64_t taps = job.rows.taps * job.cols.taps, grid = job.grid(), H = job.rows.out, W = job.cols.out;
  if (job.M < kPixelWidth<T> || job.C == 0 || taps == 0 || taps > kPackedTaps || job.N * grid == 0) return p;
  if (job.cols.step > 2 || W > kPixels || span_of(job.rows) > kPixels || span_of(job.cols) > kPixels) return p;
  const bool pointwise = taps == 1 && job.rows.step == 1 && job.cols.step == 1;
  if (pointwise && (grid > kPointwisePixels || job.C < kPointwiseDepth)) return p;
  p.channels = ceil_div(job.C, ceil_div(job.C, kPackedTaps / taps));
  const auto planes = [&](int64_t height) {
    const PixelLayout layout = pixel_layout(job, height);
    return layout.in_place ? 1 : p.channels * layout.channel;
  };
  if (planes(1) > kPixelPlanes) return p;
  // More parts fill the planes more often, fewer leave fewer pixels to a block and read the weights more often.
  p.parts = max_of(1, job.M * job.rows.taps / (256 * job.cols.step));
  const int64_t pixels = min_of(kPixels, kPixelSums * p.parts / job.M);
  p.height = ceil_div(H, ceil_div(H, max_of(1, pixels / W)));
  while (planes(p.height) > kPixelPlanes) p.height = ceil_div(p.height, 2);
  p.images = p.height < H ? 1 : max_of(1, min_of(min_of(job.N, pixels / grid), kPixelPlanes / planes(H)));
  p.image_blocks = ceil_div(job.N, p.images);
  p.bands = ceil_div(H, p.height);
  p.parts = max_of(p.parts, blocks_of_work(job) / (p.image_blocks * p.bands * job.G));
  p.parts = min_of(p.parts, max_of(1, job.M / 64));
  p.layout = pixel_layout(job, p.height);
  p.fits = true;
  return p;
}

// The rows that a block reads, for channels [c0, c1) of an image. What lies outside of the image is left as it is.
template <class T> void fill_rows(const Gather<T>& job, const PixelLayout& p, int64_t n, int64_t g, int64_t c0,
                                  int64_t c1, int64_t i0, T* planes) {
  const int64_t H = job.rows.in, W = job.cols.in;
  if (p.width <= 0) return;
  for (int64_t c = c0; c < c1; ++c, planes += p.channel) {
    const T* const x = job.x_planes(n, g) + c * H * W + p.left;
    for (int64_t r = 0; r < p.kept(); ++r) {
      const int64_t h = p.image_row(i0, r);
      if (h >= 0 && h < H) copy_strided_run(x + h * W, 1, planes + r * p.pitch + p.first, p.width);
    }
  }
}

// c[r, :] (+)= sum_k a[at[k] + r * step] * b[k, :] for R pixels, where b is a panel of kPixelWidth columns.
template <class T, int R, int step>
void pixel_tile(int64_t K, const T* a, const int32_t* at, const T* b, T* c, int64_t c_row, bool add) {
  Tile<T, T, T, R, kConvVectors> tile;
  tile.last = Lanes_t<T>::size;
  tile.clear();
  const auto term = [&](int u) __attribute__((always_inline)) {
    asm("" : "+r"(at), "+r"(b));  // see packed_tile
    const T* pixels = a + at[u];
    asm("" : "+r"(pixels));
    tile.template step<true, true>([&](int r) __attribute__((always_inline)) { return pixels + r * step; },
                                   b + u * int{kPixelWidth<T>});
  };
#pragma GCC unroll 1
  for (; K >= 4; K -= 4, at += 4, b += 4 * kPixelWidth<T>) term(0), term(1), term(2), term(3);
#pragma GCC unroll 1
  for (; K > 0; --K, ++at, b += kPixelWidth<T>) term(0);
  tile.finish(c, c_row, kPixelWidth<T>, add);
}

template <class T>
using PixelTileFn = void (*)(int64_t K, const T* a, const int32_t* at, const T* b, T* c, int64_t c_row, bool add);

template <class T, int step, int... I> DL_INLINE PixelTileFn<T> pixel_tile_for(int64_t rows, Ints<I...>) {
  static constexpr PixelTileFn<T> by_rows[] = {pixel_tile<T, I + 1, step>...};
  return by_rows[rows - 1];
}

// A tile of a block: its pixels lie from element `at` of the planes on.
template <class T> struct PixelRun {
  PixelTileFn<T> tile;
  int64_t at, count;
};

// The tiles of `images` x `rows` rows of the grid, in order; returns their number, at most that of the pixels.
template <class T>
int64_t pixel_runs_of(const Gather<T>& job, const PixelPlan& plan, int64_t images, int64_t rows, PixelRun<T>* runs) {
  const PixelLayout& p = plan.layout;
  const int64_t W = job.cols.out, cuts = ceil_div(W, kConvRows),
                image = (p.in_place ? job.G * job.C : plan.channels) * p.channel;
  int64_t count = 0;
  for (int64_t n = 0; n < images; ++n)
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t cut = 0; cut < cuts; ++cut) {
        constexpr MakeInts<kConvRows>::type heights;
        const int64_t j = cut * W / cuts, R = (cut + 1) * W / cuts - j;
        runs[count++] = {job.cols.step == 1 ? pixel_tile_for<T, 1>(R, heights) : pixel_tile_for<T, 2>(R, heights),
                         n * image + p.place(i, j), R};
      }
  return count;
}

// y = relu(sums [pixel][channel] + bias + residual), where there are such, for pixels that lie `step` apart and
// channels `plane` apart.
template <class T> void store_pixels(const T* sums, int64_t sums_row, int64_t pixels, int64_t channels, const T* bias,
                                     const T* residual, bool relu, T* y, int64_t plane, int64_t step) {
  using V = Lanes_t<T>;
  constexpr int L = V::size;
  for (int64_t m = 0; m < channels; m += L) {
    const int64_t present = min_of(L, channels - m);
    const V shift = bias ? load(bias + m, present) : broadcast(T{0});
    for (int64_t p = 0; p < pixels; p += L) {
      const int64_t n = min_of(L, pixels - p);
      V square[L];
#pragma GCC unroll 16
      for (int i = 0; i < L; ++i) square[i] = i < n ? load(sums + (p + i) * sums_row + m) + shift : shift;
      transpose(square);
      for (int64_t r = 0; r < present; ++r) {
        const int64_t at = (m + r) * plane + p * step;
        for (int64_t line = 0; line < min_of(step, 2); ++line) __builtin_prefetch(y + at + L * plane + line * L, 1);
        if (residual) {
          __builtin_prefetch(residual + at + L * plane);
          square[r] = square[r] + load(residual + at, n);
        }
        if (relu) square[r] = relu_of(square[r]);
        store_strided(y + at, step, square[r], n);
      }
    }
  }
}

// A block: the channels [m0, m1), whole panels of weights, for some pixels.
struct PixelBlock { int64_t g, n0, n1, i0, i1, m0, m1; };

// `weights`: the group's panels, or null where the block packs what it needs itself.
template <class T> void pixel_block(const Gather<T>& job, const PixelPlan& plan, const PixelBlock& block,
                                    const int32_t* at, const T* weights) {
  const PixelLayout& layout = plan.layout;
  const int64_t taps = job.rows.taps * job.cols.taps, K = job.depth(), rows = block.i1 - block.i0;
  const int64_t images = block.n1 - block.n0, image = plan.channels * layout.channel, g = block.g;
  const int64_t sums_row = ceil_div(block.m1 - block.m0, kPixelWidth<T>) * kPixelWidth<T>;
  T* const planes = static_cast<T*>(thread_scratch());
  T* const packed = planes + kPixelPlanes;
  T* const sums = packed + kPackedTaps * kPixelWidth<T>;
  PixelRun<T> runs[kPixels];
  const int64_t count = pixel_runs_of(job, plan, images, rows, runs);
  if (!layout.in_place) fill_zero(planes, images * image);
  for (int64_t c0 = 0; c0 < job.C; c0 += plan.channels) {
    const int64_t c1 = min_of(job.C, c0 + plan.channels);
    const T* a = planes;
    if (layout.in_place)
      a = job.x_planes(block.n0, g) + c0 * layout.channel +
          (block.i0 * job.rows.step + layout.rows.low) * layout.pitch + layout.cols.low;
    else
      for (int64_t n = 0; n < images; ++n)
        fill_rows(job, layout, block.n0 + n, g, c0, c1, block.i0, planes + n * image);
    for (int64_t m = block.m0; m < block.m1; m += kPixelWidth<T>) {
      const T* b = weights + m * K + c0 * taps * kPixelWidth<T>;
      if (!weights) {
        pack_panel(job, g, m, min_of(kPixelWidth<T>, job.M - m), c0 * taps, c1 * taps, packed, kPixelWidth<T>);
        b = packed;
      }
      T* c = sums + (m - block.m0);
      for (int64_t i = 0; i < count; c += runs[i++].count * sums_row)
        runs[i].tile((c1 - c0) * taps, a + runs[i].at, at, b, c, sums_row, c0 > 0);
    }
  }
  // Rows that follow one another in y are one.
  const int64_t W = job.cols.out, plane = job.rows.y_size * job.cols.y_size;
  const bool flat = job.rows.y_step == 1 && job.cols.y_step == 1;
  const T* const bias = job.b ? job.b + g * job.M + block.m0 : nullptr;
  for (int64_t n = 0; n < images; ++n)
    for (int64_t i = 0; i < (flat ? 1 : rows); ++i) {
      const int64_t at = (((block.n0 + n) * job.G + g) * job.M + block.m0) * plane +
                         (job.rows.y_first + (block.i0 + i) * job.rows.y_step) * job.cols.y_size + job.cols.y_first;
      store_pixels(sums + (n * rows + i) * W * sums_row, sums_row, flat ? rows * W : W, block.m1 - block.m0, bias,
                   job.residual ? job.residual + at : nullptr, job.relu, job.y + at, plane, job.cols.y_step);
    }
}

// The weights of every group in panels of [depth][kPixelWidth].
template <class T> void pack_pixel_panels(const Gather<T>& job, T* weights) {
  constexpr int64_t width = kPixelWidth<T>;
  const int64_t K = job.depth(), panels = ceil_div(job.M, width);
  parallel_for(job.G * panels, max_of(1, 65536 / (width * K)), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t m = t % panels * width;
      pack_panel(job, t / panels, m, min_of(width, job.M - m), 0, K, weights + t * width * K, width);
    }
  });
}

template <class T> void pixel_conv(const Gather<T>& job, const PixelPlan& plan) {
  constexpr int64_t width = kPixelWidth<T>;
  const PixelLayout& layout = plan.layout;
  const int64_t K = job.depth(), panels = ceil_div(job.M, width), per_group = plan.bands * plan.image_blocks;
  const T* weights = job.packed;
  if (!weights && per_group > 1) {  // else no two blocks use the same
    pack_pixel_panels(job, job.weights);
    weights = job.weights;
  }
  parallel_for(job.G * per_group * plan.parts, 1, [&](int64_t begin, int64_t end) {
    int32_t at[kPackedTaps];
    for (int64_t c = 0, k = 0; c < plan.channels; ++c)
      for (int64_t t = 0; t < job.rows.taps; ++t)
        for (int64_t u = 0; u < job.cols.taps; ++u)
          at[k++] = static_cast<int32_t>(c * layout.channel + layout.shift(t, u));
    for (int64_t t = begin; t < end; ++t) {
      const int64_t part = t % plan.parts, place = t / plan.parts % per_group, g = t / plan.parts / per_group;
      const int64_t n = place / plan.bands * plan.images, i = place % plan.bands * plan.height;
      const PixelBlock block{g,
                             n,
                             min_of(job.N, n + plan.images),
                             i,
                             min_of(job.rows.out, i + plan.height),
                             part * panels / plan.parts * width,
                             min_of(job.M, (part + 1) * panels / plan.parts * width)};
      if (block.i0 < block.i1) pixel_block(job, plan, block, at, weights ? weights + g * panels * width * K : nullptr);
    }
  });
}

}  // namespace
}  // namespace dl
