// Dry runs: while a thread plans, its tensors come from a heap that has addresses but no memory, and kernels are not
// called. What is allocated and freed is what a real run would allocate and free, so its memory is known beforehand.
#pragma once
#include <atomic>
#include <memory>
#include <unordered_map>
#include <vector>

#include "core/heap.h"

namespace dl {

struct Storage;

// Hands out addresses that read as zeros and take up nothing until they are written.
class PlannedHeap final : public Heap {
 public:
  ~PlannedHeap() override;
  // Begins with what `real` holds: its live bytes and what is free in it.
  void start(Heap& real);
  // Up to kSmall bytes are cleared: that much may be written outside of kernels, such as a scalar.
  static constexpr size_t kSmall = 4096;
  void* allocate(size_t bytes);
  // Takes the place of a live block of the real heap, which is as good as freed when this one is released.
  void* stand_in(void* real, size_t bytes);

  struct Figures {
    size_t live, peak;             // bytes in blocks in use, those of the real heap included: now, and at most
    int64_t growth, peak_growth;   // of the memory that heaps hold, since the start
    uint64_t moment, peak_moment;  // allocations so far, and at the last `peak`
  };
  Figures figures();
  // Bytes of the block at an address, or 0 where it was taken only after the highest `live`.
  size_t size_at_peak(void* data, size_t bytes);

 private:
  void* obtain(size_t size) override;
  void give_back(void* data, size_t size) override;
  char* reserve(size_t size) override;
  bool commit(Range range) override;
  void decommit(Range range) override;
  void grow(size_t bytes);

  std::vector<Range> mappings_;
  Range small_;                                // of the last mapping, what small blocks have not used
  std::unordered_map<void*, uint64_t> since_;  // the moment of each block
  Figures figures_{};
};

// The plan that a thread makes.
struct Planning {
  std::shared_ptr<PlannedHeap> heap;
  std::vector<std::shared_ptr<Storage>> written;  // storages of real tensors, once for each write that was left out
};

extern std::atomic<int> plans;  // being made on any thread
Planning* this_threads_plan();  // or nullptr
inline bool planning() { return plans.load(std::memory_order_relaxed) != 0 && this_threads_plan(); }

void begin_plan(std::shared_ptr<PlannedHeap> heap);  // std::logic_error where this thread makes one already
void end_plan();                                     // storages that were not really written get their versions back

}  // namespace dl
