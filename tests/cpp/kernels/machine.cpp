#include "kernels/machine/machine.h"

#include "kernel_test.h"

namespace dl::test {
namespace {

// Every chain approaches the fixed point 0.001 / (1 - 0.999) = 1, so each block's sum is the number of chains times
// lanes: a loop that the compiler had dropped, or run on fewer lanes than it counts, would not add up.
TEST(Machine, FmaPeakCountsWhatItDoes) {
  for_each_version<fma_peak_fn>("fma_peak", [](fma_peak_fn kernel, fma_peak_fn) {
    constexpr int64_t kBlocks = 5, kIterations = 40000;
    GuardedBuffer<float> sink(kBlocks, 1);
    const int64_t flops = kernel(kBlocks, kIterations, sink.data());
    for (float s : sink) EXPECT_NEAR(s, static_cast<double>(flops) / (2 * kBlocks * kIterations), 1e-3 * s);
  });
}

}  // namespace
}  // namespace dl::test
