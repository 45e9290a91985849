#include "core/parallel.h"
#include "dispatch/kernel.h"
#include "kernels/machine/machine.h"
#include "simd/vec.h"

namespace dl {
namespace {

// Twelve chains cover latency x throughput of every FMA unit in use (4 cycles x 2 ports, with room).
constexpr int kChains = 12;

int64_t fma_peak(int64_t blocks, int64_t iterations, float* sink) {
  parallel_for(blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const Vec x = broadcast(0.999f), y = broadcast(0.001f);
      Vec a[kChains];
      for (int c = 0; c < kChains; ++c) a[c] = broadcast(1.0f + static_cast<float>(c));
      for (int64_t i = 0; i < iterations; ++i)
        for (int c = 0; c < kChains; ++c) a[c] = fma(a[c], x, y);
      for (int c = 1; c < kChains; ++c) a[0] = a[0] + a[c];
      sink[b] = reduce_add(a[0]);
    }
  });
  return int64_t{2} * Vec::size * kChains * blocks * iterations;
}

DL_REGISTER("fma_peak", fma_peak, fma_peak_fn)

}  // namespace
}  // namespace dl
