// Integers, and the arithmetic of float64: loops that the compiler vectorises for each instruction set.
#include "kernels/elementwise/scalar_loops.h"
#include "kernels/elementwise/scalar_ops.h"

namespace dl {
namespace {

using All = Plain<int64_t, int32_t, uint8_t, double>;

[[maybe_unused]] const bool registered = All::binary<Add, Sub, Mul, Maximum, Minimum, FloorDivide, Remainder, Pow>() &
                                         All::comparisons<Eq, Ne, Lt, Le, Gt, Ge>() & Plain<double>::binary<Div>() &
                                         Plain<int64_t, int32_t, uint8_t>::binary<BitwiseAnd, BitwiseOr, BitwiseXor>();

}  // namespace
}  // namespace dl
