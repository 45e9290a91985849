#include "dispatch/kernel.h"
#include "kernels/mask/mask.h"

namespace dl {
namespace {

void mask_count(const uint8_t* mask, int64_t n, int64_t* counts) {
  for (int64_t p = 0; p < n; ++p) {
    if (p % kMaskBlock == 0) counts[p / kMaskBlock] = 0;
    counts[p / kMaskBlock] += mask[p] != 0;
  }
}

void mask_places(const uint8_t* mask, int64_t n, const int64_t*, const int64_t* sizes, int ndim, int64_t* y) {
  int64_t k = 0;
  for (int64_t p = 0; p < n; ++p) {
    if (!mask[p]) continue;
    int64_t rest = p;
    for (int d = ndim - 1; d >= 0; --d) {
      y[k * ndim + d] = rest % sizes[d];
      rest /= sizes[d];
    }
    ++k;
  }
}

template <class T> void mask_read(const T* x, const uint8_t* mask, int64_t n, const int64_t*, int64_t row, T* y) {
  int64_t k = 0;
  for (int64_t p = 0; p < n; ++p)
    for (int64_t i = 0; mask[p] && i < row; ++i) y[k++] = x[p * row + i];
}

template <class T>
void mask_write(T* x, const uint8_t* mask, int64_t n, const int64_t*, int64_t row, const T* y, int64_t y_step) {
  for (int64_t p = 0; p < n; ++p) {
    if (!mask[p]) continue;
    for (int64_t i = 0; i < row; ++i) x[p * row + i] = y[i];
    y += y_step;
  }
}

DL_REGISTER("mask_count", mask_count, mask_count_fn)
DL_REGISTER("mask_places", mask_places, mask_places_fn)
DL_REGISTER("mask_read/1", mask_read, mask_read_fn<uint8_t>)
DL_REGISTER("mask_read/2", mask_read, mask_read_fn<uint16_t>)
DL_REGISTER("mask_read/4", mask_read, mask_read_fn<uint32_t>)
DL_REGISTER("mask_read/8", mask_read, mask_read_fn<uint64_t>)
DL_REGISTER("mask_write/1", mask_write, mask_write_fn<uint8_t>)
DL_REGISTER("mask_write/2", mask_write, mask_write_fn<uint16_t>)
DL_REGISTER("mask_write/4", mask_write, mask_write_fn<uint32_t>)
DL_REGISTER("mask_write/8", mask_write, mask_write_fn<uint64_t>)

}  // namespace
}  // namespace dl
