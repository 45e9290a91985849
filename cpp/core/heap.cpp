#include "core/heap.h"

#include <algorithm>
#include <string>

#include "core/check.h"

namespace dl {
namespace {

// By this much the cache may make the process larger than it ever had to be.
constexpr size_t kSlack = size_t{1} << 30;
constexpr size_t kSegment = size_t{64} << 30;  // of addresses

size_t round_up(size_t bytes, size_t step) { return (bytes + step - 1) / step * step; }

std::string in_units(size_t bytes) {
  if (bytes < (size_t{1} << 20)) return cat(bytes, " bytes");
  return cat(bytes, " bytes (", bytes >> 20, " MiB)");
}

// The highest bit of size - 1, for sizes over 1 KiB.
size_t top_bit(size_t size) { return static_cast<size_t>(63 - __builtin_clzll(size - 1)); }

}  // namespace

size_t block_size(size_t bytes) {
  if (bytes <= 1024) return round_up(bytes, kAlignment);
  return round_up(bytes, bytes >= kLargeBlock ? kLargeStep : size_t{1} << (top_bit(bytes) - 2));
}

size_t Heap::class_of(size_t size) {
  if (size <= 1024) return size / kAlignment - 1;
  const size_t top = top_bit(size);
  return 16 + 4 * (top - 10) + ((size - 1) >> (top - 2)) - 4;
}

void* Heap::take_cached(size_t size) {
  if (size < kLargeBlock) {
    std::vector<void*>& blocks = free_[class_of(size)].blocks;
    if (blocks.empty()) return nullptr;
    void* data = blocks.back();
    blocks.pop_back();
    return data;
  }
  for (size_t i = recent_.size(); i-- > 0;) {
    if (recent_[i].size != size) continue;
    char* data = recent_[i].begin;
    recent_.erase(recent_.begin() + static_cast<ptrdiff_t>(i));
    return data;
  }
  if (!spans_.smallest(size)) merge_recent();
  const Range span = spans_.smallest(size);
  if (span) spans_.remove({span.begin, size});
  return span.begin;
}

void Heap::merge_recent() {
  for (const Range& r : recent_) spans_.insert(r);
  recent_.clear();
}

void* Heap::take_fresh(size_t size) { return size < kLargeBlock ? obtain(size) : take_fresh_large(size); }

bool Heap::add_segment(size_t size) {
  const Range segment{reserve(size), size};
  if (!segment.begin) return false;
  segments_.push_back({segment, nullptr});
  bare_.insert(segment);
  return true;
}

void* Heap::take_fresh_large(size_t size) {
  // A free span is continued where it ends before bare addresses; memory comes in whole huge pages.
  for (;;) {
    for (const auto& [begin, bytes] : bare_.by_place()) {
      const Range before = spans_.ending_at(begin);
      if (before.size + bytes < size) continue;
      const size_t missing = size - std::min(before.size, size);
      const size_t end = std::min(round_up(reinterpret_cast<size_t>(begin) + missing, kHugePage),
                                  reinterpret_cast<size_t>(begin) + bytes);
      const Range fresh{begin, end - reinterpret_cast<size_t>(begin)};
      if (!commit(fresh)) return nullptr;
      bare_.remove(fresh);
      spans_.insert(fresh);
      stats_.cached += fresh.size;
      char* data = before ? before.begin : fresh.begin;
      spans_.remove({data, size});
      stats_.cached -= size;
      return data;
    }
    const size_t least = round_up(size, kHugePage);
    if (!add_segment(std::max(least, kSegment)) && !add_segment(least)) return nullptr;
  }
}

// Gives memory back, the largest pieces first, until at most `most` bytes are cached.
void Heap::shrink_cache(size_t most) {
  merge_recent();
  while (stats_.cached > most) {
    const Range span = spans_.largest();
    if (!span) break;
    decommit(span);
    spans_.remove(span);
    bare_.insert(span);
    stats_.cached -= span.size;
  }
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
  const size_t size = block_size(bytes);
  ++stats_.allocations;
  if (stats_.limit && stats_.live + size > stats_.limit) refuse("the limit would be passed");
  void* data = take_cached(size);
  if (data) {
    stats_.cached -= size;
    ++stats_.cache_hits;
  } else {
    // What is cached counts against the limit too: what the process holds is what the limit is about.
    if (stats_.limit && stats_.live + stats_.cached + size > stats_.limit) shrink_cache(0);
    const size_t live = stats_.live + size, most = std::max(stats_.peak, live) + kSlack;
    if (live + stats_.cached > most) shrink_cache(most - live);
    data = take_fresh(size);
    if (!data) {
      shrink_cache(0);
      data = take_fresh(size);
    }
    if (!data) refuse("the system has no more memory");
  }
  stats_.live += size;
  stats_.peak = std::max(stats_.peak, stats_.live);
  return data;
}

void Heap::release(void* data, size_t bytes) {
  if (!data) return;
  const size_t size = block_size(bytes);
  std::lock_guard<std::mutex> lock(mutex_);
  stats_.live -= size;
  stats_.cached += size;
  if (size > kRecentSize) return spans_.insert({static_cast<char*>(data), size});
  if (size >= kLargeBlock) {
    if (recent_.size() == kRecent) {
      spans_.insert(recent_.front());
      recent_.erase(recent_.begin());
    }
    recent_.push_back({static_cast<char*>(data), size});
    return;
  }
  FreeBlocks& free = free_[class_of(size)];
  free.size = size;
  free.blocks.push_back(data);
}

void Heap::resemble(Heap& other) {
  std::scoped_lock lock(mutex_, other.mutex_);
  stats_ = other.stats_;
  for (size_t i = 0; i < kSizeClasses; ++i) {
    free_[i].size = other.free_[i].size;
    for (size_t n = other.free_[i].blocks.size(); n > 0; --n) free_[i].blocks.push_back(obtain(free_[i].size));
  }
  for (const Segment& s : other.segments_) {
    char* begin = reserve(s.range.size);
    if (!begin) throw MemoryError("[plan] there are not enough addresses");
    segments_.push_back({{begin, s.range.size}, s.range.begin});
  }
  for (const Range& r : other.recent_) recent_.push_back({corresponding(r.begin), r.size});
  for (const auto& [begin, size] : other.spans_.by_place()) spans_.insert({corresponding(begin), size});
  for (const auto& [begin, size] : other.bare_.by_place()) bare_.insert({corresponding(begin), size});
}

char* Heap::corresponding(const void* place) const {
  for (const Segment& s : segments_) {
    const ptrdiff_t offset = static_cast<const char*>(place) - s.model;
    if (s.model && offset >= 0 && static_cast<size_t>(offset) < s.range.size) return s.range.begin + offset;
  }
  return nullptr;
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
