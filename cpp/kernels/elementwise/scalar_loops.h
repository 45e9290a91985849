// Runs of plain numbers through scalar functors; simple enough for the compiler to vectorise. `Compute` is what the
// functor works in: the element type itself, or double where the reference widens float32 and bfloat16.
#pragma once
#include "core/bfloat16.h"
#include "kernels/elementwise/loops.h"
#include "kernels/elementwise/register.h"

namespace dl {
namespace {

template <class Compute, class T> inline Compute widen(T v) { return static_cast<Compute>(v); }
template <> inline double widen<double, bfloat16>(bfloat16 v) { return static_cast<double>(to_float(v)); }

template <class T, class Result> inline T narrow(Result v) { return static_cast<T>(v); }
// Through float: the hardware types round twice as well, and a double-to-bfloat16 rounding of its own would hide that.
template <> inline bfloat16 narrow<bfloat16, double>(double v) { return to_bfloat16(static_cast<float>(v)); }

template <class Op, class Compute, class T, class Y> void scalar_unary_run(const T* x, Y* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = narrow<Y>(Op::f(widen<Compute>(x[i])));
}
template <class Op, class T> void scalar_unary_param_run(const T* x, T* y, int64_t n, double p, double q) {
  for (int64_t i = 0; i < n; ++i) y[i] = narrow<T>(Op::f(widen<double>(x[i]), p, q));
}
template <class Op, class Compute, class T, class Y> void scalar_binary_run(const T* a, const T* b, Y* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = narrow<Y>(Op::f(widen<Compute>(a[i]), widen<Compute>(b[i])));
}

template <class Op, class Compute, class T, class Y> void scalar_unary(const T* x, Y* y, int64_t n) {
  unary_loop<T, Y>(scalar_unary_run<Op, Compute>, x, y, n);
}
template <class Op, class T> void scalar_unary_param(const T* x, T* y, int64_t n, double p, double q) {
  unary_param_loop<T>(scalar_unary_param_run<Op>, x, y, n, p, q);
}
template <class Op, class Compute, class T, class Y>
void scalar_binary(const T* a, const T* b, Y* y, const ElementwiseShape* s) {
  binary_loop<T, Y>(scalar_binary_run<Op, Compute>, a, b, y, s);
}

// Lists of functors over lists of element types: Plain<int64_t, int32_t>::register_unary<Neg, Abs>().
template <class... T> struct Plain {
  template <class... Ops> static bool register_unary() { return (... & register_one_unary<Ops>()); }
  template <class... Ops> static bool register_binary() { return (... & register_one_binary<Ops>()); }
  template <class... Ops> static bool register_comparisons() { return (... & register_one_comparison<Ops>()); }

 private:
  template <class Op> static bool register_one_unary() {
    return (... & register_for_dtype<unary_fn<T, T>>(Op::name, kDTypeName<T>, scalar_unary<Op, T>));
  }
  template <class Op> static bool register_one_binary() {
    return (... & register_for_dtype<binary_fn<T, T>>(Op::name, kDTypeName<T>, scalar_binary<Op, T>));
  }
  template <class Op> static bool register_one_comparison() {
    return (... & register_for_dtype<binary_fn<T, bool>>(Op::name, kDTypeName<T>, scalar_binary<Op, T>));
  }
};

// The same in double precision inside, for float32, bfloat16 and float64.
template <class... T> struct Widened {
  template <class... Ops> static bool register_unary() { return (... & register_one_unary<Ops>()); }
  template <class... Ops> static bool register_predicates() { return (... & register_one_predicate<Ops>()); }
  template <class... Ops> static bool register_unary_param() { return (... & register_one_param<Ops>()); }
  template <class... Ops> static bool register_binary() { return (... & register_one_binary<Ops>()); }
  template <class... Ops> static bool register_comparisons() { return (... & register_one_comparison<Ops>()); }

 private:
  template <class Op> static bool register_one_unary() {
    return (... & register_for_dtype<unary_fn<T, T>>(Op::name, kDTypeName<T>, scalar_unary<Op, double>));
  }
  template <class Op> static bool register_one_predicate() {
    return (... & register_for_dtype<unary_fn<T, bool>>(Op::name, kDTypeName<T>, scalar_unary<Op, double>));
  }
  template <class Op> static bool register_one_param() {
    return (... & register_for_dtype<unary_param_fn<T>>(Op::name, kDTypeName<T>, scalar_unary_param<Op>));
  }
  template <class Op> static bool register_one_binary() {
    return (... & register_for_dtype<binary_fn<T, T>>(Op::name, kDTypeName<T>, scalar_binary<Op, double>));
  }
  template <class Op> static bool register_one_comparison() {
    return (... & register_for_dtype<binary_fn<T, bool>>(Op::name, kDTypeName<T>, scalar_binary<Op, double>));
  }
};

}  // namespace
}  // namespace dl
