#include "dispatch/kernel.h"
#include "kernels/index/index.h"

namespace dl {
namespace {

void index_offsets(const IndexArrays* a, int64_t count, int64_t* offsets, int* out_of_range) {
  for (int64_t b = 0; b < count; ++b) {
    offsets[b] = 0;
    for (int k = 0; k < a->n; ++k) {
      const int64_t i = a->index[k][b], size = a->sizes[k];
      if (i < -size || i >= size) {
        *out_of_range = 1;
      } else {
        offsets[b] += (i < 0 ? i + size : i) * a->strides[k];
      }
    }
  }
}

int64_t size_of(const IndexDims& dims) {
  int64_t n = 1;
  for (int d = 0; d < dims.ndim; ++d) n *= dims.sizes[d];
  return n;
}

int64_t offset_of(const IndexDims& dims, int64_t position) {
  int64_t offset = 0;
  for (int d = dims.ndim - 1; d >= 0; --d) {
    offset += position % dims.sizes[d] * dims.strides[d];
    position /= dims.sizes[d];
  }
  return offset;
}

// Calls visit(offset in x, position in y) for every selected element, in order.
template <class Visit> void for_each(const int64_t* offsets, const IndexShape* s, const Visit& visit) {
  const int64_t outer = size_of(s->outer), inner = size_of(s->inner);
  int64_t position = 0;
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t b = 0; b < s->count; ++b)
      for (int64_t i = 0; i < inner; ++i)
        visit(offset_of(s->outer, o) + offsets[b] + offset_of(s->inner, i), position++);
}

template <class T> void index_read(const T* x, const int64_t* offsets, T* y, const IndexShape* s) {
  for_each(offsets, s, [&](int64_t at, int64_t position) { y[position] = x[at]; });
}

template <class T> void index_write(T* x, const int64_t* offsets, const T* y, const IndexShape* s) {
  for_each(offsets, s, [&](int64_t at, int64_t position) { x[at] = y[position]; });
}

template <class T> void index_add(T* x, const int64_t* offsets, const T* y, const IndexShape* s) {
  for_each(offsets, s, [&](int64_t at, int64_t position) { x[at] = wrapping_add(x[at], y[position]); });
}

DL_REGISTER("index_offsets", index_offsets, index_offsets_fn)
DL_REGISTER("index_read/1", index_read, index_read_fn<uint8_t>)
DL_REGISTER("index_read/2", index_read, index_read_fn<uint16_t>)
DL_REGISTER("index_read/4", index_read, index_read_fn<uint32_t>)
DL_REGISTER("index_read/8", index_read, index_read_fn<uint64_t>)
DL_REGISTER("index_write/1", index_write, index_write_fn<uint8_t>)
DL_REGISTER("index_write/2", index_write, index_write_fn<uint16_t>)
DL_REGISTER("index_write/4", index_write, index_write_fn<uint32_t>)
DL_REGISTER("index_write/8", index_write, index_write_fn<uint64_t>)
DL_REGISTER("index_add/float32", index_add, index_add_fn<float>)
DL_REGISTER("index_add/float64", index_add, index_add_fn<double>)
DL_REGISTER("index_add/int64", index_add, index_add_fn<int64_t>)
DL_REGISTER("index_add/int32", index_add, index_add_fn<int32_t>)
DL_REGISTER("index_add/uint8", index_add, index_add_fn<uint8_t>)

}  // namespace
}  // namespace dl
