// Radix sorts (least significant digit first, so they are stable) of keys packed with their indices: a row per thread,
// or all threads on one long row, each pass cut into blocks whose places in every bucket are known beforehand.
#include "core/parallel.h"
#include "dispatch/kernel.h"
#include "kernels/sort/entries.h"

namespace dl {
namespace {

constexpr int64_t kElementsPerBlock = 4096;
static_assert(2 * kSortBlock * sizeof(Long) <= kMaxScratch, "a row per thread is sorted in its scratch memory");

template <class T> void finish(const Entry<T>* sorted, const T* x, T* values, int64_t* indices, int64_t n) {
  for (int64_t i = 0; i < n; ++i) indices[i] = sorted[i].index();
  if (values)
    for (int64_t i = 0; i < n; ++i) values[i] = x[sorted[i].index()];
}

template <class T>
void sort_rows(const T* x, T* values, int64_t* indices, int64_t rows, int64_t cols, bool descending) {
  const int64_t grain = kElementsPerBlock / cols > 1 ? kElementsPerBlock / cols : 1;
  parallel_for(rows, grain, [&](int64_t begin, int64_t end) {
    Entry<T>* const a = static_cast<Entry<T>*>(thread_scratch());
    for (int64_t r = begin; r < end; ++r) {
      for (int64_t i = 0; i < cols; ++i) a[i] = entry_of(x[r * cols + i], i, descending);
      finish(sort_entries(a, a + cols, cols), x + r * cols, values ? values + r * cols : nullptr, indices + r * cols,
             cols);
    }
  });
}

// One pass of all threads over a[0 … n). False when all entries have the same digit, and nothing was done.
template <class E> bool radix_pass(const E* a, E* b, int64_t n, int shift, uint32_t* counts) {
  constexpr uint32_t kDigits = 2048;
  const int64_t blocks = (n + kSortBlock - 1) / kSortBlock;
  parallel_for(n, kSortBlock, [&](int64_t begin, int64_t end) {
    uint32_t* const count = counts + begin / kSortBlock * kDigits;
    std::memset(count, 0, kDigits * sizeof *count);
    for (int64_t i = begin; i < end; ++i) ++count[a[i].key() >> shift & (kDigits - 1)];
  });
  uint32_t sum = 0;
  for (uint32_t d = 0; d < kDigits; ++d) {
    const uint32_t before = sum;
    for (int64_t k = 0; k < blocks; ++k) {
      const uint32_t count = counts[k * kDigits + d];
      counts[k * kDigits + d] = sum;
      sum += count;
    }
    if (sum - before == static_cast<uint32_t>(n)) return false;
  }
  parallel_for(n, kSortBlock, [&](int64_t begin, int64_t end) {
    uint32_t* const at = counts + begin / kSortBlock * kDigits;
    for (int64_t i = begin; i < end; ++i) b[at[a[i].key() >> shift & (kDigits - 1)]++] = a[i];
  });
  return true;
}

template <class T>
void sort_long_row(const T* x, T* values, int64_t* indices, int64_t n, bool descending, void* workspace) {
  using E = Entry<T>;
  E *a = static_cast<E*>(workspace), *b = a + n;
  uint32_t* const counts = reinterpret_cast<uint32_t*>(b + n);
  parallel_for(n, kSortBlock, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) a[i] = entry_of(x[i], i, descending);
  });
  for (int shift = 0; shift < E::kKeyBits; shift += 11) {
    if (!radix_pass(a, b, n, shift, counts)) continue;
    E* const swap = a;
    a = b;
    b = swap;
  }
  parallel_for(n, kSortBlock, [&](int64_t begin, int64_t end) {
    finish(a + begin, x, values ? values + begin : nullptr, indices + begin, end - begin);
  });
}

template <class T>
void sort(const T* x, T* values, int64_t* indices, int64_t rows, int64_t cols, bool descending, void* workspace) {
  if (cols <= kSortBlock) return sort_rows(x, values, indices, rows, cols, descending);
  for (int64_t r = 0; r < rows; ++r)
    sort_long_row(x + r * cols, values ? values + r * cols : nullptr, indices + r * cols, cols, descending, workspace);
}

DL_REGISTER("sort/float32", sort, sort_fn<float>)
DL_REGISTER("sort/bfloat16", sort, sort_fn<bfloat16>)
DL_REGISTER("sort/float64", sort, sort_fn<double>)
DL_REGISTER("sort/int64", sort, sort_fn<int64_t>)
DL_REGISTER("sort/int32", sort, sort_fn<int32_t>)
DL_REGISTER("sort/uint8", sort, sort_fn<uint8_t>)

}  // namespace
}  // namespace dl
