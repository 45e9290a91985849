// Functions of one float32 or bfloat16 argument.
#include "kernels/elementwise/vec_loops.h"
#include "kernels/unary/unary.h"
#include "simd/wide.h"

namespace dl {
namespace {

struct Neg {
  static constexpr auto name = "neg";
  static DL_INLINE Vec f(Vec x) { return -x; }
};
struct Abs {
  static constexpr auto name = "abs";
  static DL_INLINE Vec f(Vec x) { return abs(x); }
};
struct Sign {
  static constexpr auto name = "sign";
  // Zeros and NaN are their own sign.
  static DL_INLINE Vec f(Vec x) { return select(ne(x, zero()) & !isnan(x), copysign(broadcast(1.0f), x), x); }
};
struct Exp {
  static constexpr auto name = "exp";
  static DL_INLINE Vec f(Vec x) { return exp(x); }
};
struct Expm1 {
  static constexpr auto name = "expm1";
  static DL_INLINE Vec f(Vec x) { return expm1(x); }
};
struct Log {
  static constexpr auto name = "log";
  static DL_INLINE Vec f(Vec x) { return log(x); }
};
struct Log1p {
  static constexpr auto name = "log1p";
  static DL_INLINE Vec f(Vec x) { return log1p(x); }
};
struct Log2 {
  static constexpr auto name = "log2";
  static DL_INLINE Vec f(Vec x) { return log2(x); }
};
struct Sqrt {
  static constexpr auto name = "sqrt";
  static DL_INLINE Vec f(Vec x) { return sqrt(x); }
};
struct Rsqrt {
  static constexpr auto name = "rsqrt";
  static DL_INLINE Vec f(Vec x) { return broadcast(1.0f) / sqrt(x); }
};
struct Reciprocal {
  static constexpr auto name = "reciprocal";
  static DL_INLINE Vec f(Vec x) { return broadcast(1.0f) / x; }
};
struct Erf {
  static constexpr auto name = "erf";
  static DL_INLINE Vec f(Vec x) { return erf(x); }
};
struct Sin {
  static constexpr auto name = "sin";
  static DL_INLINE Vec f(Vec x) { return sin(x); }
};
struct Cos {
  static constexpr auto name = "cos";
  static DL_INLINE Vec f(Vec x) { return cos(x); }
};
struct Floor {
  static constexpr auto name = "floor";
  static DL_INLINE Vec f(Vec x) { return floor(x); }
};
struct Ceil {
  static constexpr auto name = "ceil";
  static DL_INLINE Vec f(Vec x) { return ceil(x); }
};
struct Round {
  static constexpr auto name = "round";
  static DL_INLINE Vec f(Vec x) { return round_nearest(x); }
};
struct Trunc {
  static constexpr auto name = "trunc";
  static DL_INLINE Vec f(Vec x) { return trunc(x); }
};

struct IsNan {
  static constexpr auto name = "isnan";
  static DL_INLINE Mask f(Vec x) { return isnan(x); }
};
struct IsInf {
  static constexpr auto name = "isinf";
  static DL_INLINE Mask f(Vec x) { return eq(abs(x), broadcast(kInf)); }
};
struct IsFinite {
  static constexpr auto name = "isfinite";
  static DL_INLINE Mask f(Vec x) { return lt(abs(x), broadcast(kInf)); }
};

struct Clamp {
  static constexpr auto name = "clamp";
  // A NaN in x comes through as the second operand.
  static DL_INLINE Vec f(Vec x, Vec low, Vec high) { return fast_min(high, fast_max(low, x)); }
};

[[maybe_unused]] const bool registered = register_unary<Neg, Abs, Sign, Exp, Expm1, Log, Log1p, Log2, Sqrt, Rsqrt,
                                                        Reciprocal, Erf, Sin, Cos, Floor, Ceil, Round, Trunc>() &
                                         register_predicates<IsNan, IsInf, IsFinite>() & register_unary_param<Clamp>();

}  // namespace
}  // namespace dl
