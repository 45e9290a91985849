// Blocks of the mask are independent once `starts` says where their output begins.
#include <cstring>

#include "core/parallel.h"
#include "dispatch/kernel.h"
#include "kernels/mask/mask.h"

namespace dl {
namespace {

template <class Body> void for_each_block(int64_t n, const Body& body) {
  parallel_for(n, kMaskBlock, [&](int64_t begin, int64_t end) {
    // One block may be handed over with its neighbours where the whole fits one grain.
    for (int64_t b = begin; b < end; b += kMaskBlock)
      body(b / kMaskBlock, b, b + kMaskBlock < end ? b + kMaskBlock : end);
  });
}

void mask_count(const uint8_t* mask, int64_t n, int64_t* counts) {
  for_each_block(n, [&](int64_t block, int64_t begin, int64_t end) {
    int64_t count = 0;
    for (int64_t p = begin; p < end; ++p) count += mask[p] != 0;
    counts[block] = count;
  });
}

// Calls visit(place) for every true place; eight places that are all false cost one test.
template <class Visit> void for_each_true(const uint8_t* mask, int64_t begin, int64_t end, const Visit& visit) {
  int64_t p = begin;
  for (; p + 8 <= end; p += 8) {
    uint64_t eight;
    std::memcpy(&eight, mask + p, 8);
    if (!eight) continue;
    for (int64_t i = p; i < p + 8; ++i)
      if (mask[i]) visit(i);
  }
  for (; p < end; ++p)
    if (mask[p]) visit(p);
}

void mask_places(const uint8_t* mask, int64_t n, const int64_t* starts, const int64_t* sizes, int ndim, int64_t* y) {
  for_each_block(n, [&](int64_t block, int64_t begin, int64_t end) {
    int64_t* to = y + starts[block] * ndim;
    const int64_t cols = sizes[ndim - 1];
    int64_t row = begin / cols, row_start = row * cols;
    for_each_true(mask, begin, end, [&](int64_t p) {
      if (p >= row_start + cols) {
        row = p / cols;
        row_start = row * cols;
      }
      to[ndim - 1] = p - row_start;
      int64_t rest = row;
      for (int d = ndim - 2; d > 0; --d) {
        to[d] = rest % sizes[d];
        rest /= sizes[d];
      }
      if (ndim > 1) to[0] = rest;
      to += ndim;
    });
  });
}

// Single elements, packed without branches (which would be mispredicted at random masks) into a buffer and copied out:
// writing to y itself would touch one element past the block's own.
template <class T> void pack(const T* x, const uint8_t* mask, int64_t begin, int64_t end, T* y) {
  constexpr int64_t kBuffer = 512;
  T buffer[kBuffer + 1];
  for (int64_t b = begin; b < end; b += kBuffer) {
    const int64_t e = b + kBuffer < end ? b + kBuffer : end;
    int64_t k = 0;
    for (int64_t p = b; p < e; ++p) {
      buffer[k] = x[p];
      k += mask[p] != 0;
    }
    std::memcpy(y, buffer, static_cast<size_t>(k) * sizeof(T));
    y += k;
  }
}

template <class T>
void mask_read(const T* x, const uint8_t* mask, int64_t n, const int64_t* starts, int64_t row, T* y) {
  for_each_block(n, [&](int64_t block, int64_t begin, int64_t end) {
    T* to = y + starts[block] * row;
    if (row == 1) return pack(x, mask, begin, end, to);
    for_each_true(mask, begin, end, [&](int64_t p) {
      std::memcpy(to, x + p * row, static_cast<size_t>(row) * sizeof(T));
      to += row;
    });
  });
}

// Single elements, unpacked without branches but for runs of eight false ones. `last` is the last value there is.
template <class T> void unpack(T* x, const uint8_t* mask, int64_t begin, int64_t end, const T* y, int64_t last) {
  int64_t k = 0;
  for (int64_t b = begin; b < end; b += 8) {
    const int64_t e = b + 8 < end ? b + 8 : end;
    uint64_t any = 0;
    std::memcpy(&any, mask + b, static_cast<size_t>(e - b));
    if (!any) continue;
    for (int64_t p = b; p < e; ++p) {
      const T value = y[k < last ? k : last];
      x[p] = mask[p] ? value : x[p];
      k += mask[p] != 0;
    }
  }
}

template <class T>
void mask_write(T* x, const uint8_t* mask, int64_t n, const int64_t* starts, int64_t row, const T* y, int64_t y_step) {
  for_each_block(n, [&](int64_t block, int64_t begin, int64_t end) {
    const T* from = y + starts[block] * y_step;
    if (row == 1 && y_step == 0) {
      const T value = *y;
      for (int64_t p = begin; p < end; ++p) x[p] = mask[p] ? value : x[p];
    } else if (row == 1) {
      int64_t count = 0;
      for (int64_t p = begin; p < end; ++p) count += mask[p] != 0;
      if (count) unpack(x, mask, begin, end, from, count - 1);
    } else {
      for_each_true(mask, begin, end, [&](int64_t p) {
        std::memcpy(x + p * row, from, static_cast<size_t>(row) * sizeof(T));
        from += y_step;
      });
    }
  });
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
