// Copies follow the memory: whole rows where both sides are contiguous, square tiles where they are transposed.
#include <cstring>

#include "core/parallel.h"
#include "dispatch/kernel.h"
#include "kernels/copy/convert.h"
#include "kernels/copy/copy.h"
#include "simd/transpose.h"

namespace dl {
namespace {

// Per block: enough to outweigh handing it to a thread, little enough to share out evenly.
constexpr int64_t kElementsPerBlock = 32768;
// A tile of 32 x 32 elements, read along one side and written along the other, stays in L1.
constexpr int64_t kTile = 32;

template <class T> void copy_run(const T* x, T* y, int64_t n, int64_t sx, int64_t sy) {
  if (sy == 1 && sx == 1) {
    std::memcpy(y, x, static_cast<size_t>(n) * sizeof(T));
  } else if (sy == 1 && sx == 0) {
    const T v = *x;
    for (int64_t i = 0; i < n; ++i) y[i] = v;
  } else {
    for (int64_t i = 0; i < n; ++i) y[i * sy] = x[i * sx];
  }
}

// Walks the first `ndim` dimensions of a shape in row-major order from a given start.
struct Walk {
  const CopyShape* s;
  int ndim;
  int64_t index[kCopyDims];
  int64_t x = 0, y = 0;

  Walk(const CopyShape* shape, int dims, int64_t start) : s(shape), ndim(dims) {
    for (int d = ndim - 1; d >= 0; --d) {
      index[d] = start % s->sizes[d];
      start /= s->sizes[d];
      x += index[d] * s->x_strides[d];
      y += index[d] * s->y_strides[d];
    }
  }
  void next() {
    for (int d = ndim - 1; d >= 0; --d) {
      x += s->x_strides[d];
      y += s->y_strides[d];
      if (++index[d] < s->sizes[d]) return;
      x -= s->sizes[d] * s->x_strides[d];
      y -= s->sizes[d] * s->y_strides[d];
      index[d] = 0;
    }
  }
};

int64_t size_of_first(const CopyShape* s, int dims) {
  int64_t n = 1;
  for (int d = 0; d < dims; ++d) n *= s->sizes[d];
  return n;
}

int64_t at_least_one(int64_t v) { return v > 1 ? v : 1; }

template <class T> void copy_rows(const T* x, T* y, const CopyShape* s) {
  const int last = s->ndim - 1;
  const int64_t n = s->sizes[last], sx = s->x_strides[last], sy = s->y_strides[last];
  const int64_t rows = size_of_first(s, last);
  if (rows == 1) {
    parallel_for(n, kElementsPerBlock,
                 [&](int64_t begin, int64_t end) { copy_run(x + begin * sx, y + begin * sy, end - begin, sx, sy); });
    return;
  }
  parallel_for(rows, at_least_one(kElementsPerBlock / n), [&](int64_t begin, int64_t end) {
    Walk walk(s, last, begin);
    for (int64_t r = begin; r < end; ++r, walk.next()) copy_run(x + walk.x, y + walk.y, n, sx, sy);
  });
}

// y[r, c] = x[r, c] where x runs along r and y along c: squares of lanes, transposed in registers.
void copy_tile(const uint32_t* x, uint32_t* y, int64_t rows, int64_t cols, int64_t x_col, int64_t y_row) {
  const float* from = reinterpret_cast<const float*>(x);
  float* to = reinterpret_cast<float*>(y);
  constexpr int64_t kSquare = Vec::size;
  for (int64_t r = 0; r < rows; r += kSquare)
    for (int64_t c = 0; c < cols; c += kSquare) {
      const int64_t m = rows - r < kSquare ? rows - r : kSquare, n = cols - c < kSquare ? cols - c : kSquare;
      Vec square[kSquare];
      if (m == kSquare && n == kSquare) {
        for (int64_t i = 0; i < kSquare; ++i) square[i] = load(from + r + (c + i) * x_col);
        transpose(square);
        for (int64_t i = 0; i < kSquare; ++i) store(to + (r + i) * y_row + c, square[i]);
      } else {
        for (int64_t i = 0; i < kSquare; ++i) square[i] = i < n ? load(from + r + (c + i) * x_col, m) : zero();
        transpose(square);
        for (int64_t i = 0; i < m; ++i) store(to + (r + i) * y_row + c, square[i], n);
      }
    }
}

// x runs along `wide`, y along the last dimension: copy tile by tile.
template <class T> void copy_transposed(const T* x, T* y, const CopyShape* s, int wide) {
  // Bring `wide` next to the last dimension; the order of the others does not matter for the result.
  CopyShape t = *s;
  const int last = s->ndim - 1, side = last - 1;
  for (int d = wide; d < side; ++d) {
    t.sizes[d] = s->sizes[d + 1];
    t.x_strides[d] = s->x_strides[d + 1];
    t.y_strides[d] = s->y_strides[d + 1];
  }
  t.sizes[side] = s->sizes[wide];
  t.x_strides[side] = s->x_strides[wide];
  t.y_strides[side] = s->y_strides[wide];

  const int64_t rows = t.sizes[side], cols = t.sizes[last];
  const int64_t strips = (rows + kTile - 1) / kTile;
  const int64_t x_row = t.x_strides[side], x_col = t.x_strides[last], y_row = t.y_strides[side],
                y_col = t.y_strides[last];
  parallel_for(size_of_first(&t, side) * strips, at_least_one(kElementsPerBlock / (kTile * cols)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t b = begin; b < end; ++b) {
                   const Walk walk(&t, side, b / strips);
                   const int64_t r0 = b % strips * kTile, r1 = r0 + kTile < rows ? r0 + kTile : rows;
                   for (int64_t c0 = 0; c0 < cols; c0 += kTile) {
                     const int64_t c1 = c0 + kTile < cols ? c0 + kTile : cols;
                     if constexpr (sizeof(T) == 4) {
                       if (x_row == 1 && y_col == 1) {
                         copy_tile(x + walk.x + r0 + c0 * x_col, y + walk.y + r0 * y_row + c0, r1 - r0, c1 - c0, x_col,
                                   y_row);
                         continue;
                       }
                     }
                     for (int64_t r = r0; r < r1; ++r)
                       for (int64_t c = c0; c < c1; ++c)
                         y[walk.y + r * y_row + c * y_col] = x[walk.x + r * x_row + c * x_col];
                   }
                 }
               });
}

template <class T> void copy_strided(const T* x, T* y, const CopyShape* s) {
  const int last = s->ndim - 1;
  if (s->x_strides[last] > 1 && s->sizes[last] >= 8)
    for (int d = 0; d < last; ++d)
      if (s->x_strides[d] == 1 && s->sizes[d] >= 8) return copy_transposed(x, y, s, d);
  copy_rows(x, y, s);
}

template <class S, class D> void cast(const S* x, D* y, int64_t n) {
  parallel_for(n, kElementsPerBlock, [&](int64_t begin, int64_t end) {
    // Locals: a write through uint8_t* might change captured variables, for all the compiler knows.
    const S* const from = x;
    D* const to = y;
    for (int64_t i = begin; i < end; ++i) to[i] = convert<S, D>(from[i]);
  });
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
