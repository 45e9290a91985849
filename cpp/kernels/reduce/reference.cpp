#include <cmath>
#include <limits>
#include <type_traits>

#include "core/bfloat16.h"
#include "dispatch/kernel.h"
#include "kernels/reduce/reduce.h"

namespace dl {
namespace {

template <class T> T value_of(T x) { return x; }
float value_of(bfloat16 x) { return to_float(x); }
template <class T, class A> T rounded(A a) {
  if constexpr (std::is_same_v<T, bfloat16>) return to_bfloat16(static_cast<float>(a));
  else return static_cast<T>(a);
}

// Floating sums are taken in double, integers in unsigned 64 bits so that they may wrap.
template <class T> using Wide = std::conditional_t<std::is_integral_v<T>, uint64_t, double>;

struct Sum {
  template <class A, class X> static A step(A a, X x) { return a + static_cast<A>(x); }
  template <class A> static A finish(A a, int64_t) { return a; }
  static constexpr int first = 0;
};
struct Mean : Sum {
  static double finish(double a, int64_t n) { return a / static_cast<double>(n); }
};
struct Norm1 : Sum {
  static double step(double a, double x) { return a + std::fabs(x); }
};
struct Norm2 : Sum {
  static double step(double a, double x) { return a + x * x; }
  static double finish(double a, int64_t) { return std::sqrt(a); }
};
struct Prod : Sum {
  template <class A, class X> static A step(A a, X x) { return a * static_cast<A>(x); }
  static constexpr int first = 1;
};

template <class Op, class T, class Y>
void reduce(const T* x, Y* y, int64_t outer, int64_t n, int64_t inner, typename PartialOf<Y>::type*) {
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t i = 0; i < inner; ++i) {
      Wide<T> a = Op::first;
      for (int64_t k = 0; k < n; ++k) a = Op::step(a, value_of(x[(o * n + k) * inner + i]));
      y[o * inner + i] = rounded<Y>(Op::finish(a, n));
    }
}

// Whether b comes before a in the order of the reduction; a NaN comes before all numbers.
template <bool kMax, class V> bool better(V b, V a) { return a == a && (b != b || (kMax ? b > a : b < a)); }

template <bool kMax, class T>
void arg_reduce(const T* x, T* value, int64_t* index, int64_t outer, int64_t n, int64_t inner, int64_t*) {
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t i = 0; i < inner; ++i) {
      const T* column = x + o * n * inner + i;
      int64_t best = 0;
      for (int64_t k = 1; k < n; ++k)
        if (better<kMax>(value_of(column[k * inner]), value_of(column[best * inner]))) best = k;
      index[o * inner + i] = best;
      value[o * inner + i] = column[best * inner];
    }
}

template <bool kMax, class T>
void extreme(const T* x, T* y, int64_t outer, int64_t n, int64_t inner, typename PartialOf<T>::type*) {
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t i = 0; i < inner; ++i) {
      const T* column = x + o * n * inner + i;
      T best = column[0];
      for (int64_t k = 1; k < n; ++k)
        if (better<kMax>(value_of(column[k * inner]), value_of(best))) best = column[k * inner];
      y[o * inner + i] = best;
    }
}

template <class T> void moments(const T* x, T* mean, T* var, int64_t rows, int64_t n, double divisor, double*) {
  for (int64_t r = 0; r < rows; ++r, x += n) {
    double sum = 0, squares = 0, rest = 0;
    for (int64_t k = 0; k < n; ++k) sum += value_of(x[k]);
    const double m = sum / static_cast<double>(n);
    for (int64_t k = 0; k < n; ++k) {
      const double d = value_of(x[k]) - m;
      squares += d * d;
      rest += d;  // what rounding left in m
    }
    mean[r] = rounded<T>(m);
    var[r] = rounded<T>((squares - rest * rest / static_cast<double>(n)) / divisor);
  }
}

template <class T, class Y>
void cumsum(const T* x, Y* y, int64_t outer, int64_t n, int64_t inner, bool reverse, double*) {
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t i = 0; i < inner; ++i) {
      Wide<T> a = 0;
      for (int64_t k = 0; k < n; ++k) {
        const int64_t at = (o * n + (reverse ? n - 1 - k : k)) * inner + i;
        a = Sum::step(a, value_of(x[at]));
        y[at] = rounded<Y>(a);
      }
    }
}

template <class T> void logsumexp(const T* x, T* y, int64_t rows, int64_t cols) {
  for (int64_t r = 0; r < rows; ++r, x += cols) {
    double most = -std::numeric_limits<double>::infinity(), sum = 0;
    for (int64_t c = 0; c < cols; ++c) {
      const double v = value_of(x[c]);
      if (better<true>(v, most)) most = v;
    }
    const double shift = std::isinf(most) ? 0 : most;
    for (int64_t c = 0; c < cols; ++c) sum += std::exp(value_of(x[c]) - shift);
    y[r] = rounded<T>(shift + std::log(sum));
  }
}

#define DL_REFERENCE_FLOAT(T, name)                                  \
  DL_REGISTER("sum/" name, (reduce<Sum, T, T>), reduce_fn<T, T>)     \
  DL_REGISTER("mean/" name, (reduce<Mean, T, T>), reduce_fn<T, T>)   \
  DL_REGISTER("norm1/" name, (reduce<Norm1, T, T>), reduce_fn<T, T>) \
  DL_REGISTER("norm2/" name, (reduce<Norm2, T, T>), reduce_fn<T, T>) \
  DL_REGISTER("prod/" name, (reduce<Prod, T, T>), reduce_fn<T, T>)   \
  DL_REGISTER("moments/" name, moments, moments_fn<T>)               \
  DL_REGISTER("cumsum/" name, cumsum, cumsum_fn<T, T>)               \
  DL_REGISTER("logsumexp/" name, logsumexp, logsumexp_fn<T>)
#define DL_REFERENCE_INTEGER(T, name)                                          \
  DL_REGISTER("sum/" name, (reduce<Sum, T, int64_t>), reduce_fn<T, int64_t>)   \
  DL_REGISTER("prod/" name, (reduce<Prod, T, int64_t>), reduce_fn<T, int64_t>) \
  DL_REGISTER("cumsum/" name, cumsum, cumsum_fn<T, int64_t>)
#define DL_REFERENCE_ANY(T, name)                                      \
  DL_REGISTER("max/" name, (extreme<true, T>), reduce_fn<T, T>)        \
  DL_REGISTER("min/" name, (extreme<false, T>), reduce_fn<T, T>)       \
  DL_REGISTER("argmax/" name, (arg_reduce<true, T>), arg_reduce_fn<T>) \
  DL_REGISTER("argmin/" name, (arg_reduce<false, T>), arg_reduce_fn<T>)

DL_REFERENCE_FLOAT(float, "float32")
DL_REFERENCE_FLOAT(bfloat16, "bfloat16")
DL_REFERENCE_FLOAT(double, "float64")
DL_REFERENCE_INTEGER(int64_t, "int64")
DL_REFERENCE_INTEGER(int32_t, "int32")
DL_REFERENCE_INTEGER(uint8_t, "uint8")
DL_REFERENCE_INTEGER(bool, "bool")
DL_REFERENCE_ANY(float, "float32")
DL_REFERENCE_ANY(bfloat16, "bfloat16")
DL_REFERENCE_ANY(double, "float64")
DL_REFERENCE_ANY(int64_t, "int64")
DL_REFERENCE_ANY(int32_t, "int32")
DL_REFERENCE_ANY(uint8_t, "uint8")
DL_REFERENCE_ANY(bool, "bool")

}  // namespace
}  // namespace dl
