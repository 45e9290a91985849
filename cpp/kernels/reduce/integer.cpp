// Reductions of integers and bool: plain loops that the compiler turns into vectors. Sums and products wrap in int64.
#include "core/parallel.h"
#include "dispatch/kernel.h"
#include "kernels/reduce/reduce.h"

namespace dl {
namespace {

constexpr int64_t kElementsPerBlock = 32768;

struct Sum {
  template <class Y> static constexpr Y first(Y) { return 0; }
  template <class Y> static Y apply(Y a, Y b) {
    return static_cast<Y>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
  }
};
struct Prod {
  template <class Y> static constexpr Y first(Y) { return 1; }
  template <class Y> static Y apply(Y a, Y b) {
    return static_cast<Y>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
  }
};
struct Max {
  template <class Y> static Y first(Y x) { return x; }
  template <class Y> static Y apply(Y a, Y b) { return a > b ? a : b; }
};
struct Min {
  template <class Y> static Y first(Y x) { return x; }
  template <class Y> static Y apply(Y a, Y b) { return a < b ? a : b; }
};

template <class Op, class T, class Y> Y reduce_run(const T* x, int64_t n) {
  Y total = Op::first(static_cast<Y>(x[0]));
  for (int64_t i = 0; i < n; ++i) total = Op::apply(total, static_cast<Y>(x[i]));
  return total;
}

template <class Op, class T, class Y> void reduce_rows(const T* x, int64_t rows, int64_t stride, int64_t width, Y* y) {
  for (int64_t c = 0; c < width; ++c) y[c] = Op::first(static_cast<Y>(x[c]));
  for (int64_t r = 0; r < rows; ++r, x += stride)
    for (int64_t c = 0; c < width; ++c) y[c] = Op::apply(y[c], static_cast<Y>(x[c]));
}

// One level of chunks into partial results, one to combine them.
template <class Op, class T, class Y>
void reduce(const T* x, Y* y, int64_t outer, int64_t n, int64_t inner, Y* workspace) {
  const ReducePlan plan = plan_reduce(n, inner);
  const int64_t units = plan.chunks * plan.strips;
  const int64_t unit_elements = smaller(plan.length, n) * smaller(inner, kReduceStrip);
  Y* const partial = plan.chunks == 1 ? y : workspace;
  parallel_for(outer * units, larger(1, kElementsPerBlock / unit_elements), [&](int64_t begin, int64_t end) {
    for (int64_t u = begin; u < end; ++u) {
      const int64_t o = u / units, chunk = u % units / plan.strips, first = u % plan.strips * kReduceStrip;
      const int64_t row = chunk * plan.length, rows = smaller(plan.length, n - row);
      const T* from = x + (o * n + row) * inner + first;
      Y* to = partial + (o * plan.chunks + chunk) * inner + first;
      if (inner == 1) *to = reduce_run<Op, T, Y>(from, rows);
      else reduce_rows<Op>(from, rows, inner, smaller(kReduceStrip, inner - first), to);
    }
  });
  if (plan.chunks == 1) return;
  parallel_for(outer, larger(1, kElementsPerBlock / (plan.chunks * inner)), [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o)
      reduce_rows<Op>(workspace + o * plan.chunks * inner, plan.chunks, inner, inner, y + o * inner);
  });
}

// The first place of the largest (smallest) element; rows of a strip are compared side by side.
template <class Op, class T>
void arg_reduce(const T* x, T* value, int64_t* index, int64_t outer, int64_t n, int64_t inner, int64_t*) {
  const int64_t strips = (inner + kReduceStrip - 1) / kReduceStrip;
  parallel_for(outer * strips, larger(1, kElementsPerBlock / (n * smaller(inner, kReduceStrip))),
               [&](int64_t begin, int64_t end) {
                 for (int64_t u = begin; u < end; ++u) {
                   const int64_t first = u % strips * kReduceStrip, width = smaller(kReduceStrip, inner - first);
                   const T* from = x + u / strips * n * inner + first;
                   T* best = value + u / strips * inner + first;
                   int64_t* place = index + u / strips * inner + first;
                   for (int64_t c = 0; c < width; ++c) {
                     best[c] = from[c];
                     place[c] = 0;
                   }
                   for (int64_t k = 1; k < n; ++k)
                     for (int64_t c = 0; c < width; ++c) {
                       const T v = from[k * inner + c];
                       const bool better = v != best[c] && Op::apply(best[c], v) == v;
                       best[c] = better ? v : best[c];
                       place[c] = better ? k : place[c];
                     }
                 }
               });
}

#define DL_REDUCE_INTEGER(T, name)                                             \
  DL_REGISTER("sum/" name, (reduce<Sum, T, int64_t>), reduce_fn<T, int64_t>)   \
  DL_REGISTER("prod/" name, (reduce<Prod, T, int64_t>), reduce_fn<T, int64_t>) \
  DL_REGISTER("max/" name, (reduce<Max, T, T>), reduce_fn<T, T>)               \
  DL_REGISTER("min/" name, (reduce<Min, T, T>), reduce_fn<T, T>)               \
  DL_REGISTER("argmax/" name, (arg_reduce<Max, T>), arg_reduce_fn<T>)          \
  DL_REGISTER("argmin/" name, (arg_reduce<Min, T>), arg_reduce_fn<T>)

DL_REDUCE_INTEGER(int64_t, "int64")
DL_REDUCE_INTEGER(int32_t, "int32")
DL_REDUCE_INTEGER(uint8_t, "uint8")
DL_REDUCE_INTEGER(bool, "bool")

}  // namespace
}  // namespace dl
