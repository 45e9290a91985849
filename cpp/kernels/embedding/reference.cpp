#include <cstring>

#include "dispatch/kernel.h"
#include "kernels/embedding/embedding.h"

namespace dl {
namespace {

void forward(const int64_t* index, const void* w, void* y, int64_t n, int64_t row_bytes) {
  for (int64_t i = 0; i < n; ++i)
    std::memcpy(static_cast<char*>(y) + i * row_bytes, static_cast<const char*>(w) + index[i] * row_bytes,
                static_cast<size_t>(row_bytes));
}

template <class T> void backward(const int64_t* index, const T* dy, T* dw, int64_t n, int64_t vocabulary, int64_t cols,
                                 int64_t padding, bool add) {
  for (int64_t i = 0; !add && i < vocabulary * cols; ++i) dw[i] = 0;
  for (int64_t i = 0; i < n; ++i)
    if (index[i] != padding)
      for (int64_t c = 0; c < cols; ++c) dw[index[i] * cols + c] += dy[i * cols + c];
}

DL_REGISTER("embedding_forward", forward, embedding_forward_fn)
DL_REGISTER("embedding_backward/float32", backward, embedding_backward_fn<float>)
DL_REGISTER("embedding_backward/float64", backward, embedding_backward_fn<double>)

}  // namespace
}  // namespace dl
