// A stack of its own for each CUDA thread, and the switch between them.
#pragma once
#include <cstddef>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace dl {
namespace emulator {

#if defined(__x86_64__)
struct Fiber { void* stack_pointer; };
#else
struct Fiber { ucontext_t context; };
#endif

// Lets `to` begin at entry() on the given stack when it is first switched to; entry() must not return.
void prepare(Fiber& to, char* stack, size_t bytes, void (*entry)());
void switch_fiber(Fiber& from, Fiber& to);

}  // namespace emulator
}  // namespace dl
