#include "dispatch/kernel.h"
#include "kernels/copy/convert.h"
#include "kernels/copy/copy.h"

namespace dl {
namespace {

template <class T> void copy_strided(const T* x, T* y, const CopyShape* s) {
  int64_t index[kCopyDims] = {};
  int64_t n = 1;
  for (int d = 0; d < s->ndim; ++d) n *= s->sizes[d];
  for (int64_t i = 0; i < n; ++i) {
    int64_t from = 0, to = 0;
    for (int d = 0; d < s->ndim; ++d) {
      from += index[d] * s->x_strides[d];
      to += index[d] * s->y_strides[d];
    }
    y[to] = x[from];
    for (int d = s->ndim - 1; d >= 0 && ++index[d] == s->sizes[d]; --d) index[d] = 0;
  }
}

template <class S, class D> void cast(const S* x, D* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = convert<S, D>(x[i]);
}

DL_REGISTER("copy_strided/1", copy_strided, copy_strided_fn<uint8_t>)
DL_REGISTER("copy_strided/2", copy_strided, copy_strided_fn<uint16_t>)
DL_REGISTER("copy_strided/4", copy_strided, copy_strided_fn<uint32_t>)
DL_REGISTER("copy_strided/8", copy_strided, copy_strided_fn<uint64_t>)

// Every pair of dtypes; the seven casts to the same dtype are the op's business (no work).
#define DL_CASTS_FROM(S, s)                                      \
  DL_REGISTER("cast/" s "/float32", cast, cast_fn<S, float>)     \
  DL_REGISTER("cast/" s "/bfloat16", cast, cast_fn<S, bfloat16>) \
  DL_REGISTER("cast/" s "/float64", cast, cast_fn<S, double>)    \
  DL_REGISTER("cast/" s "/int64", cast, cast_fn<S, int64_t>)     \
  DL_REGISTER("cast/" s "/int32", cast, cast_fn<S, int32_t>)     \
  DL_REGISTER("cast/" s "/uint8", cast, cast_fn<S, uint8_t>)     \
  DL_REGISTER("cast/" s "/bool", cast, cast_fn<S, bool>)

DL_CASTS_FROM(float, "float32")
DL_CASTS_FROM(bfloat16, "bfloat16")
DL_CASTS_FROM(double, "float64")
DL_CASTS_FROM(int64_t, "int64")
DL_CASTS_FROM(int32_t, "int32")
DL_CASTS_FROM(uint8_t, "uint8")
DL_CASTS_FROM(bool, "bool")

}  // namespace
}  // namespace dl
