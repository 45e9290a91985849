// The gradient is cut into rectangles of the table, (some words) x (some columns). Each block clears its rectangle and
// runs through all indices in order: no two blocks write the same element, whatever the number of threads.
#include <cstring>

#include "core/parallel.h"
#include "dispatch/kernel.h"
#include "kernels/embedding/embedding.h"

namespace dl {
namespace {

constexpr int64_t kBytesPerBlock = 1 << 17;
constexpr int64_t kCols = 256;               // wide enough to outweigh reading the indices once a block
constexpr int64_t kTableElements = 1 << 19;  // of one rectangle, at most: clearing the table is shared out as well
constexpr int64_t kRanges = 16;              // of the vocabulary, at least

void forward(const int64_t* index, const void* w, void* y, int64_t n, int64_t row_bytes) {
  const char* from = static_cast<const char*>(w);
  char* to = static_cast<char*>(y);
  const int64_t grain = row_bytes < kBytesPerBlock ? kBytesPerBlock / row_bytes : 1;
  parallel_for(n, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      std::memcpy(to + i * row_bytes, from + index[i] * row_bytes, static_cast<size_t>(row_bytes));
  });
}

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

template <class T>
void backward(const int64_t* index, const T* dy, T* dw, int64_t n, int64_t vocabulary, int64_t cols, int64_t padding) {
  const int64_t strip = cols < kCols ? cols : kCols, strips = ceil_div(cols, strip);
  int64_t words = ceil_div(vocabulary, kRanges);
  if (words * strip > kTableElements) words = ceil_div(kTableElements, strip);
  const int64_t ranges = ceil_div(vocabulary, words);
  parallel_for(ranges * strips, 1, [&](int64_t begin, int64_t end) {
    for (int64_t u = begin; u < end; ++u) {
      const int64_t v0 = u / strips * words, v1 = v0 + words < vocabulary ? v0 + words : vocabulary;
      const int64_t c0 = u % strips * strip, width = c0 + strip < cols ? strip : cols - c0;
      for (int64_t v = v0; v < v1; ++v) std::memset(dw + v * cols + c0, 0, static_cast<size_t>(width) * sizeof(T));
      for (int64_t i = 0; i < n; ++i) {
        const int64_t v = index[i];
        if (v < v0 || v >= v1 || v == padding) continue;
        const T* from = dy + i * cols + c0;
        T* to = dw + v * cols + c0;
        for (int64_t c = 0; c < width; ++c) to[c] += from[c];
      }
    }
  });
}

DL_REGISTER("embedding_forward", forward, embedding_forward_fn)
DL_REGISTER("embedding_backward/float32", backward, embedding_backward_fn<float>)
DL_REGISTER("embedding_backward/float64", backward, embedding_backward_fn<double>)

}  // namespace
}  // namespace dl
