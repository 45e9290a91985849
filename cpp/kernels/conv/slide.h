// One channel read or one made per group: depthwise convolutions, first layers of gray images, and their gradients.
// There is too little to multiply for a copy of the input to pay. A strip of columns slides down the plane in place:
// every row is read once, shifted for each column of the kernel, and added to all the outputs that it reaches, which
// wait in registers. What lies outside the plane is masked at the sides and is a row of zeros above and below.
#pragma once
#include "core/parallel.h"
#include "kernels/conv/gather.h"
#include "kernels/conv/strided.h"
#include "simd/vec.h"

namespace dl {
namespace {

#if defined(__AVX512F__)
constexpr int kSlideVectors = 4;  // of a strip: 3 x 4 sums, 9 weights and 4 shifted vectors fit into 32 registers
#else
constexpr int kSlideVectors = 2;
#endif
constexpr int kSlideTaps = 7;              // of a kernel's side, at most
constexpr int64_t kSlidePixels = 1 << 15;  // of a band of rows

// A strip: columns [0, n) of `rows` rows of the grid. Tap (t, u) of pixel (i, j) reads the plane's row
// top + i * step + t and column left + j * step + u.
struct Strip {
  const float* x;
  int64_t H, W, top, left;
  int64_t rows, n, row_step;  // of y (or dy), whose first pixel is y
};

alignas(64) constexpr float kZeroRow[2 * kSlideVectors * Vec::size + kSlideTaps + Vec::size] = {};

// A row of the strip's input, shifted by a column of the kernel. Of its vectors only those at the ends can reach beyond
// the plane, see slides().
template <int TW, int S, int NV> struct ShiftedRow {
  static constexpr int L = Vec::size;
  static constexpr int kLast = TW > 3 && NV > 1 ? NV - 2 : NV - 1;  // the first of the vectors at the right end
  static constexpr bool masked(int v) { return v == 0 || v >= kLast; }
  int64_t last;  // pixel where the last vector begins
  Mask inside[TW][NV][S];

  DL_INLINE ShiftedRow(const Strip& p, int64_t last_pixel) : last(last_pixel) {
#pragma GCC unroll 8
    for (int u = 0; u < TW; ++u)
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v)
#pragma GCC unroll 2
        for (int half = 0; half < S; ++half) {
          const int64_t column = offset(v) + half * L, at = p.left + column + u;
          const int64_t end = min_of(p.W - at, p.n * S - (S - 1) - column);
          inside[u][v][half] = first_n(max_of(0, min_of(L, end))) & !first_n(max_of(0, min_of(L, -at)));
        }
  }

  DL_INLINE int64_t offset(int v) const { return (v < NV - 1 ? v * L : last) * S; }
  static DL_INLINE const float* start(const Strip& p, int64_t h) {
    return h >= 0 && h < p.H ? p.x + h * p.W + p.left : kZeroRow;
  }
  DL_INLINE Vec part(const float* row, int u, int v, int half) const {
    const float* at = row + offset(v) + half * L + u;
    return masked(v) ? load(at, inside[u][v][half]) : load(at);
  }
  DL_INLINE Vec operator()(const float* row, int u, int v) const {
    if constexpr (S == 1) return part(row, u, v, 0);
    else return even_lanes(part(row, u, v, 0), part(row, u, v, 1), typename MakeInts<L>::type{});
  }
};

// What a strip makes: `channels` channels of y, whose strips begin at y, y + plane ...
struct SlideMade {
  const float *w, *b;  // b: null for 0
  float* y;
  int64_t channels, plane;
  bool add;  // to what is there
};

// y = bias + the strip's sums, or y += the sums; MB channels at a time.
template <int TH, int TW, int S, int NV, int MB> void slide(Strip p, SlideMade to) {
  constexpr int L = Vec::size, kOpen = (TH + S - 1) / S;  // outputs that a row still adds to
  // The last vector overlaps the one before it: whole stores are faster than masked ones.
  const int64_t last = NV > 1 ? p.n - L : 0;
  const ShiftedRow<TW, S, NV> shifted(p, last);
  for (int64_t m0 = 0; m0 < to.channels; m0 += MB) {
    float w[MB * TH * TW];  // a copy, for the same reason as p and to are
    for (int k = 0; k < MB * TH * TW; ++k) w[k] = to.w[m0 * TH * TW + k];
    Vec start[MB], sum[MB][kOpen][NV];
#pragma GCC unroll 2
    for (int m = 0; m < MB; ++m) {
      start[m] = broadcast(to.b ? to.b[m0 + m] : 0.0f);
#pragma GCC unroll 8
      for (int k = 0; k < kOpen; ++k)
#pragma GCC unroll 8
        for (int v = 0; v < NV; ++v) sum[m][k][v] = start[m];
    }
#pragma GCC unroll 1
    for (int64_t i = 0; i < p.rows + kOpen - 1; ++i) {  // sum[m][k] is for the grid's row i - k
#pragma GCC unroll 2
      for (int q = 0; q < S; ++q) {
        const float* const row = shifted.start(p, p.top + i * S + q);
#pragma GCC unroll 8
        for (int u = 0; u < TW; ++u) {
          Vec x[NV];
#pragma GCC unroll 8
          for (int v = 0; v < NV; ++v) x[v] = shifted(row, u, v);
#pragma GCC unroll 2
          for (int m = 0; m < MB; ++m)
#pragma GCC unroll 8
            for (int t = q; t < TH; t += S)
#pragma GCC unroll 8
              for (int v = 0; v < NV; ++v)
                sum[m][t / S][v] = fma(broadcast(w[(m * TH + t) * TW + u]), x[v], sum[m][t / S][v]);
        }
      }
#pragma GCC unroll 2
      for (int m = 0; m < MB; ++m) {
        if (i >= kOpen - 1) {
          float* const y = to.y + (m0 + m) * to.plane + (i - (kOpen - 1)) * p.row_step;
          Vec* const done = sum[m][kOpen - 1];
          if (to.add) {
#pragma GCC unroll 8
            for (int v = 0; v < NV; ++v) done[v] = load(y + (v < NV - 1 ? v * L : last), NV > 1 ? L : p.n) + done[v];
          }
#pragma GCC unroll 8
          for (int v = 0; v < NV; ++v)
            if (NV > 1) store(y + (v < NV - 1 ? v * L : last), done[v]);
            else store(y, done[v], p.n);
        }
#pragma GCC unroll 8
        for (int k = kOpen - 1; k > 0; --k)
#pragma GCC unroll 8
          for (int v = 0; v < NV; ++v) sum[m][k][v] = sum[m][k - 1][v];
#pragma GCC unroll 8
        for (int v = 0; v < NV; ++v) sum[m][0][v] = start[m];
      }
    }
  }
}

template <bool b> struct Bool { static constexpr bool value = b; };

// sums[t * TW + u] += the strip's dy * (what tap (t, u) met there).
template <int TH, int TW, int S, int NV> void slide_dots(Strip p, const float* dy, float* sums) {
  constexpr int L = Vec::size, kOpen = (TH + S - 1) / S;
  const ShiftedRow<TW, S, NV> shifted(p, (NV - 1) * L);
  const int64_t edge = p.n - (NV - 1) * L;
  Vec d[kOpen][NV], dot[TH][TW];
#pragma GCC unroll 8
  for (int k = 0; k < kOpen; ++k)
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) d[k][v] = zero();
#pragma GCC unroll 8
  for (int t = 0; t < TH; ++t)
#pragma GCC unroll 8
    for (int u = 0; u < TW; ++u) dot[t][u] = zero();
  const auto step = [&](int64_t i, auto all) __attribute__((always_inline)) {
    const auto open = [&](int k) __attribute__((always_inline)) {
      return decltype(all)::value || (i - k >= 0 && i - k < p.rows);
    };
    if (open(0)) {
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v) d[0][v] = load(dy + i * p.row_step + v * L, v < NV - 1 ? L : edge);
    }
#pragma GCC unroll 2
    for (int q = 0; q < S; ++q) {
      const float* const row = shifted.start(p, p.top + i * S + q);
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v)
#pragma GCC unroll 8
        for (int u = 0; u < TW; ++u) {
          const Vec x = shifted(row, u, v);
#pragma GCC unroll 8
          for (int t = q; t < TH; t += S)
            if (open(t / S)) dot[t][u] = fma(d[t / S][v], x, dot[t][u]);
        }
    }
#pragma GCC unroll 8
    for (int k = kOpen - 1; k > 0; --k)
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v) d[k][v] = d[k - 1][v];
  };
  // At the ends some taps have no row of dy; a 0 in its place could meet an infinity.
  int64_t i = 0;
  for (; i < min_of(kOpen - 1, p.rows); ++i) step(i, Bool<false>{});
  for (; i < p.rows; ++i) step(i, Bool<true>{});
  for (; i < p.rows + kOpen - 1; ++i) step(i, Bool<false>{});
#pragma GCC unroll 8
  for (int t = 0; t < TH; ++t)
#pragma GCC unroll 8
    for (int u = 0; u < TW; ++u) sums[t * TW + u] += reduce_add(dot[t][u]);
}

// Strips go by value: a copy cannot be what a store writes to, so its fields stay in registers.
using SlideFn = void (*)(Strip p, SlideMade to);
using SlideDotsFn = void (*)(Strip p, const float* dy, float* sums);

// By the vectors of a strip. Of the weight gradient, whose sums wait in registers as well, large kernels take a row of
// taps at a time.
struct SlideCode {
  SlideFn slide[kSlideVectors], slide_group[kSlideVectors];
  SlideDotsFn dots[kSlideVectors];
  int64_t dots_rows;
};

// Channels at a time, where their sums fit: narrow strips have too few of them to hide the latency of an FMA.
constexpr int kSlideGroup = 2;
template <int TH> constexpr int slide_group(int vectors) { return TH <= 3 && vectors <= 2 ? kSlideGroup : 1; }

template <int TH, int TW, int S, int... I> DL_INLINE const SlideCode* slide_code(Ints<I...>) {
  constexpr int rows = TH * TW <= 9 ? TH : 1;
  static constexpr SlideCode code = {{slide<TH, TW, S, I + 1, 1>...},
                                     {slide<TH, TW, S, I + 1, slide_group<TH>(I + 1)>...},
                                     {slide_dots<rows, TW, S, I + 1>...},
                                     rows};
  return &code;
}

template <int S> DL_INLINE const SlideCode* slide_code(int64_t TH, int64_t TW) {
  constexpr typename MakeInts<kSlideVectors>::type vectors;
  if (TH != TW) return nullptr;
  return TH == 3   ? slide_code<3, 3, S>(vectors)
         : TH == 5 ? slide_code<5, 5, S>(vectors)
         : TH == 7 ? slide_code<7, 7, S>(vectors)
                   : nullptr;
}

// The way through the planes: bands of rows, each cut into strips of columns.
struct SlidePlan {
  const SlideCode* code;  // null: not this way
  int64_t height, bands, strips;
  int64_t top, left;  // where the first tap of pixel (0, 0) reads
};

DL_INLINE SlidePlan slide_plan(const Gather<double>&) { return {}; }
DL_INLINE SlidePlan slide_plan(const Gather<float>& job) {
  const Axis &rows = job.rows, &cols = job.cols;
  if ((job.C != 1 && job.M != 1) || job.N * job.G * job.M * job.C * job.grid() == 0) return {};
  if (rows.step != cols.step || rows.step > 2 || rows.y_step != 1 || cols.y_step != 1) return {};
  if (rows.tap_step != cols.tap_step || (rows.tap_step != 1 && rows.tap_step != -1)) return {};
  const auto low = [](const Axis& a) { return a.tap_step < 0 ? a.offset - (a.taps - 1) : a.offset; };
  const int64_t right = low(cols) + (cols.out - 1) * cols.step + cols.taps - cols.in;  // columns read beyond the plane
  if (-low(cols) > Vec::size || right > (cols.taps > 3 ? Vec::size : 1)) return {};
  SlidePlan p{rows.step == 1 ? slide_code<1>(rows.taps, cols.taps) : slide_code<2>(rows.taps, cols.taps),
              0,
              0,
              0,
              low(rows),
              low(cols)};
  p.bands = ceil_div(rows.out, max_of(1, kSlidePixels / cols.out));
  p.height = ceil_div(rows.out, p.bands);
  p.bands = ceil_div(rows.out, p.height);
  p.strips = ceil_div(cols.out, kSlideVectors * Vec::size);
  return p;
}

// Calls body(strip, vectors, first pixel) for the strips of a band of the plane x.
template <class Body>
DL_INLINE void for_each_strip(const Gather<float>& job, const SlidePlan& p, const float* x, int64_t band, Body body) {
  const int64_t step = job.rows.step, i0 = band * p.height, vectors = ceil_div(job.cols.out, Vec::size);
  for (int64_t s = 0; s < p.strips; ++s) {
    const int64_t v0 = s * vectors / p.strips, v1 = (s + 1) * vectors / p.strips, j0 = v0 * Vec::size;
    const Strip strip = {x,
                         job.rows.in,
                         job.cols.in,
                         p.top + i0 * step,
                         p.left + j0 * step,
                         min_of(p.height, job.rows.out - i0),
                         min_of(v1 * Vec::size, job.cols.out) - j0,
                         job.cols.out};
    body(strip, v1 - v0, i0 * job.cols.out + j0);
  }
}

// weights[g][m][c][tap], in the order of the rows and columns read.
DL_INLINE void order_taps(const Gather<float>& job) {
  const int64_t TH = job.rows.taps, TW = job.cols.taps;
  const bool back = job.rows.tap_step < 0;
  float* to = job.weights;
  for (int64_t g = 0; g < job.G; ++g)
    for (int64_t m = 0; m < job.M; ++m)
      for (int64_t c = 0; c < job.C; ++c)
        for (int64_t t = 0; t < TH; ++t)
          for (int64_t u = 0; u < TW; ++u) {
            const int64_t row = job.rows.first + (back ? TH - 1 - t : t) * job.rows.kernel_step;
            const int64_t col = job.cols.first + (back ? TW - 1 - u : u) * job.cols.kernel_step;
            *to++ = job.w[g * job.w_g + m * job.w_m + c * job.w_c + row * job.KW + col];
          }
}

void slide_conv(const Gather<double>&, const SlidePlan&) {}
void slide_conv(const Gather<float>& job, const SlidePlan& p) {
  const int64_t taps = job.rows.taps * job.cols.taps, plane = job.rows.in * job.cols.in;
  const int64_t grain = max_of(1, kSlidePixels / (p.height * job.cols.out * job.C));
  order_taps(job);
  parallel_for(job.N * p.bands * job.G * job.M, grain, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end;) {  // channels [m, m + run) of a band
      const int64_t m = b % job.M, g = b / job.M % job.G, band = b / job.M / job.G % p.bands,
                    n = b / job.M / job.G / p.bands, run = min_of(end - b, job.M - m);
      for (int64_t c = 0; c < job.C; ++c)
        for_each_strip(job, p, job.x_planes(n, g) + c * plane, band,
                       [&](const Strip& strip, int64_t vectors, int64_t first) {
                         SlideMade to{job.weights + ((g * job.M + m) * job.C + c) * taps,
                                      c == 0 && job.b ? job.b + g * job.M + m : nullptr,
                                      job.y_planes(n, g) + m * job.grid() + first,
                                      run / kSlideGroup * kSlideGroup,
                                      job.grid(),
                                      c > 0};
                         p.code->slide_group[vectors - 1](strip, to);
                         if (run % kSlideGroup == 0) return;
                         to.w += to.channels * taps;
                         to.y += to.channels * to.plane;
                         if (to.b) to.b += to.channels;
                         to.channels = run % kSlideGroup;
                         p.code->slide[vectors - 1](strip, to);
                       });
      b += run;
    }
  });
}

// A block owns the taps of one channel made, for a part of the bands of all images.
void slide_weight(const Gather<double>&, const SlidePlan&, const double*, double*, double*, int64_t) {}
void slide_weight(const Gather<float>& job, const SlidePlan& p, const float* dy, float* dw, float* workspace,
                  int64_t splits) {
  const int64_t taps = job.rows.taps * job.cols.taps, channels = job.G * job.M, bands = job.N * p.bands;
  const int64_t work = ceil_div(bands, splits) * p.height * job.cols.out;
  parallel_for(splits * channels, max_of(1, kSlidePixels / work), [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const int64_t split = b / channels, channel = b % channels, g = channel / job.M;
      float sums[kSlideTaps * kSlideTaps] = {};
      for (int64_t i = split * bands / splits; i < (split + 1) * bands / splits; ++i) {
        const int64_t n = i / p.bands;
        for_each_strip(job, p, job.x_planes(n, g), i % p.bands, [&](Strip strip, int64_t vectors, int64_t first) {
          const float* from = dy + (n * channels + channel) * job.grid() + first;
          for (int64_t t = 0; t < job.rows.taps; t += p.code->dots_rows, strip.top += p.code->dots_rows)
            p.code->dots[vectors - 1](strip, from, sums + t * job.cols.taps);
        });
      }
      float* const to = (splits > 1 ? workspace + split * channels * taps : dw) + channel * taps;
      for (int64_t k = 0; k < taps; ++k) to[k] = sums[k];
    }
  });
  if (splits > 1) add_parts(workspace, splits, channels * taps, dw);
}

}  // namespace
}  // namespace dl
