// Batch norm: a channel, or a strip of narrow ones, is summed part by part, and while it is still in the second cache
// its results are written. What is too large or too few for that takes the same parts in separate passes, with the
// same bits.
#include "core/parallel.h"
#include "dispatch/kernel.h"
#include "kernels/batch_norm/batch_norm.h"
#include "simd/rows.h"

namespace dl {
namespace {

constexpr int64_t kElementsPerBlock = 16384;
constexpr int64_t kStrip = kBatchNormStrip;
constexpr int kParams = 4;  // numbers of a channel that a mapping takes

inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// One part of one unit: `rows` runs of `len` elements, a sample apart, the first at element `at`.
struct Tile {
  int64_t at, rows, len, stride, first, channels, S;  // first: the first of its channels
  bool narrow;
  double elements() const { return static_cast<double>(rows * len / channels); }  // of a channel
};
inline Tile tile_of(const BatchNormShape& s, const BatchNormPlan& p, int64_t unit, int64_t part) {
  const int64_t n = part / p.parts_of_run * p.rows, from = part % p.parts_of_run * p.span, first = unit * p.channels;
  const int64_t channels = least(p.channels, s.C - first), len = p.narrow ? channels * s.S : least(p.span, s.S - from);
  return {(n * s.C + first) * s.S + from, least(p.rows, s.N - n), len, s.C * s.S, first, channels, s.S, p.narrow};
}

// Sums over a wide tile: terms(i, lanes, add) has the element i.
template <int kSums, class Terms> DL_INLINE Sums<kSums> tile_sums(const Tile& t, const Terms& terms) {
  constexpr int64_t kRuns = 8;  // one after another before a tree takes over: bounds the error where runs are short
  Vec total[kSums];
  for (int k = 0; k < kSums; ++k) total[k] = zero();
  for (int64_t r = 0; r < t.rows; r += kRuns) {
    Vec some[kSums];
    for (int k = 0; k < kSums; ++k) some[k] = zero();
    for (int64_t j = r; j < least(t.rows, r + kRuns); ++j) {
      const int64_t row = t.at + j * t.stride;
      add_sums(t.len, [&](int64_t i, auto lanes, auto add) DL_BODY { terms(row + i, lanes, add); }, some);
    }
    for (int k = 0; k < kSums; ++k) total[k] += some[k];
  }
  Sums<kSums> sums;
  for (int k = 0; k < kSums; ++k) sums.of[k] = reduce_add(total[k]);
  return sums;
}

// Sums over the rows of a narrow tile, column by column: terms(i, c, lanes, add) has the element i and the column c.
template <int kSums, class Terms>
DL_INLINE void column_sums(const Tile& t, float (&sums)[kSums][kStrip], const Terms& terms) {
  constexpr int64_t kRows = 4;  // at a time: fewer trips to the sums, and a shallower tree
  for (int64_t r = 0; r < t.rows; r += kRows) {
    const int64_t rows = least(kRows, t.rows - r);
    for_each_vec(t.len, [&](int64_t c, auto lanes) DL_BODY {
      Vec a[kSums];
      for (int k = 0; k < kSums; ++k) a[k] = r == 0 ? zero() : load(sums[k] + c, lanes);
      if (rows == kRows) {
        Vec b[kRows][kSums];
        for (int64_t j = 0; j < kRows; ++j)
          terms(t.at + (r + j) * t.stride + c, c, lanes, [&](int k, Vec v) DL_BODY { b[j][k] = v; });
        for (int k = 0; k < kSums; ++k) a[k] += (b[0][k] + b[1][k]) + (b[2][k] + b[3][k]);
      } else {
        for (int64_t j = 0; j < rows; ++j)
          terms(t.at + (r + j) * t.stride + c, c, lanes, [&](int k, Vec v) DL_BODY { a[k] += v; });
      }
      for (int k = 0; k < kSums; ++k) store(sums[k] + c, a[k], lanes);
    });
  }
}

// The sums of each channel's columns, and a channel's number for each of its columns. One column is a loop by itself:
// the compiler makes it vectors.
inline void fold(const float* columns, const Tile& t, double* of_channel) {
  if (t.S == 1) {
    for (int64_t c = 0; c < t.channels; ++c) of_channel[c] = columns[c];
    return;
  }
  for (int64_t c = 0; c < t.channels; ++c) {
    double sum = columns[c * t.S];
    for (int64_t i = 1; i < t.S; ++i) sum += columns[c * t.S + i];
    of_channel[c] = sum;
  }
}
inline void spread(const float* of_channel, const Tile& t, float* columns) {
  if (t.S == 1) {
    for (int64_t c = 0; c < t.channels; ++c) columns[c] = of_channel[c];
    return;
  }
  for (int64_t c = 0; c < t.channels; ++c)
    for (int64_t i = 0; i < t.S; ++i) columns[c * t.S + i] = of_channel[c];
}

// Means and sums of squared deviations of a tile's channels: first the mean, then the deviations from it, whose own
// sum puts right what rounding took from the mean.
inline void settle(double n, float near, double d, double squares, double* mean, double* m2) {
  *mean = near + d / n;
  const double about = squares - d * d / n;
  *m2 = about < 0 ? 0 : about;
}

template <class T> void moments(const T* x, const Tile& t, double* mean, double* m2) {
  const double n = t.elements();
  if (!t.narrow) {
    const auto sum = tile_sums<1>(t, [&](int64_t i, auto lanes, auto add) DL_BODY { add(0, load(x + i, lanes)); });
    const float near = sum.of[0] / static_cast<float>(n);
    const Vec m = broadcast(near);
    const auto about = tile_sums<2>(t, [&](int64_t i, auto lanes, auto add) DL_BODY {
      const Vec d = load(x + i, lanes) - m;
      add(0, d);
      add(1, d * d);
    });
    return settle(n, near, about.of[0], about.of[1], mean, m2);
  }
  float sum[1][kStrip], about[2][kStrip], near[kStrip], m[kStrip];
  column_sums(t, sum, [&](int64_t i, int64_t, auto lanes, auto add) DL_BODY { add(0, load(x + i, lanes)); });
  fold(sum[0], t, mean);
  for (int64_t c = 0; c < t.channels; ++c) near[c] = static_cast<float>(mean[c] / n);
  spread(near, t, m);
  column_sums(t, about, [&](int64_t i, int64_t c, auto lanes, auto add) DL_BODY {
    const Vec d = load(x + i, lanes) - load(m + c, lanes);
    add(0, d);
    add(1, d * d);
  });
  double d[kStrip];
  fold(about[0], t, d);
  fold(about[1], t, m2);
  for (int64_t c = 0; c < t.channels; ++c) settle(n, near[c], d[c], m2[c], mean + c, m2 + c);
}

// Sums of dy and of dy * (x - centre) of a tile's channels.
template <class T>
void gradient_sums(const T* x, const T* dy, const float* centre, const Tile& t, double* sum, double* sum_x) {
  if (!t.narrow) {
    const Vec m = broadcast(centre[0]);
    const auto total = tile_sums<2>(t, [&](int64_t i, auto lanes, auto add) DL_BODY {
      const Vec d = load(dy + i, lanes);
      add(0, d);
      add(1, d * (load(x + i, lanes) - m));
    });
    *sum = total.of[0];
    *sum_x = total.of[1];
    return;
  }
  float total[2][kStrip], m[kStrip];
  spread(centre, t, m);
  column_sums(t, total, [&](int64_t i, int64_t c, auto lanes, auto add) DL_BODY {
    const Vec d = load(dy + i, lanes);
    add(0, d);
    add(1, d * (load(x + i, lanes) - load(m + c, lanes)));
  });
  fold(total[0], t, sum);
  fold(total[1], t, sum_x);
}

// body(i, p, lanes) for every element i, with the numbers p of its channel.
template <int kUsed, class Body>
DL_INLINE void for_tile(const Tile& t, const float* const (&params)[kParams], const Body& body) {
  if (!t.narrow) {
    Vec p[kUsed];
    for (int k = 0; k < kUsed; ++k) p[k] = broadcast(params[k][0]);
    for (int64_t r = 0; r < t.rows; ++r)
      for_each_vec(t.len, [&](int64_t i, auto lanes) DL_BODY { body(t.at + r * t.stride + i, p, lanes); });
    return;
  }
  float columns[kUsed][kStrip];
  for (int k = 0; k < kUsed; ++k) spread(params[k], t, columns[k]);
  for (int64_t r = 0; r < t.rows; ++r)
    for_each_vec(t.len, [&](int64_t i, auto lanes) DL_BODY {
      Vec p[kUsed];
      for (int k = 0; k < kUsed; ++k) p[k] = load(columns[k] + i, lanes);
      body(t.at + r * t.stride + i, p, lanes);
    });
}

// A pass over x has two sums for each channel of each tile (sums), merged over the tiles in order (merge), which give
// results and the numbers of a mapping (finish), which is then done (map).
template <class Pass> void merge_parts(const Pass& pass, const BatchNormShape& s, const BatchNormPlan& p, int64_t unit,
                                       const double* parts, double* a, double* b) {
  double own_a[kStrip], own_b[kStrip], before = 0;
  for (int64_t c = 0; c < p.channels; ++c) a[c] = b[c] = 0;
  for (int64_t part = 0; part < p.parts; ++part) {
    const Tile t = tile_of(s, p, unit, part);
    const double *next_a = own_a, *next_b = own_b;
    if (parts) {
      next_a = parts + 2 * part * s.C + t.first;
      next_b = next_a + s.C;
    } else {
      pass.sums(t, own_a, own_b);
    }
    const double n = t.elements();
    for (int64_t c = 0; c < t.channels; ++c) Pass::merge(before, a[c], b[c], n, next_a[c], next_b[c]);
    before += n;
  }
}

template <class Pass> void run(const Pass& pass, const BatchNormShape& s, double* workspace) {
  const BatchNormPlan p = batch_norm_plan(s);
  const int64_t unit_elements = s.N * s.S * p.channels;
  if (p.fused) {
    const int64_t grain = unit_elements < kElementsPerBlock ? kElementsPerBlock / unit_elements : 1;
    parallel_for(p.units, grain, [&](int64_t begin, int64_t end) {
      for (int64_t u = begin; u < end; ++u) {
        double a[kStrip], b[kStrip];
        float numbers[kParams][kStrip];
        float* const to[kParams] = {numbers[0], numbers[1], numbers[2], numbers[3]};
        const float* const from[kParams] = {numbers[0], numbers[1], numbers[2], numbers[3]};
        const Tile whole = tile_of(s, p, u, 0);
        if constexpr (Pass::has_sums) merge_parts(pass, s, p, u, nullptr, a, b);
        pass.finish(whole.first, whole.channels, a, b, to);
        if (pass.has_map)
          for (int64_t part = 0; part < p.parts; ++part) pass.map(tile_of(s, p, u, part), from);
      }
    });
    return;
  }
  const int64_t items = p.units * p.parts, item = (unit_elements + p.parts - 1) / p.parts;
  const int64_t grain = item < kElementsPerBlock ? (kElementsPerBlock + item - 1) / item : 1;
  float* const numbers = reinterpret_cast<float*>(workspace + 2 * s.C * p.parts);
  if constexpr (Pass::has_sums)
    parallel_for(items, grain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t part = i / p.units;
        const Tile t = tile_of(s, p, i % p.units, part);
        double* const a = workspace + 2 * part * s.C + t.first;
        pass.sums(t, a, a + s.C);
      }
    });
  parallel_for(p.units, 1 + 1024 / (p.channels * p.parts), [&](int64_t begin, int64_t end) {
    for (int64_t u = begin; u < end; ++u) {
      double a[kStrip], b[kStrip];
      const Tile whole = tile_of(s, p, u, 0);
      float* const to[kParams] = {numbers + whole.first, numbers + s.C + whole.first, numbers + 2 * s.C + whole.first,
                                  numbers + 3 * s.C + whole.first};
      if constexpr (Pass::has_sums) merge_parts(pass, s, p, u, workspace, a, b);
      pass.finish(whole.first, whole.channels, a, b, to);
    }
  });
  if (pass.has_map)
    parallel_for(items, grain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const Tile t = tile_of(s, p, i % p.units, i / p.units);
        const float* const from[kParams] = {numbers + t.first, numbers + s.C + t.first, numbers + 2 * s.C + t.first,
                                            numbers + 3 * s.C + t.first};
        pass.map(t, from);
      }
    });
}

// y = (x - centre) * scale + shift, where centre is the mean as a float and shift makes up for its rounding.
template <class T> struct Normalise {
  const T* x;
  const float *w, *b;
  T* y;
  double eps;
  static constexpr bool has_map = true;

  void numbers(int64_t c, double mean, double var, float* const (&to)[kParams], int64_t at) const {
    const double scale = (w ? w[c] : 1) / __builtin_sqrt(var + eps);
    to[0][at] = static_cast<float>(mean);
    to[1][at] = static_cast<float>(scale);
    to[2][at] = static_cast<float>((to[0][at] - mean) * scale + (b ? b[c] : 0));
  }
  void map(const Tile& t, const float* const (&params)[kParams]) const {
    for_tile<3>(t, params, [&](int64_t i, const Vec* p, auto lanes) DL_BODY {
      store(y + i, fma(load(x + i, lanes) - p[0], p[1], p[2]), lanes);
    });
  }
};

template <class T> struct Forward : Normalise<T> {
  double *mean, *var, n;
  static constexpr bool has_sums = true;

  void sums(const Tile& t, double* a, double* b) const { moments(this->x, t, a, b); }
  // Chan, Golub, LeVeque, Updating formulae and a pairwise algorithm for computing sample variances, 1979.
  static void merge(double n, double& mean, double& m2, double more, double its_mean, double its_m2) {
    const double share = more / (n + more), delta = its_mean - mean;
    mean += delta * share;
    m2 += its_m2 + delta * delta * (n * share);
  }
  void finish(int64_t first, int64_t channels, const double* a, const double* b, float* const (&to)[kParams]) const {
    for (int64_t c = 0; c < channels; ++c) {
      mean[first + c] = a[c];
      var[first + c] = b[c] / n;
      this->numbers(first + c, a[c], b[c] / n, to, c);
    }
  }
};

template <class T> struct Apply : Normalise<T> {
  const double *mean, *var;
  static constexpr bool has_sums = false;

  void sums(const Tile&, double*, double*) const {}
  static void merge(double, double&, double&, double, double, double) {}
  void finish(int64_t first, int64_t channels, const double*, const double*, float* const (&to)[kParams]) const {
    for (int64_t c = 0; c < channels; ++c) this->numbers(first + c, mean[first + c], var[first + c], to, c);
  }
};

// dx = dy * scale + (x - centre) * slope + shift, the last two where the statistics are x's own.
template <class T> struct Backward {
  const T* x;
  const float* w;
  const double *mean, *var;
  const T* dy;
  T* dx;
  float *dw, *db;
  double eps, n;
  bool own, has_map;
  static constexpr bool has_sums = true;

  void sums(const Tile& t, double* a, double* b) const {
    float centre[kStrip];
    for (int64_t c = 0; c < t.channels; ++c) centre[c] = static_cast<float>(mean[t.first + c]);
    gradient_sums(x, dy, centre, t, a, b);
  }
  static void merge(double, double& sum, double& sum_x, double, double its_sum, double its_sum_x) {
    sum += its_sum;
    sum_x += its_sum_x;
  }
  void finish(int64_t first, int64_t channels, const double* a, const double* b, float* const (&to)[kParams]) const {
    for (int64_t c = 0; c < channels; ++c) {
      const int64_t i = first + c;
      const double rstd = 1 / __builtin_sqrt(var[i] + eps), scale = (w ? w[i] : 1) * rstd;
      to[0][c] = static_cast<float>(scale);
      const float centre = static_cast<float>(mean[i]);
      const double sum_xhat = (b[c] - (mean[i] - centre) * a[c]) * rstd, slope = -scale * rstd * sum_xhat / n;
      if (dw) dw[i] = static_cast<float>(sum_xhat);
      if (db) db[i] = static_cast<float>(a[c]);
      to[1][c] = centre;
      to[2][c] = static_cast<float>(slope);
      to[3][c] = static_cast<float>(-scale * a[c] / n - slope * (mean[i] - centre));
    }
  }
  void map(const Tile& t, const float* const (&params)[kParams]) const {
    if (own)
      for_tile<4>(t, params, [&](int64_t i, const Vec* p, auto lanes) DL_BODY {
        store(dx + i, fma(load(dy + i, lanes), p[0], fma(load(x + i, lanes) - p[1], p[2], p[3])), lanes);
      });
    else
      for_tile<1>(t, params, [&](int64_t i, const Vec* p, auto lanes) DL_BODY {
        store(dx + i, load(dy + i, lanes) * p[0], lanes);
      });
  }
};

// dx = dy * scale: a given mean and variance, and no gradients of w and b.
template <class T> struct Scale {
  const float* w;
  const double* var;
  const T* dy;
  T* dx;
  double eps;
  static constexpr bool has_sums = false, has_map = true;

  void sums(const Tile&, double*, double*) const {}
  static void merge(double, double&, double&, double, double, double) {}
  void finish(int64_t first, int64_t channels, const double*, const double*, float* const (&to)[kParams]) const {
    for (int64_t c = 0; c < channels; ++c)
      to[0][c] = static_cast<float>((w ? w[first + c] : 1) / __builtin_sqrt(var[first + c] + eps));
  }
  void map(const Tile& t, const float* const (&params)[kParams]) const {
    for_tile<1>(t, params,
                [&](int64_t i, const Vec* p, auto lanes) DL_BODY { store(dx + i, load(dy + i, lanes) * p[0], lanes); });
  }
};

double elements_of(const BatchNormShape* s) { return static_cast<double>(s->N * s->S); }

template <class T> void forward(const T* x, const float* w, const float* b, T* y, double* mean, double* var,
                                double* workspace, const BatchNormShape* s, double eps) {
  run(Forward<T>{{x, w, b, y, eps}, mean, var, elements_of(s)}, *s, workspace);
}

template <class T> void apply(const T* x, const float* w, const float* b, const double* mean, const double* var, T* y,
                              double* workspace, const BatchNormShape* s, double eps) {
  run(Apply<T>{{x, w, b, y, eps}, mean, var}, *s, workspace);
}

template <class T> void backward(const T* x, const float* w, const double* mean, const double* var, const T* dy, T* dx,
                                 float* dw, float* db, double* workspace, const BatchNormShape* s, double eps,
                                 bool own) {
  if (dw || db || own)
    run(Backward<T>{x, w, mean, var, dy, dx, dw, db, eps, elements_of(s), own, dx != nullptr}, *s, workspace);
  else if (dx) run(Scale<T>{w, var, dy, dx, eps}, *s, workspace);
}

#define DL_BATCH_NORM(T, name)                                                  \
  DL_REGISTER("batch_norm_forward/" name, forward<T>, batch_norm_forward_fn<T>) \
  DL_REGISTER("batch_norm_apply/" name, apply<T>, batch_norm_apply_fn<T>)       \
  DL_REGISTER("batch_norm_backward/" name, backward<T>, batch_norm_backward_fn<T>)
DL_BATCH_NORM(float, "float32")
DL_BATCH_NORM(bfloat16, "bfloat16")

}  // namespace
}  // namespace dl
