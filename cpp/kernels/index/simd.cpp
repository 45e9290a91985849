// Reads are cut anywhere: every selected row is its own work. Writes are cut along dimensions that are not indexed
// alone, so that all writes to one element are made by one thread, in order.
#include <cstring>

#include "core/parallel.h"
#include "dispatch/kernel.h"
#include "kernels/index/walk.h"

namespace dl {
namespace {

constexpr int64_t kElementsPerBlock = 32768;
// Written rows are cut into pieces of this many elements: a few cache lines for each index read again.
constexpr int64_t kPiece = 128;

void index_offsets(const IndexArrays* a, int64_t count, int64_t* offsets, int* out_of_range) {
  parallel_for(count, kElementsPerBlock, [&](int64_t begin, int64_t end) {
    int64_t bad = 0;
    for (int k = 0; k < a->n; ++k) {
      const int64_t* index = a->index[k];
      const int64_t size = a->sizes[k], stride = a->strides[k];
      for (int64_t b = begin; b < end; ++b) {
        const int64_t i = index[b] + (index[b] < 0 ? size : 0);
        const bool inside = static_cast<uint64_t>(i) < static_cast<uint64_t>(size);
        bad |= !inside;
        offsets[b] = (k == 0 ? 0 : offsets[b]) + (inside ? i : 0) * stride;
      }
    }
    if (bad) __atomic_store_n(out_of_range, 1, __ATOMIC_RELAXED);
  });
}

// Single elements: the loads are what takes time, several are under way at once.
template <class T> void read_elements(const T* x, const int64_t* offsets, T* y, const IndexShape* s) {
  const int64_t outer = size_of(s->outer), count = s->count;
  const int64_t blocks = (count + kElementsPerBlock - 1) / kElementsPerBlock;
  parallel_for(outer * blocks, at_least_one(kElementsPerBlock / count), [&](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t o = unit / blocks, b0 = unit % blocks * kElementsPerBlock;
      const int64_t b1 = b0 + kElementsPerBlock < count ? b0 + kElementsPerBlock : count;
      const T* from = x + Walk(s->outer, o).offset;
      T* to = y + o * count;
      for (int64_t b = b0; b < b1; ++b) to[b] = from[offsets[b]];
    }
  });
}

template <class T> void copy_run(const T* x, T* y, int64_t n, int64_t stride) {
  if (stride == 1) {
    std::memcpy(y, x, static_cast<size_t>(n) * sizeof(T));
  } else {
    for (int64_t i = 0; i < n; ++i) y[i] = x[i * stride];
  }
}

template <class T> void index_read(const T* x, const int64_t* offsets, T* y, const IndexShape* s) {
  if (s->inner.ndim == 0) return read_elements(x, offsets, y, s);
  const Runs inner(s->inner);
  const int64_t rows = size_of(inner.rows), size = rows * inner.n;
  parallel_for(size_of(s->outer) * s->count, at_least_one(kElementsPerBlock / size), [&](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; ++unit) {
      const T* from = x + Walk(s->outer, unit / s->count).offset + offsets[unit % s->count];
      T* to = y + unit * size;
      if (rows == 1) {
        copy_run(from, to, inner.n, inner.stride);
        continue;
      }
      Walk row(inner.rows, 0);
      for (int64_t r = 0; r < rows; ++r, row.next())
        copy_run(from + row.offset, to + r * inner.n, inner.n, inner.stride);
    }
  });
}

// Calls body(piece of x at offset 0, piece of y at selection 0, step of y from selection to selection, length, stride).
template <class T, class Body> void for_each_piece(T* x, const T* y, const IndexShape* s, const Body& body) {
  const Runs inner(s->inner);
  const int64_t rows = size_of(inner.rows), size = rows * inner.n;
  const int64_t pieces = (inner.n + kPiece - 1) / kPiece, units = rows * pieces;
  const int64_t piece = inner.n < kPiece ? inner.n : kPiece;
  parallel_for(size_of(s->outer) * units, at_least_one(kElementsPerBlock / (s->count * piece)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t unit = begin; unit < end; ++unit) {
                   const int64_t o = unit / units, r = unit % units / pieces, i0 = unit % pieces * kPiece;
                   const int64_t n = i0 + kPiece < inner.n ? kPiece : inner.n - i0;
                   T* to = x + Walk(s->outer, o).offset + Walk(inner.rows, r).offset + i0 * inner.stride;
                   body(to, y + o * s->count * size + r * inner.n + i0, size, n, inner.stride);
                 }
               });
}

template <class T> void index_write(T* x, const int64_t* offsets, const T* y, const IndexShape* s) {
  for_each_piece(x, y, s, [&](T* to, const T* from, int64_t step, int64_t n, int64_t stride) {
    if (n == 1) {
      constexpr int64_t kAhead = 16;
      for (int64_t b = 0; b < s->count; ++b) {
        __builtin_prefetch(to + offsets[b + kAhead < s->count ? b + kAhead : b], 1);
        to[offsets[b]] = from[b * step];
      }
    } else if (stride == 1) {
      for (int64_t b = 0; b < s->count; ++b)
        std::memcpy(to + offsets[b], from + b * step, static_cast<size_t>(n) * sizeof(T));
    } else {
      for (int64_t b = 0; b < s->count; ++b)
        for (int64_t i = 0; i < n; ++i) to[offsets[b] + i * stride] = from[b * step + i];
    }
  });
}

template <class T> void index_add(T* x, const int64_t* offsets, const T* y, const IndexShape* s) {
  for_each_piece(x, y, s, [&](T* to, const T* from, int64_t step, int64_t n, int64_t stride) {
    for (int64_t b = 0; b < s->count; ++b) {
      T* const t = to + offsets[b];
      const T* const f = from + b * step;
      if (stride == 1) {
        for (int64_t i = 0; i < n; ++i) t[i] = wrapping_add(t[i], f[i]);
      } else {
        for (int64_t i = 0; i < n; ++i) t[i * stride] = wrapping_add(t[i * stride], f[i]);
      }
    }
  });
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
