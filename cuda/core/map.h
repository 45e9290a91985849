// y[i] = f(x[i]) over memory without gaps, 16 bytes at a time where both ends are aligned for it.
#pragma once
#include "cuda/core/kernel.h"

namespace dl {
namespace cuda {

template <class T, int N> struct alignas(sizeof(T) * N) Chunk { T v[N]; };
template <class T, int N> bool in_chunks(const T* p) { return reinterpret_cast<uintptr_t>(p) % (sizeof(T) * N) == 0; }

constexpr int kMapThreads = 256;

template <int N, class X, class Y, class F> __global__ void __launch_bounds__(kMapThreads)
    map_kernel(const X* x, Y* y, int64_t n, F f) {
  const int64_t first = int64_t{blockIdx.x} * kMapThreads + threadIdx.x, step = int64_t{gridDim.x} * kMapThreads;
  for (int64_t c = first; c < n / N; c += step) {
    const Chunk<X, N> in = reinterpret_cast<const Chunk<X, N>*>(x)[c];
    Chunk<Y, N> out;
#pragma unroll
    for (int k = 0; k < N; ++k) out.v[k] = f(in.v[k], c * N + k);
    reinterpret_cast<Chunk<Y, N>*>(y)[c] = out;
  }
  if (const int64_t i = n / N * N + first; i < n) y[i] = f(x[i], i);
}

// f(value, index), where x may be y.
template <class X, class Y, class F> void map(const X* x, Y* y, int64_t n, F f, const char* op = __builtin_FUNCTION()) {
  constexpr int N = 16 / (sizeof(X) > sizeof(Y) ? sizeof(X) : sizeof(Y));
  if (n == 0) return;
  if (N > 1 && in_chunks<X, N>(x) && in_chunks<Y, N>(y))
    Launch(blocks_for(n, kMapThreads * N), kMapThreads, 0, op)(map_kernel<N, X, Y, F>, x, y, n, f);
  else Launch(blocks_for(n, kMapThreads), kMapThreads, 0, op)(map_kernel<1, X, Y, F>, x, y, n, f);
}

}  // namespace cuda
}  // namespace dl
