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
    void* data = nullptr;
    return posix_memalign(&data, kAlignment, size) == 0 ? data : nullptr;
  }
  void give_back(void* data, size_t) override { std::free(data); }

  char* reserve(size_t size) override {
    void* data = mmap(nullptr, size + kHugePage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) return nullptr;
    return static_cast<char*>(data) + (kHugePage - reinterpret_cast<size_t>(data) % kHugePage);
  }
  // Fresh addresses count as memory from here on, so that the system can refuse them.
  bool commit(Range range) override {
    if (mprotect(range.begin, range.size, PROT_READ | PROT_WRITE) != 0) return false;
#if defined(MADV_HUGEPAGE)
    madvise(range.begin, range.size, MADV_HUGEPAGE);
#endif
    return true;
  }
  void decommit(Range range) override { madvise(range.begin, range.size, MADV_DONTNEED); }
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
