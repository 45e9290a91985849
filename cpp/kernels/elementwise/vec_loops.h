// Runs of float32 and bfloat16 elements through functors over Vec. A functor has a `name` and a static `f`.
#pragma once
#include "kernels/elementwise/loops.h"
#include "kernels/elementwise/register.h"
#include "simd/vec.h"

namespace dl {
namespace {

DL_INLINE void put(float* y, Vec v) { store(y, v); }
DL_INLINE void put(float* y, Vec v, int64_t n) { store(y, v, n); }
DL_INLINE void put(bfloat16* y, Vec v) { store(y, v); }
DL_INLINE void put(bfloat16* y, Vec v, int64_t n) { store(y, v, n); }
DL_INLINE void put(bool* y, Mask m) { store_mask(y, m); }
DL_INLINE void put(bool* y, Mask m, int64_t n) { store_mask(y, m, n); }

template <class Op, class T, class Y> void vec_unary_run(const T* x, Y* y, int64_t n) {
  int64_t i = 0;
  for (; i + Vec::size <= n; i += Vec::size) put(y + i, Op::f(load(x + i)));
  if (i < n) put(y + i, Op::f(load(x + i, n - i)), n - i);
}
template <class Op, class T> void vec_unary_param_run(const T* x, T* y, int64_t n, double p, double q) {
  const Vec vp = broadcast(static_cast<float>(p)), vq = broadcast(static_cast<float>(q));
  int64_t i = 0;
  for (; i + Vec::size <= n; i += Vec::size) put(y + i, Op::f(load(x + i), vp, vq));
  if (i < n) put(y + i, Op::f(load(x + i, n - i), vp, vq), n - i);
}
template <class Op, class T, class Y> void vec_binary_run(const T* a, const T* b, Y* y, int64_t n) {
  int64_t i = 0;
  for (; i + Vec::size <= n; i += Vec::size) put(y + i, Op::f(load(a + i), load(b + i)));
  if (i < n) put(y + i, Op::f(load(a + i, n - i), load(b + i, n - i)), n - i);
}

template <class Op, class T, class Y> void vec_unary(const T* x, Y* y, int64_t n) {
  unary_loop<T, Y>(vec_unary_run<Op>, x, y, n);
}
template <class Op, class T> void vec_unary_param(const T* x, T* y, int64_t n, double p, double q) {
  unary_param_loop<T>(vec_unary_param_run<Op>, x, y, n, p, q);
}
template <class Op, class T, class Y> void vec_binary(const T* a, const T* b, Y* y, const ElementwiseShape* s) {
  binary_loop<T, Y>(vec_binary_run<Op>, a, b, y, s);
}

// Y is the dtype's own type, or bool for predicates and comparisons.
template <class... Ops> bool register_unary() {
  return (... & (register_for_dtype<unary_fn<float, float>>(Ops::name, "float32", vec_unary<Ops>) &
                 register_for_dtype<unary_fn<bfloat16, bfloat16>>(Ops::name, "bfloat16", vec_unary<Ops>)));
}
template <class... Ops> bool register_predicates() {
  return (... & (register_for_dtype<unary_fn<float, bool>>(Ops::name, "float32", vec_unary<Ops>) &
                 register_for_dtype<unary_fn<bfloat16, bool>>(Ops::name, "bfloat16", vec_unary<Ops>)));
}
template <class... Ops> bool register_unary_param() {
  return (... & (register_for_dtype<unary_param_fn<float>>(Ops::name, "float32", vec_unary_param<Ops>) &
                 register_for_dtype<unary_param_fn<bfloat16>>(Ops::name, "bfloat16", vec_unary_param<Ops>)));
}
template <class... Ops> bool register_binary() {
  return (... & (register_for_dtype<binary_fn<float, float>>(Ops::name, "float32", vec_binary<Ops>) &
                 register_for_dtype<binary_fn<bfloat16, bfloat16>>(Ops::name, "bfloat16", vec_binary<Ops>)));
}
template <class... Ops> bool register_comparisons() {
  return (... & (register_for_dtype<binary_fn<float, bool>>(Ops::name, "float32", vec_binary<Ops>) &
                 register_for_dtype<binary_fn<bfloat16, bool>>(Ops::name, "bfloat16", vec_binary<Ops>)));
}

}  // namespace
}  // namespace dl
