// The elementwise family, scalar; float32 and bfloat16 in double precision.
#include "kernels/elementwise/scalar_loops.h"
#include "kernels/elementwise/scalar_ops.h"

namespace dl {
namespace {

using Floats = Widened<float, bfloat16, double>;
using Integers = Plain<int64_t, int32_t, uint8_t>;

[[maybe_unused]] const bool floats =
    Floats::register_binary<Add, Sub, Mul, Div, Maximum, Minimum, FloorDivide, Remainder, Pow>() &
    Floats::register_comparisons<Eq, Ne, Lt, Le, Gt, Ge>();

[[maybe_unused]] const bool integers = Integers::register_binary<Add, Sub, Mul, Maximum, Minimum, FloorDivide,
                                                                 Remainder, Pow, BitwiseAnd, BitwiseOr, BitwiseXor>() &
                                       Integers::register_comparisons<Eq, Ne, Lt, Le, Gt, Ge>();

template <class T> void where_run(const bool* c, const T* a, const T* b, T* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = c[i] ? a[i] : b[i];
}
template <class T> void where(const bool* c, const T* a, const T* b, T* y, const ElementwiseShape* s) {
  ternary_loop<T>(where_run<T>, c, a, b, y, s);
}
DL_REGISTER("where/1", where, where_fn<uint8_t>)
DL_REGISTER("where/2", where, where_fn<uint16_t>)
DL_REGISTER("where/4", where, where_fn<uint32_t>)
DL_REGISTER("where/8", where, where_fn<uint64_t>)

}  // namespace
}  // namespace dl
