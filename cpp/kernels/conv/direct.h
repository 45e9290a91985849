// Tiles that read the padded planes in place: no panel of the unfolded input is ever made. A tile runs across the ends
// of rows; what it makes there is not kept.
#pragma once
#include "core/parallel.h"
#include "kernels/conv/planes.h"
#include "kernels/conv/tile.h"

namespace dl {
namespace {

constexpr int64_t kDirectRead = kPackedChannels;  // channels read: colour images
constexpr int64_t kDirectTerms = 288;  // of the sum at once: weights and pixels of a tile share the first-level cache
constexpr int64_t kDirectElements = 64 * 1024;  // of planes and of sums at once, where a row allows it
constexpr int64_t kDirectRows = 4;    // of a block, where the grid has them: neighbours read the same rows again
constexpr double kDirectWaste = 1.2;  // most that the ends of rows may add to the pixels
// That the last tile reads and writes past the end of the planes and of each row of sums.
template <class T> constexpr int64_t kDirectSlack = kConvVectorsSingle * Lanes_t<T>::size;

// Rows of y are whole tiles, made where they belong.
template <class T> bool makes_rows(const Gather<T>& job) {
  return job.M > kConvRows && job.C <= kDirectRead && job.depth() <= kDirectTerms && job.cols.y_step == 1 &&
         job.cols.out >= kConvVectors * Lanes_t<T>::size && job.rows.taps * job.cols.taps > 1;
}

struct DirectPlan {
  bool fits;
  int64_t channels;       // read at once
  int64_t height, bands;  // rows of the grid in a block
  int64_t parts;          // of the channels made
  PlaneLayout layout;
};

template <class T> DirectPlan direct_plan(const Gather<T>& job) {
  DirectPlan p{};
  const int64_t taps = job.rows.taps * job.cols.taps;
  if (taps == 1 && job.rows.step == 1 && job.cols.step == 1) return p;  // nothing to gain from a copy
  if (taps == 0 || taps > kDirectTerms || job.C == 0 || job.M == 0 || job.N * job.grid() == 0) return p;
  p.channels = ceil_div(job.C, ceil_div(job.C, kDirectTerms / taps));
  const PlaneLayout row = plane_layout(job, 1, job.cols.out);
  if (row.channel > kPlaneElements / p.channels || job.M * row.pitch > kPlaneElements) return p;
  const int64_t want = blocks_of_work(job);
  p.parts = max_of(1, min_of(want / (job.N * job.G), job.M / 112));
  const int64_t row_elements = max_of(row.rows.count * row.cols.count * p.channels, job.M / p.parts) * row.pitch;
  const int64_t most = max_of(1, kDirectElements / row_elements - row.rows.reach);
  const int64_t fair = max_of(kDirectRows, job.rows.out / max_of(1, want / (job.N * job.G * p.parts)));
  p.bands = ceil_div(job.rows.out, min_of(job.rows.out, min_of(most, fair)));
  p.height = ceil_div(job.rows.out, p.bands);
  p.layout = plane_layout(job, p.height, job.cols.out);
  constexpr int64_t width = kConvVectors * Lanes_t<T>::size;
  const int64_t positions = ceil_div((p.height - 1) * p.layout.pitch + job.cols.out, width) * width;
  const int64_t sums = job.M * (p.height * p.layout.pitch + kDirectSlack<T>);
  constexpr int64_t room = static_cast<int64_t>(kMaxScratch / sizeof(T)) - kPlaneElements - kDirectSlack<T>;
  p.fits = p.layout.channel <= kPlaneElements / p.channels && sums <= room &&
           (job.M <= kConvRows || makes_rows(job) ||
            static_cast<double>(positions) <= kDirectWaste * static_cast<double>(p.height * job.cols.out));
  return p;
}

// sums[(m - m0) * sums_row + q] (+)= the terms [k0, k0 + terms) for the positions q < count of the planes and the row
// panels [panel, end) of the weights, which start with row m0.
template <class T> void direct_sums(const T* weights, int64_t K, int64_t M, int64_t panel, int64_t end, int64_t k0,
                                    int64_t terms, const T* planes, const int32_t* at, T* sums, int64_t sums_row,
                                    int64_t count, bool add) {
  constexpr int L = Lanes_t<T>::size;
  const int64_t m0 = panel_row(panel, M);
  const int most = M == 1 ? kConvVectorsSingle : M <= kConvRowsWide ? kConvVectorsWide : kConvVectors;
  for (int64_t q = 0; q < count;) {
    int vectors = most;
    while (vectors > 1 && (vectors / 2) * L >= count - q) vectors /= 2;
    for (int64_t i = panel; i < end; ++i) {
      const int64_t r = panel_row(i, M), R = panel_row(i + 1, M) - r;
      packed_conv_tile_for<T>(R, vectors)(terms, weights + r * K + k0 * R, planes + q, at,
                                          sums + (r - m0) * sums_row + q, sums_row, int64_t{vectors} * L, add);
    }
    q += vectors * L;
  }
}

// Rows of sums go to the pixels of y that they are for, with the bias.
template <class T> void store_band(const Gather<T>& job, const DirectPlan& plan, int64_t n, int64_t g, int64_t m0,
                                   int64_t m1, int64_t i0, int64_t rows, const T* sums, int64_t sums_row) {
  using V = Lanes_t<T>;
  constexpr int L = V::size;
  const int64_t step = job.cols.y_step, width = job.cols.out;
  const int64_t ahead = job.rows.y_size * job.cols.y_size;  // the same row of the next plane is fetched
  for (int64_t m = m0; m < m1; ++m) {
    const T bias = job.b ? job.b[g * job.M + m] : T{0};
    const V shift = broadcast(bias);
    for (int64_t i = 0; i < rows; ++i) {
      const T* from = sums + (m - m0) * sums_row + i * plan.layout.pitch;
      T* y = job.y_planes(n, g) +
             (m * job.rows.y_size + job.rows.y_first + (i0 + i) * job.rows.y_step) * job.cols.y_size + job.cols.y_first;
      if (step == 1) {
        for (int64_t j = 0; j < width; j += 64 / sizeof(T)) __builtin_prefetch(y + ahead + j, 1);
        int64_t j = 0;
        for (; j + L <= width; j += L) store(y + j, load(from + j) + shift);
        if (j < width) store(y + j, load(from + j) + shift, width - j);
      } else {
        for (int64_t j = 0; j < width; ++j) y[j * step] = from[j] + bias;
      }
    }
  }
}

// Rows [i0, i0 + rows) of the grid, for all the channels made.
template <class T> void make_rows(const Gather<T>& job, const DirectPlan& plan, int64_t n, int64_t g, int64_t i0,
                                  int64_t rows, const T* planes, const int32_t* at) {
  constexpr int64_t L = Lanes_t<T>::size, width = kConvVectors * L;
  const int64_t K = job.depth(), plane = job.rows.y_size * job.cols.y_size;
  const T* const weights = job.weights + g * job.M * K;
  for (int64_t i = 0; i < rows; ++i) {
    T* const y =
        job.y_planes(n, g) + (job.rows.y_first + (i0 + i) * job.rows.y_step) * job.cols.y_size + job.cols.y_first;
    for (int64_t q = 0; q < row_panels(job.M); ++q) {
      const int64_t r0 = panel_row(q, job.M), R = panel_row(q + 1, job.M) - r0;
      if (job.b)
        for (int64_t r = r0; r < r0 + R; ++r)
          for (int64_t j = 0; j < job.cols.out; ++j) y[r * plane + j] = job.b[g * job.M + r];
      for (int64_t j = 0; j < job.cols.out; j += width) {
        const int64_t count = min_of(width, job.cols.out - j);
        packed_conv_tile_for<T>(R, count <= L ? 1 : kConvVectors)(K, weights + r0 * K,
                                                                  planes + i * plan.layout.pitch + j, at,
                                                                  y + r0 * plane + j, plane, count, job.b != nullptr);
      }
    }
  }
}

template <class T> void direct_conv(const Gather<T>& job, const DirectPlan& plan) {
  pack_weights(job);
  const int64_t taps = job.rows.taps * job.cols.taps, K = job.depth();
  const bool by_rows = makes_rows(job);
  const int64_t panels = row_panels(job.M), parts = by_rows ? 1 : plan.parts;
  const double work = static_cast<double>(plan.height * plan.layout.pitch) * static_cast<double>(job.M / parts * K);
  const int64_t grain = static_cast<int64_t>(kConvBlockWork / (work + 4096));
  parallel_for(job.N * job.G * plan.bands * parts, max_of(1, grain), [&](int64_t begin, int64_t end) {
    int32_t at[kDirectTerms];
    term_offsets(job, plan.layout, plan.channels, at);
    T* const planes = static_cast<T*>(thread_scratch());
    T* const sums = planes + plan.channels * plan.layout.channel + kDirectSlack<T>;
    const int64_t sums_row = plan.height * plan.layout.pitch + kDirectSlack<T>;
    for (int64_t t = begin; t < end; ++t) {
      const int64_t part = t % parts, i0 = t / parts % plan.bands * plan.height, image = t / parts / plan.bands;
      const int64_t n = image / job.G, g = image % job.G, rows = min_of(plan.height, job.rows.out - i0);
      if (rows <= 0) continue;
      if (by_rows) {
        fill_planes(job, plan.layout, n, g, 0, job.C, i0, rows, 0, planes);
        make_rows(job, plan, n, g, i0, rows, planes, at);
        continue;
      }
      const int64_t q0 = part * panels / parts, q1 = (part + 1) * panels / parts;
      for (int64_t c = 0; c < job.C; c += plan.channels) {
        const int64_t c1 = min_of(job.C, c + plan.channels);
        fill_planes(job, plan.layout, n, g, c, c1, i0, rows, 0, planes);
        direct_sums(job.weights + g * job.M * K, K, job.M, q0, q1, c * taps, (c1 - c) * taps, planes, at, sums,
                    sums_row, (rows - 1) * plan.layout.pitch + job.cols.out, c > 0);
      }
      store_band(job, plan, n, g, panel_row(q0, job.M), panel_row(q1, job.M), i0, rows, sums, sums_row);
    }
  });
}

// sums[t] += sum over the pixels of a band of dy * (the plane shifted to term t), for TT terms.
template <class T, int TT>
void dot_terms(const T* dy, int64_t rows, int64_t width, const T* plane, int64_t pitch, const int32_t* at, T* sums) {
  using V = Lanes_t<T>;
  constexpr int L = V::size;
  V acc[TT];
#pragma GCC unroll 12
  for (int t = 0; t < TT; ++t) acc[t] = broadcast(T{0});
  for (int64_t i = 0; i < rows; ++i, dy += width, plane += pitch) {
    int64_t j = 0;
    for (; j + L <= width; j += L) {
      const V d = load(dy + j);
#pragma GCC unroll 12
      for (int t = 0; t < TT; ++t) acc[t] = fma(d, load(plane + at[t] + j), acc[t]);
    }
    if (j < width) {
      const int64_t n = width - j;  // the plane's idle lanes may hold infinities
      const V d = load(dy + j, n);
#pragma GCC unroll 12
      for (int t = 0; t < TT; ++t) acc[t] = fma(d, load(plane + at[t] + j, n), acc[t]);
    }
  }
#pragma GCC unroll 12
  for (int t = 0; t < TT; ++t) sums[t] += reduce_add(acc[t]);
}

constexpr int kDotTerms = 12;  // sums in registers
template <class T> using DotTermsFn = void (*)(const T*, int64_t, int64_t, const T*, int64_t, const int32_t*, T*);
template <class T, int... I> DL_INLINE DotTermsFn<T> dot_terms_for(int64_t terms, Ints<I...>) {
  static constexpr DotTermsFn<T> by_terms[] = {dot_terms<T, I + 1>...};
  return by_terms[terms - 1];
}

constexpr int64_t kDirectWeights = 4;  // channels made per group, at most, for the weight gradient

// A block owns the terms of plan.channels channels of a group for a part of the images.
template <class T>
void direct_weight(const Gather<T>& job, const DirectPlan& plan, const T* dy, T* dw, T* workspace, int64_t splits) {
  const int64_t taps = job.rows.taps * job.cols.taps, K = job.depth(), grid = job.grid();
  const int64_t pieces = ceil_div(job.C, plan.channels);
  const double work = static_cast<double>(job.N * grid) / static_cast<double>(splits) *
                      static_cast<double>(job.M * plan.channels * taps);
  const int64_t grain = static_cast<int64_t>(kConvBlockWork / (work + 4096));
  parallel_for(splits * job.G * pieces, max_of(1, grain), [&](int64_t begin, int64_t end) {
    int32_t at[kDirectTerms];
    term_offsets(job, plan.layout, plan.channels, at);
    T* const sums = static_cast<T*>(thread_scratch());  // [M][terms]
    T* const planes = sums + kDirectWeights * kDirectTerms;
    for (int64_t t = begin; t < end; ++t) {
      const int64_t split = t / (job.G * pieces), g = t / pieces % job.G, c = t % pieces * plan.channels;
      const int64_t c1 = min_of(job.C, c + plan.channels), terms = (c1 - c) * taps;
      fill_zero(sums, job.M * terms);
      for (int64_t n = split * job.N / splits; n < (split + 1) * job.N / splits; ++n)
        for (int64_t i0 = 0; i0 < job.rows.out; i0 += plan.height) {
          const int64_t rows = min_of(plan.height, job.rows.out - i0);
          fill_planes(job, plan.layout, n, g, c, c1, i0, rows, 0, planes);
          for (int64_t m = 0; m < job.M; ++m) {
            const T* band = dy + ((n * job.G + g) * job.M + m) * grid + i0 * job.cols.out;
            const int64_t groups = ceil_div(terms, kDotTerms);
            for (int64_t q = 0; q < groups; ++q) {
              const int64_t k = q * terms / groups, end_k = (q + 1) * terms / groups;
              dot_terms_for<T>(end_k - k, typename MakeInts<kDotTerms>::type{})(
                  band, rows, job.cols.out, planes, plan.layout.pitch, at + k, sums + m * terms + k);
            }
          }
        }
      T* to = (splits > 1 ? workspace + split * job.G * job.M * K : dw) + g * job.M * K + c * taps;
      for (int64_t m = 0; m < job.M; ++m)
        for (int64_t k = 0; k < terms; ++k) to[m * K + k] = sums[m * terms + k];
    }
  });
  if (splits > 1) add_parts(workspace, splits, job.G * job.M * K, dw);
}

}  // namespace
}  // namespace dl
