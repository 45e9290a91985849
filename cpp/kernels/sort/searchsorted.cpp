// Binary searches without branches; the searches of neighbouring values overlap in time.
#include "core/parallel.h"
#include "dispatch/kernel.h"
#include "kernels/sort/sort.h"

namespace dl {
namespace {

constexpr int64_t kSearchesPerBlock = 2048;

// NaN comes last.
template <class T> bool before(T a, T b) { return a < b || (b != b && a == a); }

template <class T, bool right> int64_t search(const T* sorted, int64_t n, T value) {
  const T* low = sorted;
  while (n > 0) {
    const int64_t half = n / 2;
    const bool passed = right ? !before(value, low[half]) : before(low[half], value);
    low += passed ? half + 1 : 0;
    n = passed ? n - half - 1 : half;
  }
  return low - sorted;
}

template <class T> void searchsorted(const T* sorted, const T* values, int64_t* y, int64_t rows, int64_t n, int64_t m,
                                     bool shared, bool right) {
  parallel_for(rows * m, kSearchesPerBlock, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const T* row = sorted + (shared ? 0 : i / m * n);
      y[i] = right ? search<T, true>(row, n, values[i]) : search<T, false>(row, n, values[i]);
    }
  });
}

DL_REGISTER("searchsorted/float32", searchsorted, searchsorted_fn<float>)
DL_REGISTER("searchsorted/float64", searchsorted, searchsorted_fn<double>)
DL_REGISTER("searchsorted/int64", searchsorted, searchsorted_fn<int64_t>)
DL_REGISTER("searchsorted/int32", searchsorted, searchsorted_fn<int32_t>)

}  // namespace
}  // namespace dl
