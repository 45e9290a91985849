// How elementwise kernels walk memory: blocks of the output for the threads, and inside a block chunks in which every
// input is contiguous. Inputs that broadcast or step are gathered into a small buffer first: a functor then needs one
// loop only, and even an inner dimension of 3 is computed in whole vectors.
#pragma once
#include <cstring>

#include "core/parallel.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/unary/unary.h"

namespace dl {
namespace {

// Per block: enough to outweigh handing it to a thread, little enough to share out evenly.
constexpr int64_t kElementsPerBlock = 32768;
constexpr int64_t kChunk = 1024;   // elements at a time where an input is gathered: stays in L1
constexpr int64_t kLongRow = 256;  // rows from here on are read where they lie; chunks then end with the row

inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

inline int64_t count_elements(const ElementwiseShape* s) {
  int64_t n = 1;
  for (int d = 0; d < s->ndim; ++d) n *= s->sizes[d];
  return n;
}

enum class Layout { contiguous, scalar, other };
inline Layout layout_of(const ElementwiseShape* s, int k) {
  bool contiguous = true, scalar = true;
  int64_t expected = 1;
  for (int d = s->ndim - 1; d >= 0; --d) {
    if (s->strides[k][d] != expected) contiguous = false;
    if (s->strides[k][d] != 0) scalar = false;
    expected *= s->sizes[d];
  }
  return contiguous ? Layout::contiguous : scalar ? Layout::scalar : Layout::other;
}

// Input k in output order from a position on, a chunk at a time.
template <class T> class Cursor {
 public:
  Cursor(const T* x, const ElementwiseShape* s, int k, int64_t begin) : x_(x), s_(s), strides_(s->strides[k]) {
    layout_ = layout_of(s, k);
    if (layout_ == Layout::contiguous) {
      x_ += begin;
    } else if (layout_ == Layout::scalar) {
      for (T& v : buffer_) v = *x;
    } else {
      int64_t row = begin / inner_size();
      offset_ = begin % inner_size();
      for (int d = s->ndim - 2; d >= 0; --d) {
        index_[d] = row % s->sizes[d];
        row /= s->sizes[d];
        x_ += index_[d] * strides_[d];
      }
    }
  }

  // The next n <= kChunk elements.
  const T* take(int64_t n) {
    if (layout_ == Layout::scalar) return buffer_;
    if (layout_ == Layout::contiguous) {
      x_ += n;
      return x_ - n;
    }
    const int64_t inner = inner_size(), stride = strides_[s_->ndim - 1];
    if (stride == 1 && offset_ + n <= inner) {
      const T* here = x_ + offset_;
      advance(n);
      return here;
    }
    for (int64_t i = 0; i < n;) {
      const int64_t count = least(inner - offset_, n - i);
      copy(x_ + offset_ * stride, stride, count, buffer_ + i);
      advance(count);
      i += count;
    }
    return buffer_;
  }

 private:
  int64_t inner_size() const { return s_->sizes[s_->ndim - 1]; }

  static void copy(const T* from, int64_t stride, int64_t n, T* to) {
    if (stride == 1 && n >= 32) {
      std::memcpy(to, from, static_cast<size_t>(n) * sizeof(T));
    } else if (stride == 0 && n >= 32) {
      const T v = *from;
      for (int64_t i = 0; i < n; ++i) to[i] = v;
    } else {
      for (int64_t i = 0; i < n; ++i) to[i] = from[i * stride];
    }
  }

  // By n elements, not past the end of the row.
  void advance(int64_t n) {
    offset_ += n;
    if (offset_ < inner_size()) return;
    offset_ = 0;
    for (int d = s_->ndim - 2; d >= 0; --d) {
      x_ += strides_[d];
      if (++index_[d] < s_->sizes[d]) return;
      x_ -= s_->sizes[d] * strides_[d];
      index_[d] = 0;
    }
  }

  const T* x_;
  const ElementwiseShape* s_;
  const int64_t* strides_;
  Layout layout_;
  int64_t offset_ = 0, index_[kElementwiseDims] = {};
  T buffer_[kChunk];
};

// Elements from pos on that make one chunk.
inline int64_t chunk_at(const ElementwiseShape* s, int64_t pos, int64_t end) {
  const int64_t inner = s->sizes[s->ndim - 1], n = least(kChunk, end - pos);
  return inner < kLongRow ? n : least(n, inner - pos % inner);
}

// The loops are compiled once for each combination of types; the functors come in as pointers to their inner loops.
#define DL_NOINLINE __attribute__((noinline))

template <class X, class Y> using UnaryRun = void (*)(const X* x, Y* y, int64_t n);
template <class X, class Y> DL_NOINLINE void unary_loop(UnaryRun<X, Y> run, const X* x, Y* y, int64_t n) {
  parallel_for(n, kElementsPerBlock, [&](int64_t begin, int64_t end) { run(x + begin, y + begin, end - begin); });
}

template <class T> using UnaryParamRun = void (*)(const T* x, T* y, int64_t n, double p, double q);
template <class T>
DL_NOINLINE void unary_param_loop(UnaryParamRun<T> run, const T* x, T* y, int64_t n, double p, double q) {
  parallel_for(n, kElementsPerBlock, [&](int64_t begin, int64_t end) { run(x + begin, y + begin, end - begin, p, q); });
}

template <class T, class Y> using BinaryRun = void (*)(const T* a, const T* b, Y* y, int64_t n);
template <class T, class Y>
DL_NOINLINE void binary_loop(BinaryRun<T, Y> run, const T* a, const T* b, Y* y, const ElementwiseShape* s) {
  const bool simple = layout_of(s, 0) == Layout::contiguous && layout_of(s, 1) == Layout::contiguous;
  parallel_for(count_elements(s), kElementsPerBlock, [&](int64_t begin, int64_t end) {
    if (simple) return run(a + begin, b + begin, y + begin, end - begin);
    Cursor<T> next_a(a, s, 0, begin), next_b(b, s, 1, begin);
    for (int64_t pos = begin; pos < end;) {
      const int64_t n = chunk_at(s, pos, end);
      run(next_a.take(n), next_b.take(n), y + pos, n);
      pos += n;
    }
  });
}

template <class T> using TernaryRun = void (*)(const bool* c, const T* a, const T* b, T* y, int64_t n);
template <class T> DL_NOINLINE void ternary_loop(TernaryRun<T> run, const bool* c, const T* a, const T* b, T* y,
                                                 const ElementwiseShape* s) {
  parallel_for(count_elements(s), kElementsPerBlock, [&](int64_t begin, int64_t end) {
    Cursor<bool> next_c(c, s, 0, begin);
    Cursor<T> next_a(a, s, 1, begin), next_b(b, s, 2, begin);
    for (int64_t pos = begin; pos < end;) {
      const int64_t n = chunk_at(s, pos, end);
      run(next_c.take(n), next_a.take(n), next_b.take(n), y + pos, n);
      pos += n;
    }
  });
}

}  // namespace
}  // namespace dl
