#include "core/parallel.h"
#include "dispatch/kernel.h"
#include "kernels/machine/machine.h"

namespace dl {
namespace {

int64_t fma_peak(int64_t blocks, int64_t iterations, float* sink) {
  parallel_for(blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      float a = 1.0f;
      for (int64_t i = 0; i < iterations; ++i) a = a * 0.999f + 0.001f;
      sink[b] = a;
    }
  });
  return 2 * blocks * iterations;
}

DL_REGISTER("fma_peak", fma_peak, fma_peak_fn)

}  // namespace
}  // namespace dl
