// Work in steps that follow one another, each cut over the threads of the pool: for recurrences, whose steps are too
// short to wake the pool for each.
#pragma once
#include <cstdint>

namespace dl {

using StepFn = void (*)(void* context, int64_t step, int64_t begin, int64_t end);

// Runs fn over [0, n) for each step in [0, steps), all of a step before any of the next. [0, n) is cut into ranges of
// `grain` items or more, a range to a thread for as long as that thread keeps up, so that what a range reads stays in
// one core's cache. How it is cut depends on the number of threads: the result of an item must not depend on what else
// is in its range. Ctrl-C skips what remains, as in parallel_for; a nested call runs on the calling thread.
void parallel_steps(int64_t steps, int64_t n, int64_t grain, StepFn fn, void* context);

// As above for a callable body(step, begin, end). `static`: per-ISA objects must not share an instantiation.
template <class Body> static inline void parallel_steps(int64_t steps, int64_t n, int64_t grain, const Body& body) {
  parallel_steps(
      steps, n, grain,
      [](void* context, int64_t step, int64_t begin, int64_t end) {
        (*static_cast<const Body*>(context))(step, begin, end);
      },
      const_cast<Body*>(&body));
}

}  // namespace dl
