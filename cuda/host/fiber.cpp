#include "fiber.h"

#if defined(__x86_64__)
// The registers that a callee must preserve go onto the stack that is left.
asm(R"(
.text
.local dl_emulator_switch
.type dl_emulator_switch,@function
dl_emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq (%rsi), %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size dl_emulator_switch,.-dl_emulator_switch
)");
extern "C" void dl_emulator_switch(void** save, void** load) __attribute__((visibility("hidden")));

namespace dl {
namespace emulator {

void prepare(Fiber& to, char* stack, size_t bytes, void (*entry)()) {
  auto** top = reinterpret_cast<void**>(stack + bytes - 64);  // aligned as after a call
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(entry);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  to.stack_pointer = top;
}
void switch_fiber(Fiber& from, Fiber& to) { dl_emulator_switch(&from.stack_pointer, &to.stack_pointer); }

}  // namespace emulator
}  // namespace dl
#else
namespace dl {
namespace emulator {

void prepare(Fiber& to, char* stack, size_t bytes, void (*entry)()) {
  getcontext(&to.context);
  to.context.uc_stack.ss_sp = stack;
  to.context.uc_stack.ss_size = bytes;
  to.context.uc_link = nullptr;
  makecontext(&to.context, entry, 0);
}
void switch_fiber(Fiber& from, Fiber& to) { swapcontext(&from.context, &to.context); }

}  // namespace emulator
}  // namespace dl
#endif
