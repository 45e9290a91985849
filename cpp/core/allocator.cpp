#include "core/allocator.h"

#include <pthread.h>
#include <sys/mman.h>

#include <cstdlib>

namespace dl {
namespace {

class ProcessHeap final : public Heap {
 public:
  void lock() { mutex_.lock(); }
  void unlock() { mutex_.unlock(); }

 private:
  void* obtain(size_t size) override {
    const size_t alignment = size >= kHugePage ? kHugePage : kAlignment;
    void* data = nullptr;
    if (posix_memalign(&data, alignment, size) != 0) return nullptr;
#if defined(MADV_HUGEPAGE)
    if (size >= kHugePage) madvise(data, size, MADV_HUGEPAGE);
#endif
    return data;
  }
  void give_back(void* data, size_t) override { std::free(data); }
};

// Never destroyed: tensors may outlive static destruction.
ProcessHeap& heap() {
  static ProcessHeap* const h = [] {
    auto* made = new ProcessHeap;
    pthread_atfork([] { heap().lock(); }, [] { heap().unlock(); }, [] { heap().unlock(); });
    return made;
  }();
  return *h;
}

}  // namespace

Heap& process_heap() { return heap(); }

void* allocate(size_t bytes) { return heap().allocate(bytes); }
void release(void* data, size_t bytes) { heap().release(data, bytes); }

MemoryStats memory_stats() { return heap().stats(); }
void reset_peak_memory() { heap().reset_peak(); }
void set_memory_limit(size_t bytes) { heap().set_limit(bytes); }
void empty_cache() { heap().empty_cache(); }

}  // namespace dl
