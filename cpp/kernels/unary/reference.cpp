// Functions of one number, scalar and in double precision.
#include <cmath>

#include "kernels/elementwise/scalar_loops.h"
#include "kernels/unary/scalar_ops.h"
#include "kernels/unary/unary.h"

namespace dl {
namespace {

struct Exp {
  static constexpr auto name = "exp";
  static double f(double x) { return std::exp(x); }
};
struct Expm1 {
  static constexpr auto name = "expm1";
  static double f(double x) { return std::expm1(x); }
};
struct Log {
  static constexpr auto name = "log";
  static double f(double x) { return std::log(x); }
};
struct Log1p {
  static constexpr auto name = "log1p";
  static double f(double x) { return std::log1p(x); }
};
struct Log2 {
  static constexpr auto name = "log2";
  static double f(double x) { return std::log2(x); }
};
struct Sqrt {
  static constexpr auto name = "sqrt";
  static double f(double x) { return std::sqrt(x); }
};
struct Rsqrt {
  static constexpr auto name = "rsqrt";
  static double f(double x) { return 1 / std::sqrt(x); }
};
struct Reciprocal {
  static constexpr auto name = "reciprocal";
  static double f(double x) { return 1 / x; }
};
struct Erf {
  static constexpr auto name = "erf";
  static double f(double x) { return std::erf(x); }
};
struct Sin {
  static constexpr auto name = "sin";
  static double f(double x) { return std::sin(x); }
};
struct Cos {
  static constexpr auto name = "cos";
  static double f(double x) { return std::cos(x); }
};
struct Floor {
  static constexpr auto name = "floor";
  static double f(double x) { return std::floor(x); }
};
struct Ceil {
  static constexpr auto name = "ceil";
  static double f(double x) { return std::ceil(x); }
};
struct Round {
  static constexpr auto name = "round";
  static double f(double x) { return std::nearbyint(x); }
};
struct Trunc {
  static constexpr auto name = "trunc";
  static double f(double x) { return std::trunc(x); }
};

struct IsNan {
  static constexpr auto name = "isnan";
  static bool f(double x) { return std::isnan(x); }
};
struct IsInf {
  static constexpr auto name = "isinf";
  static bool f(double x) { return std::isinf(x); }
};
struct IsFinite {
  static constexpr auto name = "isfinite";
  static bool f(double x) { return std::isfinite(x); }
};

struct Clamp {
  static constexpr auto name = "clamp";
  static double f(double x, double low, double high) { return Minimum::f(Maximum::f(x, low), high); }
};

using Floats = Widened<float, bfloat16, double>;

[[maybe_unused]] const bool floats = Floats::register_unary<Neg, Abs, Sign, Exp, Expm1, Log, Log1p, Log2, Sqrt, Rsqrt,
                                                            Reciprocal, Erf, Sin, Cos, Floor, Ceil, Round, Trunc>() &
                                     Floats::register_predicates<IsNan, IsInf, IsFinite>() &
                                     Floats::register_unary_param<Clamp>();
[[maybe_unused]] const bool integers = Plain<int64_t, int32_t, uint8_t>::register_unary<Neg, Abs, Sign, BitwiseNot>();

}  // namespace
}  // namespace dl
