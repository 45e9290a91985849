// The gradient's table is cleared from end to end, past the caches where it is large: it is mostly zeros, written once.
// Then it is cut into rectangles, (some words) x (some columns), whose blocks run through all indices in order: no two
// blocks write the same element, whatever the number of threads.
#include <cstring>

#include "core/parallel.h"
#include "dispatch/kernel.h"
#include "kernels/embedding/embedding.h"
#include "simd/vec.h"

namespace dl {
namespace {

constexpr int64_t kBytesPerBlock = 1 << 17;
constexpr int64_t kCols = 256;              // wide enough to outweigh reading the indices once a block
constexpr int64_t kRanges = 16;             // of the vocabulary
constexpr int64_t kStreamBytes = 16 << 20;  // a table from here on would only push others out of the caches
constexpr int64_t kClearBytes = 1 << 20;    // by a block

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

void clear(char* p, int64_t bytes) {
  const auto zeros = [](char* to, int64_t n) { std::memset(to, 0, static_cast<size_t>(n)); };
  if (bytes < kStreamBytes)
    return parallel_for(bytes, kClearBytes, [&](int64_t begin, int64_t end) { zeros(p + begin, end - begin); });
  constexpr int64_t line = 64, step = Vec::size * static_cast<int64_t>(sizeof(float));
  const int64_t head = -reinterpret_cast<intptr_t>(p) & (line - 1), lines = (bytes - head) / line;
  char* const first = p + head;
  zeros(p, head);
  zeros(first + lines * line, bytes - head - lines * line);
  parallel_for(lines, kClearBytes / line, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin * line; i < end * line; i += step) stream(reinterpret_cast<float*>(first + i), zero());
    stream_fence();
  });
}

template <class T> void backward(const int64_t* index, const T* dy, T* dw, int64_t n, int64_t vocabulary, int64_t cols,
                                 int64_t padding, bool add) {
  const int64_t strip = cols < kCols ? cols : kCols, strips = ceil_div(cols, strip);
  const int64_t words = ceil_div(vocabulary, kRanges), ranges = ceil_div(vocabulary, words);
  if (!add) clear(reinterpret_cast<char*>(dw), vocabulary * cols * static_cast<int64_t>(sizeof(T)));
  parallel_for(ranges * strips, 1, [&](int64_t begin, int64_t end) {
    for (int64_t u = begin; u < end; ++u) {
      const int64_t v0 = u / strips * words, v1 = v0 + words < vocabulary ? v0 + words : vocabulary;
      const int64_t c0 = u % strips * strip, width = c0 + strip < cols ? strip : cols - c0;
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
