// Loops over rows: kThreads threads of one block share a row, and a block of kRowThreads takes kRowThreads / kThreads
// rows. Short rows go to a warp each, long ones to the whole block.
#pragma once
#include <limits>

#include "cuda/core/map.h"

namespace dl {
namespace cuda {

constexpr int kRowThreads = 256;
constexpr int64_t kWarpRow = 1024;  // a row of up to so many elements is one warp's

// The row of the calling thread and its place in the team that shares it. Teams of one warp leave together at the end.
template <int kThreads> struct Team {
  static constexpr int teams = kRowThreads / kThreads;
  DL_DEVICE static int64_t row() { return int64_t{blockIdx.x} * teams + threadIdx.x / kThreads; }
  DL_DEVICE static int rank() { return static_cast<int>(threadIdx.x % kThreads); }
};

// visit(value, column) for the calling thread's share of a row, N elements at a time.
template <int kThreads, int N, class T, class Visit> DL_DEVICE void over_row(const T* x, int64_t cols, Visit visit) {
  for (int64_t c = Team<kThreads>::rank(); c < cols / N; c += kThreads) {
    const Chunk<T, N> in = reinterpret_cast<const Chunk<T, N>*>(x)[c];
#pragma unroll
    for (int k = 0; k < N; ++k) visit(widen(in.v[k]), c * N + k);
  }
}
// y[column] = of(column) likewise.
template <int kThreads, int N, class T, class Of> DL_DEVICE void fill_row(T* y, int64_t cols, Of of) {
  for (int64_t c = Team<kThreads>::rank(); c < cols / N; c += kThreads) {
    Chunk<T, N> out;
#pragma unroll
    for (int k = 0; k < N; ++k) out.v[k] = narrow<T>(of(c * N + k));
    reinterpret_cast<Chunk<T, N>*>(y)[c] = out;
  }
}

// Calls run(threads, n) with the team's size and the elements at a time, both constants, that suit rows of so many
// columns starting at these addresses.
template <class Run, class... T> void with_row_plan(int64_t cols, Run run, const T*... rows) {
  constexpr size_t widest = [] {
    size_t w = 1;
    ((w = sizeof(T) > w ? sizeof(T) : w), ...);
    return w;
  }();
  constexpr int N = 16 / widest;
  const bool chunks = cols % N == 0 && (... && (!rows || reinterpret_cast<uintptr_t>(rows) % (sizeof(T) * N) == 0));
  using Warp = std::integral_constant<int, kWarp>;
  using Block = std::integral_constant<int, kRowThreads>;
  using One = std::integral_constant<int, 1>;
  using Many = std::integral_constant<int, N>;
  if (cols <= kWarpRow) {
    if (chunks) run(Warp{}, Many{});
    else run(Warp{}, One{});
  } else {
    if (chunks) run(Block{}, Many{});
    else run(Block{}, One{});
  }
}

// A grid of whole teams over `rows` rows. Grids have up to 2^31 - 1 blocks.
inline Launch row_launch(int64_t rows, int threads, const char* op = __builtin_FUNCTION()) {
  const int64_t teams = kRowThreads / threads;
  return Launch(static_cast<unsigned>((rows + teams - 1) / teams), kRowThreads, 0, op);
}

// max and sum of exp(x - max), kept while x goes by.
template <class C> struct Exponentials {
  C max = -std::numeric_limits<C>::infinity(), sum = 0;

  DL_DEVICE void add(C v) {
    if (v > max) {
      sum = sum * exp(max - v) + 1;
      max = v;
    } else if (v != -std::numeric_limits<C>::infinity()) {
      sum += exp(v - max);  // NaN stays
    }
  }
  // Of the whole team. Where a NaN or an infinity was added, the sum is NaN; of a row of -inf it is 0.
  template <int kThreads> DL_DEVICE Exponentials combined(C* room) const {
    constexpr C infinity = std::numeric_limits<C>::infinity();
    Exponentials all;
    all.max = block_max<kThreads>(max, room);
    all.sum = block_sum<kThreads>(max == -infinity ? sum : sum * exp(max - all.max), room);
    if (all.max == infinity) all.sum = std::numeric_limits<C>::quiet_NaN();
    return all;
  }
};

}  // namespace cuda
}  // namespace dl
