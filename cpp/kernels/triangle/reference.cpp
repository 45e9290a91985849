#include "dispatch/kernel.h"
#include "kernels/triangle/triangle.h"

namespace dl {
namespace {

template <class T>
void triangle(const T* x, T* y, int64_t batch, int64_t rows, int64_t cols, int64_t diagonal, bool upper) {
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < cols; ++c) {
        const int64_t i = (b * rows + r) * cols + c;
        y[i] = (upper ? c - r >= diagonal : c - r <= diagonal) ? x[i] : T(0);
      }
}

DL_REGISTER("triangle/1", triangle, triangle_fn<uint8_t>)
DL_REGISTER("triangle/2", triangle, triangle_fn<uint16_t>)
DL_REGISTER("triangle/4", triangle, triangle_fn<uint32_t>)
DL_REGISTER("triangle/8", triangle, triangle_fn<uint64_t>)

}  // namespace
}  // namespace dl
