// One thread pool for every kernel. Work is cut into blocks that depend on the shape alone; which thread runs a
// block is left open, so a block must write only its own outputs and results are the same bits for any thread count.
#pragma once
#include <cstddef>
#include <cstdint>

namespace dl {

using BlockFn = void (*)(void* context, int64_t begin, int64_t end);

// Runs fn over [0, n) in blocks of `grain` (the last may be shorter). Nested calls run on the calling thread.
void parallel_for(int64_t n, int64_t grain, BlockFn fn, void* context);

// As above for a callable body(begin, end). `static`: per-ISA objects must not share an instantiation.
template <class Body> static inline void parallel_for(int64_t n, int64_t grain, const Body& body) {
  if (n <= grain) {
    if (n > 0) body(int64_t{0}, n);
    return;
  }
  parallel_for(
      n, grain, [](void* context, int64_t begin, int64_t end) { (*static_cast<const Body*>(context))(begin, end); },
      const_cast<Body*>(&body));
}

// Scratch memory of the calling thread, 64-byte aligned, kept between calls; at most kMaxScratch bytes.
// A kernel may hold it for the duration of one block only.
constexpr size_t kMaxScratch = size_t{16} << 20;
void* thread_scratch();

int num_threads();
void set_num_threads(int n);  // n >= 1
int available_cores();        // affinity mask and cgroup quota taken into account

// Ctrl-C: `poll` is called on the thread that entered parallel_for, every ~50 ms; when it returns true the
// remaining blocks of the call are skipped and take_cancelled() reports it once.
void set_interrupt_poll(bool (*poll)());
bool take_cancelled();

}  // namespace dl
