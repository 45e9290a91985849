// What this CPU (and its operating system, through XCR0) can run. __builtin_cpu_supports checks both.
#include "dispatch/kernel.h"

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace dl {
namespace {

#if defined(__x86_64__)
bool has_tile_unit() {
  unsigned a, b, c, d;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  constexpr unsigned bf16 = 1u << 22, tile = 1u << 24;
  return (d & (bf16 | tile)) == (bf16 | tile);
}

// The kernel hands out the tile registers' 8 KiB of state to a process that asks, once for all its threads.
bool may_use_tiles() {
#if defined(__linux__)
  constexpr long request_permission = 0x1023, tile_data = 18;
  static const bool granted = syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
  return granted;
#else
  return false;
#endif
}
#endif

}  // namespace

bool cpu_supports(Target target) {
  switch (target) {
    case Target::reference:
    case Target::baseline: return true;
#if defined(__x86_64__)
    case Target::avx2: return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case Target::avx512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && cpu_supports(Target::avx2);
    case Target::avx512_bf16: return __builtin_cpu_supports("avx512bf16") && cpu_supports(Target::avx512);
    case Target::amx: return cpu_supports(Target::avx512_bf16) && has_tile_unit() && may_use_tiles();
#endif
    default: return false;
  }
}

bool cpu_gains_by(Target target) {
#if defined(__x86_64__)
  // Intel's vdpbf16ps does half as many products a cycle as two widened FMAs; AMD's does twice as many.
  if (target == Target::avx512_bf16) return __builtin_cpu_is("amd");
#endif
  return true;
}

}  // namespace dl
