// Integers, and the arithmetic of float64: loops that the compiler vectorises for each instruction set.
#include "kernels/elementwise/scalar_loops.h"
#include "kernels/elementwise/scalar_ops.h"

namespace dl {
namespace {

using All = Plain<int64_t, int32_t, uint8_t, double>;

[[maybe_unused]] const bool registered =
    All::register_binary<Add, Sub, Mul, Maximum, Minimum, FloorDivide, Remainder, Pow>() &
    All::register_comparisons<Eq, Ne, Lt, Le, Gt, Ge>() & Plain<double>::register_binary<Div>() &
    Plain<int64_t, int32_t, uint8_t>::register_binary<BitwiseAnd, BitwiseOr, BitwiseXor>();

}  // namespace
}  // namespace dl
