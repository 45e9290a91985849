// What this CPU (and its operating system, through XCR0) can run. __builtin_cpu_supports checks both.
#include "dispatch/kernel.h"

namespace dl {

bool cpu_supports(Target target) {
  switch (target) {
    case Target::reference:
    case Target::baseline: return true;
#if defined(__x86_64__)
    case Target::avx2: return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case Target::avx512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && cpu_supports(Target::avx2);
#endif
    default: return false;
  }
}

}  // namespace dl
