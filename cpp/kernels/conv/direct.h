// Few channels made per group (depthwise, grouped, gradients of RGB images): unfolding would cost more than the sums.
// The tiles read the padded planes in place. A tile runs across the ends of rows; what it makes there is not kept.
#pragma once
#include "core/parallel.h"
#include "kernels/conv/planes.h"
#include "kernels/conv/tile.h"

namespace dl {
namespace {

constexpr int64_t kDirectMade = 8;       // channels made per group, at most;
constexpr int64_t kDirectMadeDeep = 32;  // or this many, where a sum of kDirectDeep terms outweighs moving its result
constexpr int64_t kDirectDeep = 64;
constexpr int64_t kDirectRead = 4;               // or any number where so few are read: colour images
constexpr int64_t kDirectTerms = 512;            // of the sum at once: their weights stay in the first-level cache
constexpr int64_t kDirectElements = 128 * 1024;  // of planes and of sums at once, where a row allows it

// Rows of y are whole tiles, made where they belong.
template <class T> bool makes_rows(const Gather<T>& job) {
  return job.M > kDirectMadeDeep && job.C <= kDirectRead && job.depth() <= kDirectTerms && job.cols.y_step == 1 &&
         job.cols.out >= kConvVectors * Lanes_t<T>::size && job.rows.taps * job.cols.taps > 1;
}

template <class T> bool prefers_direct(const Gather<T>& job) {
  return makes_rows(job) || job.M <= kDirectMade || (job.M <= kDirectMadeDeep && job.depth() >= kDirectDeep);
}

struct DirectPlan {
  bool fits;
  int64_t channels;       // read at once
  int64_t height, bands;  // rows of the grid in a block
  PlaneLayout layout;
};

template <class T> DirectPlan direct_plan(const Gather<T>& job) {
  DirectPlan p{};
  const int64_t taps = job.rows.taps * job.cols.taps;
  if (taps == 0 || taps > kDirectTerms || job.C == 0 || job.M == 0 || job.N * job.grid() == 0) return p;
  p.channels = min_of(job.C, kDirectTerms / taps);
  const PlaneLayout row = plane_layout(job, 1, job.cols.out);
  if (row.channel > kPlaneElements / p.channels || job.M * row.pitch > kPlaneElements) return p;
  const int64_t row_elements = max_of(row.rows.count * row.cols.count * p.channels, job.M) * row.pitch;
  const int64_t most = min_of(job.rows.out, max_of(1, kDirectElements / row_elements - row.rows.reach));
  p.bands = ceil_div(job.rows.out, most);
  p.height = ceil_div(job.rows.out, p.bands);
  p.layout = plane_layout(job, p.height, job.cols.out);
  p.fits = p.layout.channel <= kPlaneElements / p.channels;
  return p;
}

// sums[m * sums_row + q] (+)= the terms of `channels` channels for the positions q < count of the planes.
template <class T> void direct_sums(const T* weights, int64_t K, int64_t M, int64_t k0, int64_t terms, const T* planes,
                                    const int32_t* at, T* sums, int64_t sums_row, int64_t count, bool add) {
  constexpr int L = Lanes_t<T>::size;
  for (int64_t panel = 0; panel < row_panels(M); ++panel) {
    const int64_t r = panel_row(panel, M), R = panel_row(panel + 1, M) - r;
    const int most = R == 1 ? kConvVectorsSingle : R <= kConvRowsWide ? kConvVectorsWide : kConvVectors;
    for (int64_t q = 0; q < count;) {
      int vectors = most;
      while (vectors > 1 && (vectors / 2) * L >= count - q) vectors /= 2;
      conv_tile_for<T>(R, vectors)(terms, weights + r * K + k0 * R, 1, R, planes + q, at, sums + r * sums_row + q,
                                   sums_row, int64_t{vectors} * L, add);
      q += vectors * L;
    }
  }
}

// Rows of sums go to the pixels of y that they are for, with the bias.
template <class T> void store_band(const Gather<T>& job, const DirectPlan& plan, int64_t n, int64_t g, int64_t i0,
                                   int64_t rows, const T* sums, int64_t sums_row) {
  using V = Lanes_t<T>;
  constexpr int L = V::size;
  const int64_t step = job.cols.y_step, width = job.cols.out;
  for (int64_t m = 0; m < job.M; ++m) {
    const T bias = job.b ? job.b[g * job.M + m] : T{0};
    const V shift = broadcast(bias);
    for (int64_t i = 0; i < rows; ++i) {
      const T* from = sums + m * sums_row + i * plan.layout.pitch;
      T* y = job.y_planes(n, g) +
             (m * job.rows.y_size + job.rows.y_first + (i0 + i) * job.rows.y_step) * job.cols.y_size + job.cols.y_first;
      if (step == 1) {
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
        conv_tile_for<T>(R, count <= L ? 1 : kConvVectors)(K, weights + r0 * K, 1, R,
                                                           planes + i * plan.layout.pitch + j, at, y + r0 * plane + j,
                                                           plane, count, job.b != nullptr);
      }
    }
  }
}

template <class T> void direct_conv(const Gather<T>& job, const DirectPlan& plan) {
  pack_weights(job);
  const int64_t taps = job.rows.taps * job.cols.taps, K = job.depth();
  const double work = static_cast<double>(plan.height * plan.layout.pitch) * static_cast<double>(job.M * K);
  const int64_t grain = static_cast<int64_t>(kConvBlockWork / (work + 4096));
  parallel_for(job.N * job.G * plan.bands, max_of(1, grain), [&](int64_t begin, int64_t end) {
    constexpr int64_t slack =
        kConvVectorsSingle * Lanes_t<T>::size;  // that the last tile reads and writes past the end
    int32_t at[kDirectTerms];
    term_offsets(job, plan.layout, plan.channels, at);
    T* const planes = static_cast<T*>(thread_scratch());
    T* const sums = planes + plan.channels * plan.layout.channel + slack;
    const int64_t sums_row = plan.height * plan.layout.pitch + slack;
    for (int64_t t = begin; t < end; ++t) {
      const int64_t n = t / (job.G * plan.bands), g = t / plan.bands % job.G, i0 = t % plan.bands * plan.height;
      const int64_t rows = min_of(plan.height, job.rows.out - i0);
      if (rows <= 0) continue;
      if (makes_rows(job)) {
        fill_planes(job, plan.layout, n, g, 0, job.C, i0, rows, 0, planes);
        make_rows(job, plan, n, g, i0, rows, planes, at);
        continue;
      }
      for (int64_t c = 0; c < job.C; c += plan.channels) {
        const int64_t c1 = min_of(job.C, c + plan.channels);
        fill_planes(job, plan.layout, n, g, c, c1, i0, rows, 0, planes);
        direct_sums(job.weights + g * job.M * K, K, job.M, c * taps, (c1 - c) * taps, planes, at, sums, sums_row,
                    (rows - 1) * plan.layout.pitch + job.cols.out, c > 0);
      }
      store_band(job, plan, n, g, i0, rows, sums, sums_row);
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
