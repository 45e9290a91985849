// Arithmetic and comparisons of float32 and bfloat16.
#include "kernels/elementwise/vec_loops.h"
#include "simd/wide.h"

namespace dl {
namespace {

struct Add {
  static constexpr auto name = "add";
  static DL_INLINE Vec f(Vec a, Vec b) { return a + b; }
};
struct Sub {
  static constexpr auto name = "sub";
  static DL_INLINE Vec f(Vec a, Vec b) { return a - b; }
};
struct Mul {
  static constexpr auto name = "mul";
  static DL_INLINE Vec f(Vec a, Vec b) { return a * b; }
};
struct Div {
  static constexpr auto name = "div";
  static DL_INLINE Vec f(Vec a, Vec b) { return a / b; }
};
struct Maximum {
  static constexpr auto name = "maximum";
  static DL_INLINE Vec f(Vec a, Vec b) { return max(a, b); }
};
struct Minimum {
  static constexpr auto name = "minimum";
  static DL_INLINE Vec f(Vec a, Vec b) { return min(a, b); }
};
struct Pow {
  static constexpr auto name = "pow";
  static DL_INLINE Vec f(Vec a, Vec b) { return pow(a, b); }
};
struct FloorDivide {
  static constexpr auto name = "floor_divide";
  static DL_INLINE Vec f(Vec a, Vec b) { return divide_down(a, b).quotient; }
};
struct Remainder {
  static constexpr auto name = "remainder";
  static DL_INLINE Vec f(Vec a, Vec b) { return divide_down(a, b).remainder; }
};

struct Eq {
  static constexpr auto name = "eq";
  static DL_INLINE Mask f(Vec a, Vec b) { return eq(a, b); }
};
struct Ne {
  static constexpr auto name = "ne";
  static DL_INLINE Mask f(Vec a, Vec b) { return ne(a, b); }
};
struct Lt {
  static constexpr auto name = "lt";
  static DL_INLINE Mask f(Vec a, Vec b) { return lt(a, b); }
};
struct Le {
  static constexpr auto name = "le";
  static DL_INLINE Mask f(Vec a, Vec b) { return le(a, b); }
};
struct Gt {
  static constexpr auto name = "gt";
  static DL_INLINE Mask f(Vec a, Vec b) { return gt(a, b); }
};
struct Ge {
  static constexpr auto name = "ge";
  static DL_INLINE Mask f(Vec a, Vec b) { return ge(a, b); }
};

[[maybe_unused]] const bool registered =
    register_binary<Add, Sub, Mul, Div, Maximum, Minimum, Pow, FloorDivide, Remainder>() &
    register_comparisons<Eq, Ne, Lt, Le, Gt, Ge>();

}  // namespace
}  // namespace dl
