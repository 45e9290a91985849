// The caching allocator under every tensor: 64-byte-aligned blocks that return to a free list, not to the system,
// so that an op's output does not pay for fresh pages. Thread-safe; blocks may be freed on any thread.
#pragma once
#include <cstddef>
#include <cstdint>

namespace dl {

struct MemoryStats {
  size_t live = 0;    // bytes in blocks that are in use
  size_t peak = 0;    // the highest `live` since the start or the last reset
  size_t cached = 0;  // bytes in free blocks, kept for reuse
  size_t limit = 0;   // 0: none
  uint64_t allocations = 0;
  uint64_t cache_hits = 0;
};

constexpr size_t kAlignment = 64;

// Throws MemoryError (what was asked, what is live, what the limit is); nullptr for zero bytes.
void* allocate(size_t bytes);
void release(void* data, size_t bytes);

MemoryStats memory_stats();
void reset_peak_memory();
void set_memory_limit(size_t bytes);  // 0 lifts it
void empty_cache();

}  // namespace dl
