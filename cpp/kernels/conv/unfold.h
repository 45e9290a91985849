// Parts of the unfolded input ("im2col"), made where they are used: never more than a panel of it exists.
#pragma once
#include "kernels/conv/planes.h"

namespace dl {
namespace {

// Straight from x, with bounds checked run by run. panel[(k - k0) * width + run.at + l] = what pixel l of the run reads
// for term k = (c, t, u), k0 <= k < k1.
template <class T>
void unfold_run(const Gather<T>& job, int64_t g, const Run& run, int64_t k0, int64_t k1, T* panel, int64_t width) {
  const Axis &rows = job.rows, &cols = job.cols;
  const int64_t TW = cols.taps, plane = rows.in * cols.in;
  const T* const x = job.x_planes(run.n, g);
  const int64_t top = run.i * rows.step + rows.offset;
  for (int64_t u = 0; u < TW; ++u) {
    // (c, t) counted together: those with k0 <= (c, t, u) < k1.
    int64_t ct = ceil_div(max_of(k0 - u, 0), TW);
    const int64_t ct_end = ceil_div(k1 - u, TW);
    if (ct >= ct_end) continue;
    // The pixels [low, high) of the run read inside the plane's columns.
    const int64_t left = run.j * cols.step + cols.offset + u * cols.tap_step;
    const int64_t low = min_of(run.count, left >= 0 ? 0 : ceil_div(-left, cols.step));
    const int64_t high = max_of(low, min_of(run.count, left >= cols.in ? 0 : ceil_div(cols.in - left, cols.step)));
    T* y = panel + (ct * TW + u - k0) * width + run.at;
    int64_t t = ct % rows.taps;
    int64_t channel = ct / rows.taps * plane + left;
    const bool inside = low == 0 && high == run.count;
    for (; ct < ct_end; ++ct, y += TW * width) {
      const int64_t h = top + t * rows.tap_step;
      const bool present = h >= 0 && h < rows.in;
      if (!inside || !present) fill_zero(y, run.count);
      if (present) copy_strided_run(x + (channel + h * cols.in + low * cols.step), cols.step, y + low, high - low);
      if (++t == rows.taps) {
        t = 0;
        channel += plane;
      }
    }
  }
}

// From padded planes: one shifted copy for every term. panel[k * width + l] = planes[at[k] + l], l < count.
template <class T>
void unfold_shifted(const T* planes, const int32_t* at, int64_t terms, int64_t count, T* panel, int64_t width) {
  using V = Lanes_t<T>;
  constexpr int L = V::size;
  for (int64_t l = 0; l < count; l += L) {
    const int64_t n = min_of(L, count - l);
    if (n == L)
      for (int64_t k = 0; k < terms; ++k) store(panel + k * width + l, load(planes + at[k] + l));
    else
      for (int64_t k = 0; k < terms; ++k) store(panel + k * width + l, load(planes + at[k] + l, n), n);
  }
}

constexpr int64_t kPlaneTaps = 4096;  // of a kernel, for planes

// The unfolded input for one block of at most kBlockPixels pixels.
template <class T> struct Unfolder {
  const Gather<T>& job;
  bool use_planes;
  PlaneLayout layout;
  int64_t channels;  // that the planes hold
  int64_t taps;
  T* planes;  // [image of the block][channel][residue][row][column]
  int32_t at[kPlaneTaps];
  // The block:
  int64_t g, run_count, c0, left;
  Run runs[kBlockPixels];

  // `terms`: of the deepest panel that will be asked for at once.
  Unfolder(const Gather<T>& j, int64_t terms, T* memory) : job(j), taps(j.rows.taps * j.cols.taps), planes(memory) {
    // The largest block: as many grid rows as kBlockPixels can touch, or several images.
    const int64_t grid = job.grid();
    const bool several = grid < kBlockPixels / 2, narrow = job.cols.out >= kBlockPixels;
    const int64_t images = several ? min_of(job.N, kBlockPixels / max_of(1, grid) + 2) : 1;
    const int64_t height =
        several ? job.rows.out : min_of(job.rows.out, narrow ? 1 : kBlockPixels / max_of(1, job.cols.out) + 2);
    channels = taps ? min_of(job.C, max_of(1, terms / taps)) : 0;
    layout = plane_layout(job, height, narrow ? kBlockPixels : job.cols.out);
    // Pointwise, every element is used once: a copy would gain nothing.
    use_planes = taps > 1 && taps <= kPlaneTaps && layout.channel <= kPlaneElements / max_of(1, images * channels);
    if (use_planes) term_offsets(job, layout, channels, at);
  }

  void start(int64_t group, int64_t begin, int64_t end) {
    g = group;
    run_count = runs_of(job, begin, end, runs);
    left = job.cols.out >= kBlockPixels ? runs[0].j : 0;
  }

  // Makes channels [c, c + channels) ready.
  void load_channels(int64_t c) {
    c0 = c;
    if (!use_planes) return;
    const int64_t c1 = min_of(job.C, c + channels);
    T* to = planes;
    for (int64_t i = 0; i < run_count;) {
      const Run& first = runs[i];
      int64_t next = i;
      while (next < run_count && runs[next].n == first.n) ++next;
      fill_planes(job, layout, first.n, g, c, c1, first.i, runs[next - 1].i + 1 - first.i, left, to);
      to += channels * layout.channel;
      i = next;
    }
  }

  // All of the block for the terms [k0, k1): y[(k - k0) * kBlockPixels + l].
  void unfold(int64_t k0, int64_t k1, int64_t pixels, T* y) {
    for (int64_t k = k0; k < k1;) {
      if (k == k0 || k == (c0 + channels) * taps) load_channels(k / taps);
      const int64_t end = min_of(k1, (c0 + channels) * taps);
      panel(k, end, 0, pixels, y + (k - k0) * kBlockPixels, kBlockPixels);
      k = end;
    }
  }

  // panel[(k - k0) * width + l] for the terms [k0, k1) of the channels at hand and pixels [p, p + n) of the block.
  void panel(int64_t k0, int64_t k1, int64_t p, int64_t n, T* to, int64_t width) const {
    const T* image = planes;
    int64_t top = runs[0].i;
    for (int64_t i = 0; i < run_count && runs[i].at < p + n; ++i) {
      const Run& run = runs[i];
      if (i > 0 && run.n != runs[i - 1].n) {
        image += channels * layout.channel;
        top = run.i;
      }
      const int64_t skip = max_of(0, p - run.at), end = min_of(run.at + run.count, p + n);
      if (end <= run.at + skip) continue;
      const Run part{run.n, run.i, run.j + skip, run.at + skip - p, end - run.at - skip};
      if (use_planes)
        unfold_shifted(image + (run.i - top) * layout.pitch + part.j - left, at + (k0 - c0 * taps), k1 - k0, part.count,
                       to + part.at, width);
      else unfold_run(job, g, part, k0, k1, to, width);
    }
  }
};

}  // namespace
}  // namespace dl
