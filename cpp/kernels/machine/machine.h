// What the machine can do at most, measured with the instruction set in use: the yardstick for every share of the peak.
#pragma once
#include <cstdint>

namespace dl {

// Runs `iterations` rounds of independent fused multiply-adds in registers on each of `blocks` blocks of work.
// Returns the floating-point operations done (two per lane and FMA); `sink` gets a value that depends on all of them.
using fma_peak_fn = int64_t (*)(int64_t blocks, int64_t iterations, float* sink);

}  // namespace dl
