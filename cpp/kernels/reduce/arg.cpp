// argmax and argmin. Runs: the extreme value of a chunk in vectors, then the first place that holds it, looked for only
// where the chunk beats those before it. Columns: best values and their rows side by side in L1.
#include "core/parallel.h"
#include "dispatch/kernel.h"
#include "kernels/reduce/reduce.h"
#include "simd/rows.h"

namespace dl {
namespace {

constexpr int64_t V = Vec::size;
constexpr int64_t kElementsPerBlock = 32768;
constexpr int64_t kStrip = 512;

// Lanes where b is to replace a; a NaN comes before all numbers.
template <bool kMax> DL_INLINE Mask better(Vec b, Vec a) {
  return (kMax ? gt(b, a) : lt(b, a)) | (isnan(b) & !isnan(a));
}
template <bool kMax> DL_INLINE bool better(float b, float a) { return a == a && (b != b || (kMax ? b > a : b < a)); }

DL_INLINE float value_of(float x) { return x; }
DL_INLINE float value_of(bfloat16 x) { return to_float(x); }

template <bool kMax, class T> float extreme_of(const T* x, int64_t n) {
  if constexpr (kMax) return max_over(n, [&](int64_t i, auto lanes) DL_BODY { return load(x + i, lanes); });
  else return -max_over(n, [&](int64_t i, auto lanes) DL_BODY { return -load(x + i, lanes); });
}

template <class T> int64_t first_place(const T* x, int64_t n, float value) {
  const Vec v = broadcast(value);
  int64_t i = 0;
  for (; n - i >= V; i += V) {
    const Vec a = load(x + i);
    if (any(eq(a, v) | (isnan(a) & isnan(v)))) break;
  }
  while (i < n - 1 && !(value_of(x[i]) == value || (value != value && value_of(x[i]) != value_of(x[i])))) ++i;
  return i;
}

template <bool kMax, class T>
void along_runs(const T* x, T* value, int64_t* index, int64_t outer, int64_t n, int64_t* workspace) {
  const int64_t chunks = plan_reduce(n, 1).chunks;
  parallel_for(outer * chunks, larger(1, kElementsPerBlock / n), [&](int64_t begin, int64_t end) {
    for (int64_t u = begin; u < end; ++u) {
      const int64_t start = u % chunks * kReduceRun, count = smaller(kReduceRun, n - start);
      const T* run = x + u / chunks * n + start;
      const int64_t at = first_place(run, count, extreme_of<kMax>(run, count));
      if (chunks > 1) {
        workspace[u] = start + at;
      } else {
        index[u] = at;
        value[u] = run[at];
      }
    }
  });
  if (chunks == 1) return;
  for (int64_t o = 0; o < outer; ++o) {
    const int64_t* places = workspace + o * chunks;
    int64_t best = places[0];
    for (int64_t c = 1; c < chunks; ++c)
      if (better<kMax>(value_of(x[o * n + places[c]]), value_of(x[o * n + best]))) best = places[c];
    index[o] = best;
    value[o] = x[o * n + best];
  }
}

// The best row for each of `width` columns, of rows [row, row + rows).
template <bool kMax, class T>
void best_rows(const T* x, int64_t row, int64_t rows, int64_t inner, int64_t width, int32_t* place) {
  alignas(64) float best[kStrip];
  for_each_vec(width, [&](int64_t c, auto lanes) DL_BODY {
    store(best + c, load(x + row * inner + c, lanes));  // whole vectors: the arrays have room
    store(place + c, broadcast(static_cast<int32_t>(row)));
  });
  for (int64_t r = row + 1; r < row + rows; ++r) {
    const VecI here = broadcast(static_cast<int32_t>(r));
    for_each_vec(width, [&](int64_t c, auto lanes) DL_BODY {
      const Vec a = load(x + r * inner + c, lanes), b = load(best + c);
      const Mask m = better<kMax>(a, b);
      store(best + c, select(m, a, b));
      store(place + c, select(m, here, load(place + c)));
    });
  }
}

// The same for few columns: V rows side by side are one row of V times as many.
template <bool kMax, class T>
void best_rows_narrow(const T* x, int64_t row, int64_t rows, int64_t inner, int32_t* place) {
  alignas(64) int32_t group[kStrip];
  const int64_t groups = rows / V, width = inner * V;
  best_rows<kMax>(x + row * inner, 0, groups, width, width, group);
  for (int64_t c = 0; c < inner; ++c) {
    int64_t best = row + group[c] * V;
    const auto consider = [&](int64_t r) {
      const float a = value_of(x[r * inner + c]), b = value_of(x[best * inner + c]);
      const bool equal = a == b || (a != a && b != b);
      if (better<kMax>(a, b) || (equal && r < best)) best = r;
    };
    for (int64_t q = 1; q < V; ++q) consider(row + group[q * inner + c] * V + q);
    for (int64_t r = row + groups * V; r < row + rows; ++r) consider(r);
    place[c] = static_cast<int32_t>(best);
  }
}

template <bool kMax, class T>
void along_columns(const T* x, T* value, int64_t* index, int64_t outer, int64_t n, int64_t inner, int64_t* workspace) {
  const ReducePlan plan = plan_reduce(n, inner);
  const int64_t strips = (inner + kStrip - 1) / kStrip, units = plan.chunks * strips;
  int64_t* const places = plan.chunks > 1 ? workspace : index;
  parallel_for(outer * units, larger(1, kElementsPerBlock / (smaller(plan.length, n) * smaller(inner, kStrip))),
               [&](int64_t begin, int64_t end) {
                 alignas(64) int32_t place[kStrip];
                 for (int64_t u = begin; u < end; ++u) {
                   const int64_t o = u / units, chunk = u % units / strips, first = u % strips * kStrip;
                   const int64_t row = chunk * plan.length, width = smaller(kStrip, inner - first);
                   const int64_t rows = smaller(plan.length, n - row);
                   if (inner < V && rows >= 4 * V) best_rows_narrow<kMax>(x + o * n * inner, row, rows, inner, place);
                   else best_rows<kMax>(x + o * n * inner + first, row, rows, inner, width, place);
                   int64_t* to = places + (o * plan.chunks + chunk) * inner + first;
                   for (int64_t c = 0; c < width; ++c) to[c] = place[c];
                 }
               });
  parallel_for(outer, larger(1, kElementsPerBlock / (plan.chunks * inner)), [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o)
      for (int64_t i = 0; i < inner; ++i) {
        const T* column = x + o * n * inner + i;
        const int64_t* from = places + o * plan.chunks * inner + i;
        int64_t best = from[0];
        for (int64_t c = 1; c < plan.chunks; ++c)
          if (better<kMax>(value_of(column[from[c * inner] * inner]), value_of(column[best * inner])))
            best = from[c * inner];
        index[o * inner + i] = best;
        value[o * inner + i] = column[best * inner];
      }
  });
}

template <bool kMax, class T>
void arg_reduce(const T* x, T* value, int64_t* index, int64_t outer, int64_t n, int64_t inner, int64_t* workspace) {
  if (inner == 1) along_runs<kMax>(x, value, index, outer, n, workspace);
  else along_columns<kMax>(x, value, index, outer, n, inner, workspace);
}

DL_REGISTER("argmax/float32", (arg_reduce<true, float>), arg_reduce_fn<float>)
DL_REGISTER("argmin/float32", (arg_reduce<false, float>), arg_reduce_fn<float>)
DL_REGISTER("argmax/bfloat16", (arg_reduce<true, bfloat16>), arg_reduce_fn<bfloat16>)
DL_REGISTER("argmin/bfloat16", (arg_reduce<false, bfloat16>), arg_reduce_fn<bfloat16>)

}  // namespace
}  // namespace dl
