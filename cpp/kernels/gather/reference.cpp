#include "dispatch/kernel.h"
#include "kernels/gather/gather.h"

namespace dl {
namespace {

void check_indices(const int64_t* index, int64_t n, int64_t size, int* out_of_range) {
  for (int64_t i = 0; i < n; ++i)
    if (index[i] < -size || index[i] >= size) *out_of_range = 1;
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

// Calls visit(offset in x, position in y) for every index, in order.
template <class Visit> void for_each(const int64_t* index, const GatherShape* s, const Visit& visit) {
  const int64_t outer = size_of(s->outer), inner = size_of(s->inner);
  int64_t position = 0;
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t k = 0; k < s->count; ++k)
      for (int64_t i = 0; i < inner; ++i, ++position) {
        const int64_t at = index[position] < 0 ? index[position] + s->size : index[position];
        visit(offset_of(s->outer, o) + at * s->stride + offset_of(s->inner, i), position);
      }
}

template <class T> void gather(const T* x, const int64_t* index, T* y, const GatherShape* s) {
  for_each(index, s, [&](int64_t at, int64_t position) { y[position] = x[at]; });
}

template <class T> void scatter(T* x, const int64_t* index, const T* y, const GatherShape* s) {
  for_each(index, s, [&](int64_t at, int64_t position) { x[at] = y[position]; });
}

template <class T> void scatter_add(T* x, const int64_t* index, const T* y, const GatherShape* s) {
  for_each(index, s, [&](int64_t at, int64_t position) { x[at] = wrapping_add(x[at], y[position]); });
}

DL_REGISTER("check_indices", check_indices, check_indices_fn)
DL_REGISTER("gather/1", gather, gather_fn<uint8_t>)
DL_REGISTER("gather/2", gather, gather_fn<uint16_t>)
DL_REGISTER("gather/4", gather, gather_fn<uint32_t>)
DL_REGISTER("gather/8", gather, gather_fn<uint64_t>)
DL_REGISTER("scatter/1", scatter, scatter_fn<uint8_t>)
DL_REGISTER("scatter/2", scatter, scatter_fn<uint16_t>)
DL_REGISTER("scatter/4", scatter, scatter_fn<uint32_t>)
DL_REGISTER("scatter/8", scatter, scatter_fn<uint64_t>)
DL_REGISTER("scatter_add/float32", scatter_add, scatter_add_fn<float>)
DL_REGISTER("scatter_add/float64", scatter_add, scatter_add_fn<double>)
DL_REGISTER("scatter_add/int64", scatter_add, scatter_add_fn<int64_t>)
DL_REGISTER("scatter_add/int32", scatter_add, scatter_add_fn<int32_t>)
DL_REGISTER("scatter_add/uint8", scatter_add, scatter_add_fn<uint8_t>)

}  // namespace
}  // namespace dl
