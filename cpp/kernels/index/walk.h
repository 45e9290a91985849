// Steps through some dimensions of a tensor in row-major order. Everything is internal to the including file.
#pragma once
#include "kernels/index/index.h"

namespace dl {
namespace {

int64_t size_of(const IndexDims& dims) {
  int64_t n = 1;
  for (int d = 0; d < dims.ndim; ++d) n *= dims.sizes[d];
  return n;
}

struct Walk {
  const IndexDims& dims;
  int64_t offset = 0;  // of the element walked to

  Walk(const IndexDims& of, int64_t start) : dims(of) {
    for (int d = dims.ndim - 1; d >= 0; --d) {
      index_[d] = start % dims.sizes[d];
      start /= dims.sizes[d];
      offset += index_[d] * dims.strides[d];
    }
  }
  void next() {
    for (int d = dims.ndim - 1; d >= 0; --d) {
      offset += dims.strides[d];
      if (++index_[d] < dims.sizes[d]) return;
      offset -= dims.sizes[d] * dims.strides[d];
      index_[d] = 0;
    }
  }

 private:
  int64_t index_[kIndexDims];
};

// Dimensions as rows of one evenly stepping run each.
struct Runs {
  IndexDims rows;
  int64_t n, stride;

  explicit Runs(const IndexDims& dims) : rows(dims), n(1), stride(1) {
    if (dims.ndim == 0) return;
    rows.ndim = dims.ndim - 1;
    n = dims.sizes[rows.ndim];
    stride = dims.strides[rows.ndim];
  }
};

int64_t at_least_one(int64_t v) { return v > 1 ? v : 1; }

}  // namespace
}  // namespace dl
