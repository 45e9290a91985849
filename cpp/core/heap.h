// A caching heap: what is freed is kept for reuse, so that an op's output does not pay for fresh pages. Where memory
// comes from is for the subclass to say: the process's heap has some, a plan's heap only addresses (core/plan.h).
//
// Small blocks have a free list for each size. Large ones are cut from spans of pages and merged again when they are
// freed: what activations leave behind serves gradients, whatever their sizes.
#pragma once
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

#include "core/ranges.h"

namespace dl {

struct MemoryStats {
  size_t live = 0;    // bytes in blocks that are in use
  size_t peak = 0;    // the highest `live` since the start or the last reset
  size_t cached = 0;  // bytes that are free and kept for reuse
  size_t limit = 0;   // 0: none
  uint64_t allocations = 0;
  uint64_t cache_hits = 0;
};

constexpr size_t kAlignment = 64;
constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kLargeBlock = size_t{256} << 10;
constexpr size_t kLargeStep = size_t{64} << 10;  // whole pages, on every system

// Bytes of a block for so many: 64-byte steps up to 1 KiB, then quarters of a power of two, so that requests that
// differ a little share blocks and at most 25 % is wasted; multiples of 64 KiB from kLargeBlock on.
size_t block_size(size_t bytes);

class Heap {
 public:
  Heap() = default;
  virtual ~Heap() = default;
  Heap(const Heap&) = delete;

  // Throws MemoryError (what was asked, what is live, what the limit is); nullptr for zero bytes.
  void* allocate(size_t bytes);
  void release(void* data, size_t bytes);

  MemoryStats stats();
  void reset_peak();
  void set_limit(size_t bytes);
  void empty_cache();

 protected:
  // Small blocks; nullptr where there is no more.
  virtual void* obtain(size_t size) = 0;
  virtual void give_back(void* data, size_t size) = 0;
  // Addresses for large ones, aligned to kHugePage and not next to others; nullptr where there are no more.
  virtual char* reserve(size_t size) = 0;
  // Gives addresses memory, takes it back.
  virtual bool commit(Range range) = 0;
  virtual void decommit(Range range) = 0;

  // Becomes like another heap that holds blocks, for a heap that holds none: with as many free blocks of each size, and
  // free spans at the corresponding places of segments of its own.
  void resemble(Heap& other);
  // The place in one of its segments that corresponds to one in a segment of the heap it was made to resemble.
  char* corresponding(const void* place) const;

  std::mutex mutex_;
  MemoryStats stats_;

 private:
  struct FreeBlocks {
    size_t size = 0;
    std::vector<void*> blocks;
  };
  struct Segment {
    Range range;
    char* model;  // begin of the segment that it resembles
  };
  static constexpr size_t kSizeClasses = 48;
  static size_t class_of(size_t size);

  void* take_cached(size_t size);
  void merge_recent();
  void* take_fresh(size_t size);
  void* take_fresh_large(size_t size);
  bool add_segment(size_t size);
  void shrink_cache(size_t most);

  FreeBlocks free_[kSizeClasses];
  std::vector<Segment> segments_;
  // Freed last, not merged yet: another request of just that size finds its data in the caches.
  static constexpr size_t kRecent = 4, kRecentSize = size_t{1} << 20;
  std::vector<Range> recent_;
  Ranges spans_;  // free, with memory
  Ranges bare_;   // free, without
};

}  // namespace dl
