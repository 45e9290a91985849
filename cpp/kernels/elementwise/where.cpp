// Selection by a condition; T stands for any element of its size.
#include "kernels/elementwise/loops.h"
#include "kernels/elementwise/register.h"

namespace dl {
namespace {

// Both sides are read: without a branch the loop vectorises.
template <class T> void where_run(const bool* c, const T* a, const T* b, T* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const T va = a[i], vb = b[i];
    y[i] = c[i] ? va : vb;
  }
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
