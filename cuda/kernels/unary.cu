// Functions of one number.
#include <limits>

#include "cuda/core/elementwise.h"

namespace dl {
namespace {

struct Neg {
  static constexpr auto name = "neg";
  template <class T> static DL_DEVICE T f(T x) {
    if constexpr (std::is_integral_v<T>) return static_cast<T>(0 - static_cast<std::make_unsigned_t<T>>(x));
    else return -x;
  }
};
struct Abs {
  static constexpr auto name = "abs";
  template <class T> static DL_DEVICE T f(T x) {
    if constexpr (std::is_integral_v<T>) return x < 0 ? Neg::f(x) : x;
    else return fabs(x);
  }
};
struct Sign {
  static constexpr auto name = "sign";
  template <class T> static DL_DEVICE T f(T x) {
    if constexpr (std::is_integral_v<T>) return static_cast<T>((x > 0) - (x < 0));
    else return x > 0 ? T(1) : x < 0 ? T(-1) : x;
  }
};
struct BitwiseNot {
  static constexpr auto name = "bitwise_not";
  template <class T> static DL_DEVICE T f(T x) { return static_cast<T>(~x); }
};

#define DL_FUNCTION(Name, text, expression)                             \
  struct Name {                                                         \
    static constexpr auto name = text;                                  \
    template <class T> static DL_DEVICE T f(T x) { return expression; } \
  };
DL_FUNCTION(Exp, "exp", exp(x))
DL_FUNCTION(Expm1, "expm1", expm1(x))
DL_FUNCTION(Log, "log", log(x))
DL_FUNCTION(Log1p, "log1p", log1p(x))
DL_FUNCTION(Log2, "log2", log2(x))
DL_FUNCTION(Sqrt, "sqrt", sqrt(x))
DL_FUNCTION(Rsqrt, "rsqrt", 1 / sqrt(x))
DL_FUNCTION(Reciprocal, "reciprocal", 1 / x)
DL_FUNCTION(Erf, "erf", erf(x))
DL_FUNCTION(Sin, "sin", sin(x))
DL_FUNCTION(Cos, "cos", cos(x))
DL_FUNCTION(Floor, "floor", floor(x))
DL_FUNCTION(Ceil, "ceil", ceil(x))
DL_FUNCTION(Round, "round", rint(x))
DL_FUNCTION(Trunc, "trunc", trunc(x))
#undef DL_FUNCTION

struct IsNan {
  static constexpr auto name = "isnan";
  template <class T> static DL_DEVICE bool f(T x) { return x != x; }
};
struct IsInf {
  static constexpr auto name = "isinf";
  template <class T> static DL_DEVICE bool f(T x) { return fabs(x) > std::numeric_limits<T>::max(); }
};
struct IsFinite {
  static constexpr auto name = "isfinite";
  template <class T> static DL_DEVICE bool f(T x) { return fabs(x) <= std::numeric_limits<T>::max(); }
};

struct Clamp {
  static constexpr auto name = "clamp";
  template <class T> static DL_DEVICE T f(T x, T low, T high) {
    const T above = x != x || x > low ? x : low;
    return above != above || above < high ? above : high;
  }
};

using Floats = For<float, bfloat16, double>;
using Integers = For<int64_t, int32_t, uint8_t>;

[[maybe_unused]] const bool registered =
    Floats::register_unary<Neg, Abs, Sign, Exp, Expm1, Log, Log1p, Log2, Sqrt, Rsqrt, Reciprocal, Erf, Sin, Cos, Floor,
                           Ceil, Round, Trunc>() &
    Floats::register_predicates<IsNan, IsInf, IsFinite>() & Floats::register_unary_param<Clamp>() &
    Integers::register_unary<Neg, Abs, Sign, BitwiseNot>();

}  // namespace
}  // namespace dl
