// A caching heap: 64-byte-aligned blocks that return to free lists, not to where they came from. Where that is, is for
// the subclass to say: the process's heap has memory, a plan's heap only addresses (core/plan.h).
#pragma once
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

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
// Blocks of at least this size begin at a multiple of it.
constexpr size_t kHugePage = size_t{2} << 20;

// Block sizes are 64-byte steps up to 1 KiB, then quarters of a power of two: at most 25 % is wasted and
// requests that differ a little still share blocks.
struct SizeClass {
  size_t size;
  size_t index;  // consecutive
};
constexpr size_t kSizeClasses = 16 + 4 * 52 + 1;  // up to 2^62 bytes
SizeClass class_of(size_t bytes);

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
  virtual void* obtain(size_t size) = 0;  // nullptr where there is no more
  virtual void give_back(void* data, size_t size) = 0;
  // Takes over the figures of another heap, and obtains as many free blocks as it has of each size.
  void resemble(Heap& other);

  struct FreeBlocks {
    size_t size = 0;
    std::vector<void*> blocks;
  };
  std::mutex mutex_;
  FreeBlocks free_[kSizeClasses];
  MemoryStats stats_;

 private:
  void shrink_cache(size_t most);
};

}  // namespace dl
