// sum, mean, prod, max, min and norms of float32 and bfloat16. Runs (inner = 1) are added in eight vectors at once;
// columns (inner > 1) row upon row, eight rows at a time, into sums that stay in L1.
#include "core/parallel.h"
#include "dispatch/kernel.h"
#include "kernels/reduce/reduce.h"
#include "simd/vec.h"

namespace dl {
namespace {

constexpr int64_t V = Vec::size;
constexpr int64_t kElementsPerBlock = 32768;
constexpr int kStreams = 8;
constexpr int kSteps = 16;  // additions one after another before a tree takes over: bounds the error of a sum

struct Sum {
  using Combine = Sum;
  static DL_INLINE Vec identity() { return zero(); }
  static DL_INLINE Vec map(Vec x) { return x; }
  static DL_INLINE Vec apply(Vec a, Vec b) { return a + b; }
  static DL_INLINE float lanes(Vec a) { return reduce_add(a); }
  static DL_INLINE Vec finish(Vec a, int64_t) { return a; }
};
struct Mean : Sum {
  static DL_INLINE Vec finish(Vec a, int64_t n) { return a / broadcast(static_cast<float>(n)); }
};
struct Norm1 : Sum {
  static DL_INLINE Vec map(Vec x) { return abs(x); }
};
struct Norm2 : Sum {
  static DL_INLINE Vec map(Vec x) { return x * x; }
  static DL_INLINE Vec finish(Vec a, int64_t) { return sqrt(a); }
};
struct Prod : Sum {
  using Combine = Prod;
  static DL_INLINE Vec identity() { return broadcast(1.0f); }
  static DL_INLINE Vec apply(Vec a, Vec b) { return a * b; }
  static DL_INLINE float lanes(Vec a) {
    float t[V];
    store(t, a);
    for (int64_t half = V / 2; half > 0; half /= 2)
      for (int64_t i = 0; i < half; ++i) t[i] *= t[i + half];
    return t[0];
  }
};
struct Max : Sum {
  using Combine = Max;
  static DL_INLINE Vec identity() { return broadcast(-__builtin_inff()); }
  static DL_INLINE Vec apply(Vec a, Vec b) { return max(a, b); }
  static DL_INLINE float lanes(Vec a) { return reduce_max(a); }
};
struct Min : Sum {
  using Combine = Min;
  static DL_INLINE Vec identity() { return broadcast(__builtin_inff()); }
  static DL_INLINE Vec apply(Vec a, Vec b) { return min(a, b); }
  static DL_INLINE float lanes(Vec a) { return reduce_min(a); }
};

template <class Op> DL_INLINE Vec tree(Vec* a) {
  for (int half = kStreams / 2; half > 0; half /= 2)
    for (int j = 0; j < half; ++j) a[j] = Op::apply(a[j], a[j + half]);
  return a[0];
}

template <class Op, class T> float reduce_run(const T* x, int64_t n) {
  Vec total = Op::identity();
  int64_t i = 0;
  while (n - i >= kStreams * V) {
    Vec a[kStreams];
    for (int j = 0; j < kStreams; ++j) a[j] = Op::map(load(x + i + j * V));
    i += kStreams * V;
    for (int s = 1; s < kSteps && n - i >= kStreams * V; ++s, i += kStreams * V)
      for (int j = 0; j < kStreams; ++j) a[j] = Op::apply(a[j], Op::map(load(x + i + j * V)));
    total = Op::apply(total, tree<Op>(a));
  }
  for (; n - i >= V; i += V) total = Op::apply(total, Op::map(load(x + i)));
  if (i < n) total = Op::apply(total, select(first_n(n - i), Op::map(load(x + i, n - i)), Op::identity()));
  return Op::lanes(total);
}

template <bool kWhole, class T> DL_INLINE Vec get(const T* p, int64_t n) {
  if constexpr (kWhole) return load(p);
  else return load(p, n);
}
template <bool kWhole, class T> DL_INLINE void put(T* p, Vec v, int64_t n) {
  if constexpr (kWhole) store(p, v);
  else store(p, v, n);
}

template <class Op, bool kWhole, class T> DL_INLINE void add_eight(const T* x, int64_t stride, float* acc, int64_t n) {
  Vec a[kStreams];
  for (int j = 0; j < kStreams; ++j) a[j] = Op::map(get<kWhole>(x + j * stride, n));
  put<kWhole>(acc, Op::apply(get<kWhole>(acc, n), tree<Op>(a)), n);
}
template <class Op, bool kWhole, class T> DL_INLINE void add_one(const T* x, float* acc, int64_t n) {
  put<kWhole>(acc, Op::apply(get<kWhole>(acc, n), Op::map(get<kWhole>(x, n))), n);
}

// acc[c] = op(acc[c], x[r, c]) for every r in [0, rows) and c in [0, width).
template <class Op, class T> void add_rows(const T* x, int64_t rows, int64_t stride, float* acc, int64_t width) {
  for (; rows >= kStreams; rows -= kStreams, x += kStreams * stride) {
    int64_t c = 0;
    for (; width - c >= V; c += V) add_eight<Op, true>(x + c, stride, acc + c, V);
    if (c < width) add_eight<Op, false>(x + c, stride, acc + c, width - c);
  }
  for (; rows > 0; --rows, x += stride) {
    int64_t c = 0;
    for (; width - c >= V; c += V) add_one<Op, true>(x + c, acc + c, V);
    if (c < width) add_one<Op, false>(x + c, acc + c, width - c);
  }
}

template <class Op, class Y> void finish(const float* acc, Y* y, int64_t width, int64_t n) {
  int64_t c = 0;
  for (; width - c >= V; c += V) store(y + c, Op::finish(load(acc + c), n));
  if (c < width) store(y + c, Op::finish(load(acc + c, width - c), n), width - c);
}

// acc (width columns) = the reduction of `rows` rows, `fold` of which are taken as one where they are narrow.
template <class Op, class T>
void reduce_rows(const T* x, int64_t rows, int64_t inner, int64_t width, int64_t fold, float* acc) {
  const int64_t wide = fold * width;
  for (int64_t c = 0; c < wide; c += V) store(acc + c, Op::identity());  // acc has room for whole vectors
  const int64_t folded = rows / fold;
  add_rows<Op>(x, folded, fold * inner, acc, wide);
  add_rows<Op>(x + folded * fold * inner, rows - folded * fold, inner, acc, width);
  if (fold > 1) add_rows<typename Op::Combine>(acc + width, fold - 1, width, acc, width);
}

template <class Op, class T>
void reduce_columns(const T* x, T* y, int64_t outer, int64_t n, int64_t inner, float* workspace) {
  const ReducePlan plan = plan_reduce(n, inner);
  const int64_t units = plan.chunks * plan.strips;
  const int64_t unit_elements = (plan.length < n ? plan.length : n) * (inner < kReduceStrip ? inner : kReduceStrip);
  parallel_for(outer * units, larger(1, kElementsPerBlock / unit_elements), [&](int64_t begin, int64_t end) {
    alignas(64) float acc[kReduceStrip];
    for (int64_t u = begin; u < end; ++u) {
      const int64_t o = u / units, chunk = u % units / plan.strips, first = u % plan.strips * kReduceStrip;
      const int64_t row = chunk * plan.length, rows = smaller(plan.length, n - row);
      const int64_t width = smaller(kReduceStrip, inner - first);
      reduce_rows<Op>(x + (o * n + row) * inner + first, rows, inner, width, plan.fold, acc);
      if (plan.chunks == 1) finish<Op>(acc, y + o * inner + first, width, n);
      else finish<Sum>(acc, workspace + (o * plan.chunks + chunk) * inner + first, width, n);
    }
  });
  if (plan.chunks == 1) return;
  const int64_t strip_elements = plan.chunks * (inner < kReduceStrip ? inner : kReduceStrip);
  parallel_for(outer * plan.strips, larger(1, kElementsPerBlock / strip_elements), [&](int64_t begin, int64_t end) {
    alignas(64) float acc[kReduceStrip];
    for (int64_t u = begin; u < end; ++u) {
      const int64_t o = u / plan.strips, first = u % plan.strips * kReduceStrip;
      const int64_t width = smaller(kReduceStrip, inner - first);
      reduce_rows<typename Op::Combine>(workspace + o * plan.chunks * inner + first, plan.chunks, inner, width, 1, acc);
      finish<Op>(acc, y + o * inner + first, width, n);
    }
  });
}

template <class Op, class T> void put_scalar(T* y, float total, int64_t n) {
  store(y, Op::finish(broadcast(total), n), 1);
}

template <class Op, class T> void reduce(const T* x, T* y, int64_t outer, int64_t n, int64_t inner, float* workspace) {
  if (inner > 1) return reduce_columns<Op>(x, y, outer, n, inner, workspace);
  const int64_t chunks = plan_reduce(n, 1).chunks;
  if (chunks == 1) {
    parallel_for(outer, larger(1, kElementsPerBlock / n), [&](int64_t begin, int64_t end) {
      for (int64_t o = begin; o < end; ++o) put_scalar<Op>(y + o, reduce_run<Op>(x + o * n, n), n);
    });
    return;
  }
  parallel_for(outer * chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t u = begin; u < end; ++u) {
      const int64_t start = u % chunks * kReduceRun;
      workspace[u] = reduce_run<Op>(x + u / chunks * n + start, smaller(kReduceRun, n - start));
    }
  });
  for (int64_t o = 0; o < outer; ++o)
    put_scalar<Op>(y + o, reduce_run<typename Op::Combine>(workspace + o * chunks, chunks), n);
}

#define DL_REDUCE(name, Op)                                                  \
  DL_REGISTER(name "/float32", (reduce<Op, float>), reduce_fn<float, float>) \
  DL_REGISTER(name "/bfloat16", (reduce<Op, bfloat16>), reduce_fn<bfloat16, bfloat16>)

DL_REDUCE("sum", Sum)
DL_REDUCE("mean", Mean)
DL_REDUCE("prod", Prod)
DL_REDUCE("norm1", Norm1)
DL_REDUCE("norm2", Norm2)
DL_REDUCE("max", Max)
DL_REDUCE("min", Min)

}  // namespace
}  // namespace dl
