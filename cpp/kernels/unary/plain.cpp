// Integers, and the sign functions of float64: loops that the compiler vectorises for each instruction set.
#include "kernels/elementwise/scalar_loops.h"
#include "kernels/unary/scalar_ops.h"

namespace dl {
namespace {

[[maybe_unused]] const bool registered = Plain<int64_t, int32_t, uint8_t, double>::register_unary<Neg, Abs, Sign>() &
                                         Plain<int64_t, int32_t, uint8_t>::register_unary<BitwiseNot>();

}  // namespace
}  // namespace dl
