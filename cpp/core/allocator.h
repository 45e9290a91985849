// The caching allocator under every tensor: the process's heap, so that an op's output does not pay for fresh pages.
// Thread-safe; blocks may be freed on any thread.
#pragma once
#include "core/heap.h"

namespace dl {

Heap& process_heap();

// Throws MemoryError (what was asked, what is live, what the limit is); nullptr for zero bytes.
void* allocate(size_t bytes);
void release(void* data, size_t bytes);

MemoryStats memory_stats();
void reset_peak_memory();
void set_memory_limit(size_t bytes);  // 0 lifts it
void empty_cache();

}  // namespace dl
