// Reductions of the element types that Vec lacks, in plain loops that the compiler turns into vectors: integers and
// bool, whose sums and products wrap in int64, and float64.
#include <type_traits>

#include "core/parallel.h"
#include "dispatch/kernel.h"
#include "kernels/reduce/reduce.h"

namespace dl {
namespace {

constexpr int64_t kElementsPerBlock = 32768;

struct Sum {
  using Combine = Sum;
  template <class Y> static Y identity(Y) { return 0; }
  template <class Y> static Y map(Y x) { return x; }
  template <class Y> static Y apply(Y a, Y b) {
    if constexpr (std::is_floating_point_v<Y>) return a + b;
    else return static_cast<Y>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
  }
  template <class Y> static Y finish(Y a, int64_t) { return a; }
};
struct Mean : Sum {
  template <class Y> static Y finish(Y a, int64_t n) { return a / static_cast<Y>(n); }
};
struct Norm1 : Sum {
  template <class Y> static Y map(Y x) { return x < 0 ? -x : x; }
};
struct Norm2 : Sum {
  template <class Y> static Y map(Y x) { return x * x; }
  template <class Y> static Y finish(Y a, int64_t) { return __builtin_sqrt(a); }
};
struct Prod : Sum {
  using Combine = Prod;
  template <class Y> static Y identity(Y) { return 1; }
  template <class Y> static Y apply(Y a, Y b) {
    if constexpr (std::is_floating_point_v<Y>) return a * b;
    else return static_cast<Y>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
  }
};
struct Max : Sum {
  using Combine = Max;
  template <class Y> static Y identity(Y x) { return x; }  // any element: it changes nothing
  template <class Y> static Y apply(Y a, Y b) { return a > b || a != a ? a : b; }
};
struct Min : Max {
  using Combine = Min;
  template <class Y> static Y apply(Y a, Y b) { return a < b || a != a ? a : b; }
};

// Independent chains side by side: floating additions are not reordered by the compiler.
constexpr int64_t kLanes = 16;

template <class Op, class T, class Y> Y reduce_run(const T* x, int64_t n) {
  const Y least = Op::identity(Op::map(static_cast<Y>(x[0])));
  Y a[kLanes];
  for (int64_t j = 0; j < kLanes; ++j) a[j] = least;
  int64_t i = 0;
  for (; n - i >= kLanes; i += kLanes)
    for (int64_t j = 0; j < kLanes; ++j) a[j] = Op::apply(a[j], Op::map(static_cast<Y>(x[i + j])));
  for (; i < n; ++i) a[0] = Op::apply(a[0], Op::map(static_cast<Y>(x[i])));
  for (int64_t half = kLanes / 2; half > 0; half /= 2)
    for (int64_t j = 0; j < half; ++j) a[j] = Op::apply(a[j], a[j + half]);
  return a[0];
}

template <class Op, class T, class Y> void reduce_rows(const T* x, int64_t rows, int64_t stride, int64_t width, Y* y) {
  for (int64_t c = 0; c < width; ++c) y[c] = Op::identity(Op::map(static_cast<Y>(x[c])));
  for (int64_t r = 0; r < rows; ++r, x += stride)
    for (int64_t c = 0; c < width; ++c) y[c] = Op::apply(y[c], Op::map(static_cast<Y>(x[c])));
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
  parallel_for(outer, larger(1, kElementsPerBlock / (plan.chunks * inner)), [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o) {
      Y* to = y + o * inner;
      if (plan.chunks > 1)
        reduce_rows<typename Op::Combine>(workspace + o * plan.chunks * inner, plan.chunks, inner, inner, to);
      for (int64_t c = 0; c < inner; ++c) to[c] = Op::finish(to[c], n);
    }
  });
}

// The first place of the largest (smallest) element; rows of a strip are compared side by side.
template <class Op, class T>
void arg_reduce(const T* x, T* value, int64_t* index, int64_t outer, int64_t n, int64_t inner, int64_t*) {
  const int64_t strips = (inner + kReduceStrip - 1) / kReduceStrip;
  const int64_t grain = larger(1, kElementsPerBlock / (n * smaller(inner, kReduceStrip)));
  parallel_for(outer * strips, grain, [&](int64_t begin, int64_t end) {
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

#define DL_REDUCE_DOUBLE(name, Op) DL_REGISTER(name "/float64", (reduce<Op, double, double>), reduce_fn<double, double>)

DL_REDUCE_DOUBLE("sum", Sum)
DL_REDUCE_DOUBLE("mean", Mean)
DL_REDUCE_DOUBLE("prod", Prod)
DL_REDUCE_DOUBLE("norm1", Norm1)
DL_REDUCE_DOUBLE("norm2", Norm2)
DL_REDUCE_DOUBLE("max", Max)
DL_REDUCE_DOUBLE("min", Min)

}  // namespace
}  // namespace dl
