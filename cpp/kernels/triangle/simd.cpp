// Each row is a run to copy and a run to clear.
#include <cstring>

#include "core/parallel.h"
#include "dispatch/kernel.h"
#include "kernels/triangle/triangle.h"

namespace dl {
namespace {

constexpr int64_t kElementsPerBlock = 32768;

template <class T>
void triangle(const T* x, T* y, int64_t batch, int64_t rows, int64_t cols, int64_t diagonal, bool upper) {
  const int64_t grain = kElementsPerBlock / cols > 1 ? kElementsPerBlock / cols : 1;
  parallel_for(batch * rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      // Columns below `edge` are the lower part of this row.
      int64_t edge = row % rows + diagonal + (upper ? 0 : 1);
      edge = edge < 0 ? 0 : edge > cols ? cols : edge;
      const int64_t from = upper ? edge : 0, to = upper ? cols : edge;
      const T* source = x + row * cols;
      T* target = y + row * cols;
      std::memset(target, 0, static_cast<size_t>(from) * sizeof(T));
      std::memcpy(target + from, source + from, static_cast<size_t>(to - from) * sizeof(T));
      std::memset(target + to, 0, static_cast<size_t>(cols - to) * sizeof(T));
    }
  });
}

DL_REGISTER("triangle/1", triangle, triangle_fn<uint8_t>)
DL_REGISTER("triangle/2", triangle, triangle_fn<uint16_t>)
DL_REGISTER("triangle/4", triangle, triangle_fn<uint32_t>)
DL_REGISTER("triangle/8", triangle, triangle_fn<uint64_t>)

}  // namespace
}  // namespace dl
