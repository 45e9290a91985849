#include "core/allocator.h"

#include <pthread.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <vector>

#include "core/check.h"

namespace dl {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
// By this much the cache may make the process larger than it ever had to be.
constexpr size_t kSlack = size_t{1} << 30;

// Block sizes are 64-byte steps up to 1 KiB, then quarters of a power of two: at most 25 % is wasted and
// requests that differ a little still share blocks.
struct SizeClass {
  size_t size;
  size_t index;  // consecutive
};
constexpr size_t kSizeClasses = 16 + 4 * 52 + 1;  // up to 2^62 bytes
SizeClass class_of(size_t bytes) {
  if (bytes <= 1024) {
    const size_t steps = (bytes + kAlignment - 1) / kAlignment;
    return {steps * kAlignment, steps - 1};
  }
  const size_t top = static_cast<size_t>(63 - __builtin_clzll(bytes - 1));
  const size_t quarters = ((bytes - 1) >> (top - 2)) + 1;  // 5 ... 8
  return {quarters << (top - 2), 16 + 4 * (top - 10) + quarters - 5};
}

struct Heap {
  std::mutex mutex;
  std::vector<void*> free_blocks[kSizeClasses];
  size_t sizes[kSizeClasses] = {};  // of the blocks that were ever cached
  MemoryStats stats;

  // Gives blocks back, the largest first, until at most `most` bytes are cached.
  void shrink_cache(size_t most) {
    for (size_t i = kSizeClasses; i-- > 0 && stats.cached > most;) {
      for (; !free_blocks[i].empty() && stats.cached > most; stats.cached -= sizes[i]) {
        std::free(free_blocks[i].back());
        free_blocks[i].pop_back();
      }
    }
  }
  void drop_cache() { shrink_cache(0); }
};

// Never destroyed: tensors may outlive static destruction.
Heap& heap() {
  static Heap* const h = [] {
    auto* made = new Heap;
    pthread_atfork([] { heap().mutex.lock(); }, [] { heap().mutex.unlock(); }, [] { heap().mutex.unlock(); });
    return made;
  }();
  return *h;
}

void* from_system(size_t size) {
  const size_t alignment = size >= kHugePage ? kHugePage : kAlignment;
  void* data = nullptr;
  if (posix_memalign(&data, alignment, size) != 0) return nullptr;
#if defined(MADV_HUGEPAGE)
  if (size >= kHugePage) madvise(data, size, MADV_HUGEPAGE);
#endif
  return data;
}

std::string in_units(size_t bytes) {
  if (bytes < (size_t{1} << 20)) return cat(bytes, " bytes");
  return cat(bytes, " bytes (", bytes >> 20, " MiB)");
}

}  // namespace

void* allocate(size_t bytes) {
  if (bytes == 0) return nullptr;
  Heap& h = heap();
  std::lock_guard<std::mutex> lock(h.mutex);
  auto refuse = [&](const char* reason) {
    throw MemoryError(cat("[memory] cannot allocate ", in_units(bytes), ": ", reason, "; live ", in_units(h.stats.live),
                          ", limit ", h.stats.limit ? in_units(h.stats.limit) : std::string("none")));
  };
  if (bytes > (size_t{1} << 62)) refuse("the size is beyond the address space");
  const auto [size, index] = class_of(bytes);
  std::vector<void*>& free_blocks = h.free_blocks[index];
  ++h.stats.allocations;
  if (h.stats.limit && h.stats.live + size > h.stats.limit) refuse("the limit would be passed");
  void* data = nullptr;
  if (!free_blocks.empty()) {
    data = free_blocks.back();
    free_blocks.pop_back();
    h.stats.cached -= size;
    ++h.stats.cache_hits;
  } else {
    // Cached blocks count against the limit too: what the process holds is what the limit is about.
    if (h.stats.limit && h.stats.live + h.stats.cached + size > h.stats.limit) h.drop_cache();
    const size_t live = h.stats.live + size, most = std::max(h.stats.peak, live) + kSlack;
    if (live + h.stats.cached > most) h.shrink_cache(most - live);
    data = from_system(size);
    if (!data) {
      h.drop_cache();
      data = from_system(size);
    }
    if (!data) refuse("the system has no more memory");
  }
  h.stats.live += size;
  h.stats.peak = std::max(h.stats.peak, h.stats.live);
  return data;
}

void release(void* data, size_t bytes) {
  if (!data) return;
  const auto [size, index] = class_of(bytes);
  Heap& h = heap();
  std::lock_guard<std::mutex> lock(h.mutex);
  h.stats.live -= size;
  h.stats.cached += size;
  h.sizes[index] = size;
  h.free_blocks[index].push_back(data);
}

MemoryStats memory_stats() {
  std::lock_guard<std::mutex> lock(heap().mutex);
  return heap().stats;
}

void reset_peak_memory() {
  std::lock_guard<std::mutex> lock(heap().mutex);
  heap().stats.peak = heap().stats.live;
}

void set_memory_limit(size_t bytes) {
  std::lock_guard<std::mutex> lock(heap().mutex);
  heap().stats.limit = bytes;
}

void empty_cache() {
  std::lock_guard<std::mutex> lock(heap().mutex);
  heap().drop_cache();
}

}  // namespace dl
