// Reductions over the middle of (outer, n, inner). Every pass makes of n elements n / kRun partial results, until one
// is left: a block sums a run of elements that lie together (inner = 1), a thread a run down a column. Runs are short
// and their results combined in trees, so that rounding errors stay small, and depend on the sizes alone.
#include "kernels/reduce/reduce.h"

#include "cuda/core/rows.h"
#include "kernels/elementwise/register.h"

namespace dl {
namespace {

using namespace cuda;

constexpr int64_t kRun = 8192;      // elements a block combines: 32 a thread, one after the other
constexpr int64_t kColumnRun = 64;  // elements a thread combines down a column

// What a reduction keeps while it goes: integers and bool add up in int64, wrapping.
template <class T> struct Keeps { using type = Compute<T>; };
template <> struct Keeps<int64_t> { using type = uint64_t; };
template <> struct Keeps<int32_t> { using type = uint64_t; };
template <> struct Keeps<uint8_t> { using type = uint64_t; };
template <> struct Keeps<bool> { using type = uint64_t; };

struct SumOp {
  static constexpr auto name = "sum";
  template <class A, class T> static DL_DEVICE A first(T v) { return static_cast<A>(v); }
  template <class A> static DL_DEVICE A none() { return A(0); }
  template <class A> DL_DEVICE A operator()(A a, A b) const { return a + b; }
  template <class Y, class A> static DL_DEVICE Y last(A a, int64_t) { return narrow<Y>(a); }
};
struct MeanOp : SumOp {
  static constexpr auto name = "mean";
  template <class Y, class A> static DL_DEVICE Y last(A a, int64_t n) { return narrow<Y>(a / static_cast<A>(n)); }
};
struct Norm1Op : SumOp {
  static constexpr auto name = "norm1";
  template <class A, class T> static DL_DEVICE A first(T v) { return fabs(static_cast<A>(v)); }
};
// Squares in double: no float overflows or vanishes there.
struct Norm2Op : SumOp {
  static constexpr auto name = "norm2";
  template <class A, class T> static DL_DEVICE A first(T v) { return static_cast<A>(v) * static_cast<A>(v); }
  template <class Y, class A> static DL_DEVICE Y last(A a, int64_t) {
    return narrow<Y>(static_cast<Compute<Y>>(sqrt(a)));
  }
};
struct ProdOp : SumOp {
  static constexpr auto name = "prod";
  template <class A> static DL_DEVICE A none() { return A(1); }
  template <class A> DL_DEVICE A operator()(A a, A b) const { return a * b; }
};
struct MaxOp : SumOp {
  static constexpr auto name = "max";
  template <class A> static DL_DEVICE A none() {
    if constexpr (std::is_floating_point_v<A>) return -std::numeric_limits<A>::infinity();
    else return std::numeric_limits<A>::lowest();
  }
  template <class A> DL_DEVICE A operator()(A a, A b) const { return larger_or_nan(a, b); }
};
struct MinOp : SumOp {
  static constexpr auto name = "min";
  template <class A> static DL_DEVICE A none() {
    if constexpr (std::is_floating_point_v<A>) return std::numeric_limits<A>::infinity();
    else return std::numeric_limits<A>::max();
  }
  template <class A> DL_DEVICE A operator()(A a, A b) const { return a < b || a != a ? a : b; }
};

// One pass: x (outer, n, inner) -> y (outer, ceil(n / run), inner). kFirst: x holds elements, not partial results;
// kLast: y takes the results of the whole reduction over `total` elements.
template <class Op, bool kFirst, bool kLast, class A, class X, class Y> __global__ void __launch_bounds__(kRowThreads)
    rows_pass(const X* x, Y* y, int64_t n, int64_t runs, int64_t total, int64_t tasks) {
  DL_SHARED(A, room, kRowThreads / kWarp);
  for (int64_t task = blockIdx.x; task < tasks; task += gridDim.x) {
    const int64_t row = task / runs, begin = task % runs * kRun;
    const int64_t end = begin + kRun < n ? begin + kRun : n;
    A own = Op::template none<A>();
    for (int64_t i = begin + threadIdx.x; i < end; i += kRowThreads) {
      const X v = x[row * n + i];
      if constexpr (kFirst) own = Op{}(own, Op::template first<A>(widen(v)));
      else own = Op{}(own, v);
    }
    const A all = block_combine<kRowThreads>(own, room, Op{});
    if (threadIdx.x == 0) {
      if constexpr (kLast) y[task] = Op::template last<Y>(all, total);
      else y[task] = all;
    }
  }
}
template <class Op, bool kFirst, bool kLast, class A, class X, class Y> __global__ void __launch_bounds__(kRowThreads)
    columns_pass(const X* x, Y* y, int64_t n, int64_t inner, int64_t runs, int64_t total, int64_t tasks) {
  for (int64_t t = int64_t{blockIdx.x} * kRowThreads + threadIdx.x; t < tasks; t += int64_t{gridDim.x} * kRowThreads) {
    const int64_t column = t % inner, run = t / inner % runs, row = t / inner / runs;
    const int64_t begin = run * kColumnRun, end = begin + kColumnRun < n ? begin + kColumnRun : n;
    A all = Op::template none<A>();
    for (int64_t k = begin; k < end; ++k) {
      const X v = x[(row * n + k) * inner + column];
      if constexpr (kFirst) all = Op{}(all, Op::template first<A>(widen(v)));
      else all = Op{}(all, v);
    }
    if constexpr (kLast) y[t] = Op::template last<Y>(all, total);
    else y[t] = all;
  }
}

struct Extent { int64_t outer, n, inner; };
int64_t runs_of(const Extent& e) {
  return e.inner == 1 ? (e.n + kRun - 1) / kRun : (e.n + kColumnRun - 1) / kColumnRun;
}

template <class Op, bool kFirst, bool kLast, class A, class X, class Y>
void pass(const X* x, Y* y, const Extent& e, int64_t total) {
  const int64_t runs = runs_of(e), tasks = e.outer * runs * e.inner;
  if (e.inner == 1)
    Launch(blocks_for(tasks, 1), kRowThreads, 0, Op::name)(rows_pass<Op, kFirst, kLast, A, X, Y>, x, y, e.n, runs,
                                                           total, tasks);
  else
    Launch(blocks_for(tasks, kRowThreads), kRowThreads, 0, Op::name)(columns_pass<Op, kFirst, kLast, A, X, Y>, x, y,
                                                                     e.n, e.inner, runs, total, tasks);
}

// Partial results of x, reduced further and further; they go from one scratch to the other.
template <class Op, class A, class Y> void finish(const A* partial, Y* y, Extent e, int64_t total) {
  if (runs_of(e) == 1) return pass<Op, false, true, A>(partial, y, e, total);
  const Extent next{e.outer, runs_of(e), e.inner};
  const Scratch<A> scratch(next.outer * next.n * next.inner);
  pass<Op, false, false, A>(partial, scratch.data(), e, total);
  finish<Op, A>(static_cast<const A*>(scratch.data()), y, next, total);
}
template <class Op, class A, class X, class Y> void reduce_in(const X* x, Y* y, const Extent& e) {
  if (runs_of(e) == 1) return pass<Op, true, true, A>(x, y, e, e.n);
  const Extent next{e.outer, runs_of(e), e.inner};
  const Scratch<A> scratch(next.outer * next.n * next.inner);
  pass<Op, true, false, A>(x, scratch.data(), e, e.n);
  finish<Op, A>(static_cast<const A*>(scratch.data()), y, next, e.n);
}

template <class Op, class T, class Y>
void reduce(const T* x, Y* y, int64_t outer, int64_t n, int64_t inner, typename PartialOf<Y>::type*) {
  using Kept =
      std::conditional_t<std::is_same_v<Op, MaxOp> || std::is_same_v<Op, MinOp>, Compute<T>, typename Keeps<T>::type>;
  using A = std::conditional_t<std::is_same_v<Op, Norm2Op>, double, Kept>;
  reduce_in<Op, A>(x, y, Extent{outer, n, inner});
}

// The same bits for -0, infinities and NaN as their order asks for; of equal elements the first.
template <class C> struct Place {
  C value;
  int64_t index;
};
template <bool kMax, class C> DL_DEVICE bool goes_before(C a, int64_t i, C b, int64_t j) {
  const bool a_nan = a != a, b_nan = b != b;
  if (a_nan || b_nan) return a_nan && (!b_nan || i < j);
  if (a == b) return i < j;
  return kMax ? a > b : a < b;
}
template <bool kMax, class C> DL_DEVICE void take(Place<C>& best, C v, int64_t i) {
  if (best.index < 0 || (i >= 0 && goes_before<kMax>(v, i, best.value, best.index))) best = {v, i};
}

template <bool kMax, class T> __global__ void __launch_bounds__(kRowThreads)
    arg_rows(const T* x, T* value, int64_t* index, int64_t n) {
  using C = Compute<T>;
  DL_SHARED(Place<C>, room, kRowThreads);
  const T* row = x + int64_t{blockIdx.x} * n;
  Place<C> best{C(0), -1};
  for (int64_t i = threadIdx.x; i < n; i += kRowThreads) take<kMax>(best, widen(row[i]), i);
  room[threadIdx.x] = best;
  __syncthreads();
  for (int half = kRowThreads / 2; half > 0; half /= 2) {
    if (static_cast<int>(threadIdx.x) < half) {
      const Place<C> other = room[threadIdx.x + half];
      if (other.index >= 0) {
        take<kMax>(best, other.value, other.index);
        room[threadIdx.x] = best;
      }
    }
    __syncthreads();
  }
  if (threadIdx.x == 0) {
    index[blockIdx.x] = best.index;
    value[blockIdx.x] = row[best.index];
  }
}
template <bool kMax, class T> __global__ void __launch_bounds__(kRowThreads)
    arg_columns(const T* x, T* value, int64_t* index, int64_t columns, int64_t n, int64_t inner) {
  for (int64_t c = int64_t{blockIdx.x} * kRowThreads + threadIdx.x; c < columns;
       c += int64_t{gridDim.x} * kRowThreads) {
    const int64_t start = c / inner * n * inner + c % inner;
    Place<Compute<T>> best{Compute<T>(0), -1};
    for (int64_t k = 0; k < n; ++k) take<kMax>(best, widen(x[start + k * inner]), k);
    index[c] = best.index;
    value[c] = x[start + best.index * inner];
  }
}
template <bool kMax, class T>
void arg_reduce(const T* x, T* value, int64_t* index, int64_t outer, int64_t n, int64_t inner, int64_t*) {
  if (inner == 1) Launch(static_cast<unsigned>(outer), kRowThreads)(arg_rows<kMax, T>, x, value, index, n);
  else
    Launch(blocks_for(outer * inner, kRowThreads), kRowThreads)(arg_columns<kMax, T>, x, value, index, outer * inner, n,
                                                                inner);
}

template <class T> __global__ void __launch_bounds__(kRowThreads)
    moments_kernel(const T* x, T* mean, T* var, int64_t n, double divisor) {
  DL_SHARED(double, room, kRowThreads / kWarp);
  const T* row = x + int64_t{blockIdx.x} * n;
  double sum = 0, squares = 0;
  for (int64_t i = threadIdx.x; i < n; i += kRowThreads) sum += static_cast<double>(widen(row[i]));
  const double m = block_sum<kRowThreads>(sum, room) / static_cast<double>(n);
  for (int64_t i = threadIdx.x; i < n; i += kRowThreads) {
    const double d = static_cast<double>(widen(row[i])) - m;
    squares += d * d;
  }
  squares = block_sum<kRowThreads>(squares, room);
  if (threadIdx.x == 0) {
    mean[blockIdx.x] = narrow<T>(static_cast<Compute<T>>(m));
    var[blockIdx.x] = narrow<T>(static_cast<Compute<T>>(squares / divisor));
  }
}
template <class T> void moments(const T* x, T* mean, T* var, int64_t rows, int64_t n, double divisor, double*) {
  Launch(static_cast<unsigned>(rows), kRowThreads)(moments_kernel<T>, x, mean, var, n, divisor);
}

template <int kThreads, int N, class T> __global__ void __launch_bounds__(kRowThreads)
    logsumexp_kernel(const T* x, T* y, int64_t rows, int64_t cols) {
  using C = Compute<T>;
  DL_SHARED(C, room, kRowThreads / kWarp);
  const int64_t row = Team<kThreads>::row();
  if (row >= rows) return;
  Exponentials<C> own;
  over_row<kThreads, N>(x + row * cols, cols, [&](C v, int64_t) { own.add(v); });
  const Exponentials<C> all = own.template combined<kThreads>(room);
  constexpr C infinity = std::numeric_limits<C>::infinity();
  if (Team<kThreads>::rank() == 0) y[row] = narrow<T>(all.max == -infinity ? all.max : all.max + log(all.sum));
}
template <class T> void logsumexp(const T* x, T* y, int64_t rows, int64_t cols) {
  with_row_plan(
      cols,
      [&](auto threads, auto chunk) {
        row_launch(rows, threads, "logsumexp")(logsumexp_kernel<decltype(threads)::value, decltype(chunk)::value, T>, x,
                                               y, rows, cols);
      },
      x);
}

// A block walks along a row, tile by tile: each thread's element, the sums of the lanes and warps before it, and what
// came before the tile.
template <class A, class T, class Y> __global__ void __launch_bounds__(kRowThreads)
    cumsum_rows(const T* x, Y* y, int64_t n, bool reverse) {
  DL_SHARED(A, room, kRowThreads / kWarp);
  const int lane = static_cast<int>(threadIdx.x % kWarp), warp = static_cast<int>(threadIdx.x / kWarp);
  const int64_t start = int64_t{blockIdx.x} * n;
  A before = 0;
  for (int64_t tile = 0; tile < n; tile += kRowThreads) {
    const int64_t k = tile + threadIdx.x, i = start + (reverse ? n - 1 - k : k);
    A sum = k < n ? static_cast<A>(widen(x[i])) : A(0);
    for (int step = 1; step < kWarp; step *= 2) {
      const A other = __shfl_up_sync(kAllLanes, sum, static_cast<unsigned>(step));
      if (lane >= step) sum += other;
    }
    if (lane == kWarp - 1) room[warp] = sum;
    __syncthreads();
    A earlier = before;
    for (int w = 0; w < kRowThreads / kWarp; ++w) {
      if (w < warp) earlier += room[w];
      before += room[w];
    }
    if (k < n) y[i] = narrow<Y>(static_cast<Compute<Y>>(earlier + sum));
    __syncthreads();
  }
}
template <class A, class T, class Y> __global__ void __launch_bounds__(kRowThreads)
    cumsum_columns(const T* x, Y* y, int64_t columns, int64_t n, int64_t inner, bool reverse) {
  for (int64_t c = int64_t{blockIdx.x} * kRowThreads + threadIdx.x; c < columns;
       c += int64_t{gridDim.x} * kRowThreads) {
    const int64_t start = c / inner * n * inner + c % inner;
    A sum = 0;
    for (int64_t k = 0; k < n; ++k) {
      const int64_t i = start + (reverse ? n - 1 - k : k) * inner;
      sum += static_cast<A>(widen(x[i]));
      y[i] = narrow<Y>(static_cast<Compute<Y>>(sum));
    }
  }
}
template <class T, class Y>
void cumsum(const T* x, Y* y, int64_t outer, int64_t n, int64_t inner, bool reverse, double*) {
  using A = std::conditional_t<std::is_integral_v<T>, uint64_t, double>;
  if (inner == 1) Launch(static_cast<unsigned>(outer), kRowThreads)(cumsum_rows<A, T, Y>, x, y, n, reverse);
  else
    Launch(blocks_for(outer * inner, kRowThreads), kRowThreads)(cumsum_columns<A, T, Y>, x, y, outer * inner, n, inner,
                                                                reverse);
}

#define DL_EVERY(T, t, Y)                                            \
  DL_REGISTER("sum/" t, (reduce<SumOp, T, Y>), reduce_fn<T, Y>)      \
  DL_REGISTER("prod/" t, (reduce<ProdOp, T, Y>), reduce_fn<T, Y>)    \
  DL_REGISTER("max/" t, (reduce<MaxOp, T, T>), reduce_fn<T, T>)      \
  DL_REGISTER("min/" t, (reduce<MinOp, T, T>), reduce_fn<T, T>)      \
  DL_REGISTER("argmax/" t, (arg_reduce<true, T>), arg_reduce_fn<T>)  \
  DL_REGISTER("argmin/" t, (arg_reduce<false, T>), arg_reduce_fn<T>) \
  DL_REGISTER("cumsum/" t, (cumsum<T, Y>), cumsum_fn<T, Y>)
#define DL_FLOATING(T, t)                                           \
  DL_EVERY(T, t, T)                                                 \
  DL_REGISTER("mean/" t, (reduce<MeanOp, T, T>), reduce_fn<T, T>)   \
  DL_REGISTER("norm1/" t, (reduce<Norm1Op, T, T>), reduce_fn<T, T>) \
  DL_REGISTER("norm2/" t, (reduce<Norm2Op, T, T>), reduce_fn<T, T>) \
  DL_REGISTER("moments/" t, moments<T>, moments_fn<T>)              \
  DL_REGISTER("logsumexp/" t, logsumexp<T>, logsumexp_fn<T>)

DL_FLOATING(float, "float32")
DL_FLOATING(bfloat16, "bfloat16")
DL_FLOATING(double, "float64")
DL_EVERY(int64_t, "int64", int64_t)
DL_EVERY(int32_t, "int32", int64_t)
DL_EVERY(uint8_t, "uint8", int64_t)
DL_EVERY(bool, "bool", int64_t)

}  // namespace
}  // namespace dl
