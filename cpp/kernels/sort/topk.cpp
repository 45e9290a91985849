// A scan that keeps what beats the k-th best so far. Kept entries collect in a buffer, which is cut back to the best k
// when it is full: for random rows that is seldom, and for the worst row it is a sort of every element once or so.
#include "core/parallel.h"
#include "dispatch/kernel.h"
#include "kernels/sort/entries.h"

namespace dl {
namespace {

constexpr int64_t kElementsPerBlock = 16384;
constexpr int64_t kRun = 64;  // elements tested at once

int64_t buffer_size(int64_t k) { return 3 * k > 128 ? 3 * k : 128; }

float comparable(bfloat16 x) { return to_float(x); }
template <class T> T comparable(T x) { return x; }

// Whether any of n elements may belong before the threshold; NaN, which beats all when largest, compares false.
template <bool largest, class T, class C> bool any_beats(const T* x, int64_t n, C threshold) {
  int beaten = 0;
  for (int64_t i = 0; i < n; ++i)
    beaten |= largest ? !(comparable(x[i]) <= threshold) : !(comparable(x[i]) >= threshold);
  return beaten != 0;
}

// The best k of x[0 … n), whose indices count from `first`, in order, into `best`. a and b have room for a buffer each.
template <bool largest, class T>
void scan(const T* x, int64_t n, int64_t first, int64_t k, Entry<T>* a, Entry<T>* b, Entry<T>* best) {
  using E = Entry<T>;
  const int64_t room = buffer_size(k);
  int64_t held = 0;
  bool has_threshold = false;
  E worst{};  // the k-th best entry at the last cut
  auto threshold = comparable(x[0]);
  const auto cut = [&] {
    const E* sorted = sort_entries(a, b, held);
    if (sorted != a) std::memcpy(a, sorted, static_cast<size_t>(k) * sizeof(E));
    held = k;
    worst = a[k - 1];
    threshold = comparable(x[worst.index() - first]);
    has_threshold = true;
  };
  for (int64_t i0 = 0; i0 < n; i0 += kRun) {
    const int64_t length = i0 + kRun < n ? kRun : n - i0;
    if (has_threshold && !any_beats<largest>(x + i0, length, threshold)) continue;
    for (int64_t i = i0; i < i0 + length; ++i) {
      const E e = entry_of(x[i], first + i, largest);
      if (has_threshold && !e.before(worst)) continue;
      if (held == room) {
        cut();
        if (!e.before(worst)) continue;
      }
      a[held++] = e;
    }
  }
  std::memcpy(best, sort_entries(a, b, held), static_cast<size_t>(k) * sizeof(E));
}

template <bool largest, class T>
void topk_of(const T* x, T* values, int64_t* indices, int64_t rows, int64_t cols, int64_t k, void* workspace) {
  using E = Entry<T>;
  const auto finish = [&](const E* best, int64_t r) {
    for (int64_t i = 0; i < k; ++i) {
      indices[r * k + i] = best[i].index();
      values[r * k + i] = x[r * cols + best[i].index()];
    }
  };
  const int64_t blocks = (cols + kSortBlock - 1) / kSortBlock;
  const int64_t room = buffer_size(k);
  if (blocks <= 1) {
    parallel_for(rows, kElementsPerBlock / cols > 1 ? kElementsPerBlock / cols : 1, [&](int64_t begin, int64_t end) {
      E *a = static_cast<E*>(thread_scratch()), *b = a + room, *best = b + room;
      for (int64_t r = begin; r < end; ++r) {
        scan<largest>(x + r * cols, cols, 0, k, a, b, best);
        finish(best, r);
      }
    });
    return;
  }
  // The best k of each block, then the best of those. Blocks of even size have more than k elements each.
  E *const found = static_cast<E*>(workspace), *const other = found + rows * blocks * k;
  parallel_for(rows * blocks, 1, [&](int64_t begin, int64_t end) {
    E *a = static_cast<E*>(thread_scratch()), *b = a + room;
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t start = cols * (unit % blocks) / blocks, stop = cols * (unit % blocks + 1) / blocks;
      scan<largest>(x + unit / blocks * cols + start, stop - start, start, k, a, b, found + unit * k);
    }
  });
  parallel_for(rows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      finish(sort_entries(found + r * blocks * k, other + r * blocks * k, blocks * k), r);
  });
}

template <class T> void topk(const T* x, T* values, int64_t* indices, int64_t rows, int64_t cols, int64_t k,
                             bool largest, void* workspace) {
  if (largest) return topk_of<true>(x, values, indices, rows, cols, k, workspace);
  topk_of<false>(x, values, indices, rows, cols, k, workspace);
}

DL_REGISTER("topk/float32", topk, topk_fn<float>)
DL_REGISTER("topk/bfloat16", topk, topk_fn<bfloat16>)
DL_REGISTER("topk/float64", topk, topk_fn<double>)
DL_REGISTER("topk/int64", topk, topk_fn<int64_t>)
DL_REGISTER("topk/int32", topk, topk_fn<int32_t>)
DL_REGISTER("topk/uint8", topk, topk_fn<uint8_t>)

}  // namespace
}  // namespace dl
