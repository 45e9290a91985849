// What tests/cpp/simd/probe.cpp registers for each instruction set: the checks of Vec, which need its own compiler
// flags.
#pragma once

namespace dl {

// Returns how many checks failed and describes the first of them.
using simd_probe_fn = int (*)(char* message, int capacity);

}  // namespace dl
