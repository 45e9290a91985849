#include "core/heap.h"

#include <algorithm>
#include <string>

#include "core/check.h"

namespace dl {
namespace {

// By this much the cache may make the process larger than it ever had to be.
constexpr size_t kSlack = size_t{1} << 30;

std::string in_units(size_t bytes) {
  if (bytes < (size_t{1} << 20)) return cat(bytes, " bytes");
  return cat(bytes, " bytes (", bytes >> 20, " MiB)");
}

}  // namespace

SizeClass class_of(size_t bytes) {
  if (bytes <= 1024) {
    const size_t steps = (bytes + kAlignment - 1) / kAlignment;
    return {steps * kAlignment, steps - 1};
  }
  const size_t top = static_cast<size_t>(63 - __builtin_clzll(bytes - 1));
  const size_t quarters = ((bytes - 1) >> (top - 2)) + 1;  // 5 ... 8
  return {quarters << (top - 2), 16 + 4 * (top - 10) + quarters - 5};
}

// Gives blocks back, the largest first, until at most `most` bytes are cached.
void Heap::shrink_cache(size_t most) {
  for (size_t i = kSizeClasses; i-- > 0 && stats_.cached > most;) {
    FreeBlocks& free = free_[i];
    for (; !free.blocks.empty() && stats_.cached > most; stats_.cached -= free.size) {
      give_back(free.blocks.back(), free.size);
      free.blocks.pop_back();
    }
  }
}

void* Heap::allocate(size_t bytes) {
  if (bytes == 0) return nullptr;
  std::lock_guard<std::mutex> lock(mutex_);
  auto refuse = [&](const char* reason) {
    throw MemoryError(cat("[memory] cannot allocate ", in_units(bytes), ": ", reason, "; live ", in_units(stats_.live),
                          ", limit ", stats_.limit ? in_units(stats_.limit) : std::string("none")));
  };
  if (bytes > (size_t{1} << 62)) refuse("the size is beyond the address space");
  const auto [size, index] = class_of(bytes);
  std::vector<void*>& blocks = free_[index].blocks;
  ++stats_.allocations;
  if (stats_.limit && stats_.live + size > stats_.limit) refuse("the limit would be passed");
  void* data = nullptr;
  if (!blocks.empty()) {
    data = blocks.back();
    blocks.pop_back();
    stats_.cached -= size;
    ++stats_.cache_hits;
  } else {
    // Cached blocks count against the limit too: what the process holds is what the limit is about.
    if (stats_.limit && stats_.live + stats_.cached + size > stats_.limit) shrink_cache(0);
    const size_t live = stats_.live + size, most = std::max(stats_.peak, live) + kSlack;
    if (live + stats_.cached > most) shrink_cache(most - live);
    data = obtain(size);
    if (!data) {
      shrink_cache(0);
      data = obtain(size);
    }
    if (!data) refuse("the system has no more memory");
  }
  stats_.live += size;
  stats_.peak = std::max(stats_.peak, stats_.live);
  return data;
}

void Heap::release(void* data, size_t bytes) {
  if (!data) return;
  const auto [size, index] = class_of(bytes);
  std::lock_guard<std::mutex> lock(mutex_);
  stats_.live -= size;
  stats_.cached += size;
  free_[index].size = size;
  free_[index].blocks.push_back(data);
}

void Heap::resemble(Heap& other) {
  std::scoped_lock lock(mutex_, other.mutex_);
  stats_ = other.stats_;
  for (size_t i = 0; i < kSizeClasses; ++i) {
    free_[i].size = other.free_[i].size;
    for (size_t n = other.free_[i].blocks.size(); n > 0; --n) free_[i].blocks.push_back(obtain(free_[i].size));
  }
}

MemoryStats Heap::stats() {
  std::lock_guard<std::mutex> lock(mutex_);
  return stats_;
}

void Heap::reset_peak() {
  std::lock_guard<std::mutex> lock(mutex_);
  stats_.peak = stats_.live;
}

void Heap::set_limit(size_t bytes) {
  std::lock_guard<std::mutex> lock(mutex_);
  stats_.limit = bytes;
}

void Heap::empty_cache() {
  std::lock_guard<std::mutex> lock(mutex_);
  shrink_cache(0);
}

}  // namespace dl
