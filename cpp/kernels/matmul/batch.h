// Walking the batch dimensions; shared by every version of the kernel.
#pragma once
#include "kernels/matmul/matmul.h"

namespace dl {
namespace {

template <class In, class Out> inline int64_t batch_count(const MatmulArgs<In, Out>& p) {
  int64_t n = 1;
  for (int d = 0; d < p.batch_dims; ++d) n *= p.batch[d];
  return n;
}

// The product number `index` of the batch, by itself.
template <class In, class Out> inline MatmulArgs<In, Out> batch_item(MatmulArgs<In, Out> p, int64_t index) {
  for (int d = p.batch_dims - 1; d >= 0; --d) {
    const int64_t at = index % p.batch[d];
    index /= p.batch[d];
    p.a += at * p.a_batch[d];
    p.b += at * p.b_batch[d];
    p.c += at * p.c_batch[d];
    if (p.pre) p.pre += at * p.c_batch[d];
    if (p.residual) p.residual += at * p.c_batch[d];
  }
  p.batch_dims = 0;
  return p;
}

}  // namespace
}  // namespace dl
