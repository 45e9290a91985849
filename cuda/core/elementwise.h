// Loops of elementwise kernels, and their registration: what cpp/kernels/elementwise/{loops,scalar_loops}.h are on the
// CPU.
#pragma once
#include "cuda/core/map.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/elementwise/register.h"
#include "kernels/unary/unary.h"

namespace dl {
namespace {

using namespace cuda;

// An input that steps by 0 or 1, or one number from the host.
template <class T> struct Run {
  const T* data;
  T number;
  bool steps, is_number;

  Run(const T* p, const ElementwiseShape& s, int k)
      : data(p), number{}, steps(s.strides[k][0] == 1), is_number(s.numbers >> k & 1) {
    if (is_number) number = *p;
  }
  DL_DEVICE T at(int64_t i) const { return is_number ? number : data[steps ? i : 0]; }
  template <int N> DL_DEVICE Chunk<T, N> chunk(int64_t c) const {
    if (steps) return reinterpret_cast<const Chunk<T, N>*>(data)[c];
    Chunk<T, N> same;
    const T v = at(0);
#pragma unroll
    for (int k = 0; k < N; ++k) same.v[k] = v;
    return same;
  }
  template <int N> bool in_chunks() const { return !steps || cuda::in_chunks<T, N>(data); }
};

template <class Op, int N, class T, class Y> __global__ void __launch_bounds__(kMapThreads)
    binary_run_kernel(Run<T> a, Run<T> b, Y* y, int64_t n) {
  const int64_t first = int64_t{blockIdx.x} * kMapThreads + threadIdx.x, step = int64_t{gridDim.x} * kMapThreads;
  for (int64_t c = first; c < n / N; c += step) {
    const Chunk<T, N> va = a.template chunk<N>(c), vb = b.template chunk<N>(c);
    Chunk<Y, N> out;
#pragma unroll
    for (int k = 0; k < N; ++k) out.v[k] = narrow<Y>(Op::f(widen(va.v[k]), widen(vb.v[k])));
    reinterpret_cast<Chunk<Y, N>*>(y)[c] = out;
  }
  if (const int64_t i = n / N * N + first; i < n) y[i] = narrow<Y>(Op::f(widen(a.at(i)), widen(b.at(i))));
}

// Where input k of element i lies.
template <class Index> DL_DEVICE void locate(const ElementwiseShape& s, int64_t i, int inputs, int64_t* at) {
  Index left = static_cast<Index>(i);
  for (int d = s.ndim - 1; d >= 0; --d) {
    const Index size = static_cast<Index>(s.sizes[d]), place = left % size;
    left /= size;
    for (int k = 0; k < inputs; ++k) at[k] += static_cast<int64_t>(place) * s.strides[k][d];
  }
}
DL_DEVICE void locate(const ElementwiseShape& s, int64_t i, int64_t n, int inputs, int64_t* at) {
  if (n <= int64_t{UINT32_MAX}) locate<uint32_t>(s, i, inputs, at);
  else locate<uint64_t>(s, i, inputs, at);
}

template <class Op, class T, class Y> __global__ void __launch_bounds__(kMapThreads)
    binary_strided_kernel(Run<T> a, Run<T> b, Y* y, ElementwiseShape s, int64_t n) {
  for (int64_t i = int64_t{blockIdx.x} * kMapThreads + threadIdx.x; i < n; i += int64_t{gridDim.x} * kMapThreads) {
    int64_t at[2] = {0, 0};
    locate(s, i, n, 2, at);
    const T va = a.is_number ? a.number : a.data[at[0]], vb = b.is_number ? b.number : b.data[at[1]];
    y[i] = narrow<Y>(Op::f(widen(va), widen(vb)));
  }
}

inline int64_t elements_of(const ElementwiseShape& s) {
  int64_t n = 1;
  for (int d = 0; d < s.ndim; ++d) n *= s.sizes[d];
  return n;
}
inline bool is_one_run(const ElementwiseShape& s, int inputs) {
  if (s.ndim != 1) return false;
  for (int k = 0; k < inputs; ++k)
    if (s.strides[k][0] != 0 && s.strides[k][0] != 1) return false;
  return true;
}

template <class Op, class T, class Y> void binary(const T* a, const T* b, Y* y, const ElementwiseShape* s) {
  constexpr int N = 16 / sizeof(T) < 8 ? 16 / sizeof(T) : 8;
  const int64_t n = elements_of(*s);
  if (n == 0) return;
  const Run<T> ra(a, *s, 0), rb(b, *s, 1);
  if (!is_one_run(*s, 2)) {
    Launch(blocks_for(n, kMapThreads), kMapThreads, 0, Op::name)(binary_strided_kernel<Op, T, Y>, ra, rb, y, *s, n);
  } else if (ra.template in_chunks<N>() && rb.template in_chunks<N>() && in_chunks<Y, N>(y)) {
    Launch(blocks_for(n, kMapThreads * N), kMapThreads, 0, Op::name)(binary_run_kernel<Op, N, T, Y>, ra, rb, y, n);
  } else {
    Launch(blocks_for(n, kMapThreads), kMapThreads, 0, Op::name)(binary_run_kernel<Op, 1, T, Y>, ra, rb, y, n);
  }
}

template <class Op, class Y> struct Apply {
  template <class T> DL_DEVICE Y operator()(T v, int64_t) const { return narrow<Y>(Op::f(widen(v))); }
};
template <class Op, class T, class Y> void unary(const T* x, Y* y, int64_t n) {
  map(x, y, n, Apply<Op, Y>{}, Op::name);
}

template <class Op, class T> struct ApplyParameters {
  Compute<T> p, q;
  DL_DEVICE T operator()(T v, int64_t) const { return narrow<T>(Op::f(widen(v), p, q)); }
};
template <class Op, class T> void unary_param(const T* x, T* y, int64_t n, double p, double q) {
  map(x, y, n, ApplyParameters<Op, T>{static_cast<Compute<T>>(p), static_cast<Compute<T>>(q)}, Op::name);
}

// Lists of functors over lists of element types: For<float, bfloat16>::register_unary<Exp, Log>().
template <class... T> struct For {
  template <class... Ops> static bool register_unary() { return (... & unary_of<Ops>()); }
  template <class... Ops> static bool register_predicates() { return (... & predicate_of<Ops>()); }
  template <class... Ops> static bool register_unary_param() { return (... & param_of<Ops>()); }
  template <class... Ops> static bool register_binary() { return (... & binary_of<Ops>()); }
  template <class... Ops> static bool register_comparisons() { return (... & comparison_of<Ops>()); }

 private:
  template <class Op> static bool unary_of() {
    return (... & register_for_dtype<unary_fn<T, T>>(Op::name, kDTypeName<T>, unary<Op, T, T>));
  }
  template <class Op> static bool predicate_of() {
    return (... & register_for_dtype<unary_fn<T, bool>>(Op::name, kDTypeName<T>, unary<Op, T, bool>));
  }
  template <class Op> static bool param_of() {
    return (... & register_for_dtype<unary_param_fn<T>>(Op::name, kDTypeName<T>, unary_param<Op, T>));
  }
  template <class Op> static bool binary_of() {
    return (... & register_for_dtype<binary_fn<T, T>>(Op::name, kDTypeName<T>, binary<Op, T, T>));
  }
  template <class Op> static bool comparison_of() {
    return (... & register_for_dtype<binary_fn<T, bool>>(Op::name, kDTypeName<T>, binary<Op, T, bool>));
  }
};

}  // namespace
}  // namespace dl
