// Contracts of the sort family. The order of floating numbers: -inf … -0 = 0 … inf, then NaN, all NaN being equal.
#pragma once
#include <cstdint>

#include "core/bfloat16.h"

namespace dl {

// values[r, :] = x[r, :] in order, indices[r, i] = where values[r, i] came from; equal elements keep their order, also
// in a descending sort. values may be nullptr. cols < 2^32. workspace: sort_workspace(cols, sizeof(T)) bytes.
template <class T> using sort_fn = void (*)(const T* x, T* values, int64_t* indices, int64_t rows, int64_t cols,
                                            bool descending, void* workspace);

// The k largest (or smallest) elements of each row in order, of equal ones those that come first.
// 1 <= k <= most_scanned(cols), cols < 2^32. // values is (rows, k), indices too. workspace: topk_workspace(rows, cols,
// k, sizeof(T)) bytes.
template <class T> using topk_fn = void (*)(const T* x, T* values, int64_t* indices, int64_t rows, int64_t cols,
                                            int64_t k, bool largest, void* workspace);

// y[r, j] = how many elements of sorted[r, n] come before values[r, j] (right: before it or equal to it). Rows of
// values have m elements; all rows share one row of `sorted` where shared.
template <class T> using searchsorted_fn = void (*)(const T* sorted, const T* values, int64_t* y, int64_t rows,
                                                    int64_t n, int64_t m, bool shared, bool right);

// Shorter rows are sorted by one thread each in its scratch memory; longer ones by all threads, in blocks of this many.
constexpr int64_t kSortBlock = 65536;

// One element under way: its key and index, packed into 8 bytes where the key has 4 at most.
constexpr int64_t sort_entry_bytes(int64_t element) { return element <= 4 ? 8 : 16; }

constexpr int64_t sort_workspace(int64_t cols, int64_t element) {
  const int64_t blocks = (cols + kSortBlock - 1) / kSortBlock;
  return blocks <= 1 ? 0 : 2 * cols * sort_entry_bytes(element) + blocks * 2048 * 4;
}

// Up to this k the op calls topk, a scan with a threshold; above, it sorts.
constexpr int64_t most_scanned(int64_t cols) { return cols / 8 < 4096 ? cols / 8 : 4096; }

constexpr int64_t topk_workspace(int64_t rows, int64_t cols, int64_t k, int64_t element) {
  const int64_t blocks = (cols + kSortBlock - 1) / kSortBlock;
  return blocks <= 1 ? 0 : 2 * rows * blocks * k * sort_entry_bytes(element);
}

}  // namespace dl
