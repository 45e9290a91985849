// Philox 4x32-10 (Salmon et al., SC 2011): counter-based, so element i of a stream is the same on any thread or device.
// constexpr: CUDA kernels call it too.
#pragma once
#include <cstdint>

namespace dl {

struct Philox4 { uint32_t v[4]; };

// Four words for one 128-bit counter: `index` counts blocks of four inside a call, `stream` counts calls.
static constexpr Philox4 philox(uint64_t seed, uint64_t stream, uint64_t index) {
  uint32_t c0 = static_cast<uint32_t>(index), c1 = static_cast<uint32_t>(index >> 32);
  uint32_t c2 = static_cast<uint32_t>(stream), c3 = static_cast<uint32_t>(stream >> 32);
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53u} * c0, p1 = uint64_t{0xCD9E8D57u} * c2;
    c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
    c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<uint32_t>(p1);
    c3 = static_cast<uint32_t>(p0);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// The word of element i of a call (kernels/random/random.h says why in this order), and the 64-bit draw of element i.
static constexpr uint32_t random_word(uint64_t seed, uint64_t stream, int64_t i) {
  return philox(seed, stream, static_cast<uint64_t>(i / 64 * 16 + i % 16)).v[i % 64 / 16];
}
static constexpr uint64_t random_pair(uint64_t seed, uint64_t stream, int64_t i) {
  const Philox4 block = philox(seed, stream, static_cast<uint64_t>(i / 32 * 16 + i % 16));
  const int64_t k = i % 32 / 16 * 2;
  return uint64_t{block.v[k]} << 32 | block.v[k + 1];
}

// Words below it, a share p of all, are dropped.
static inline uint32_t dropout_threshold(double p) {
  const double words = p * 0x1p32 + 0.5;
  return words >= 0x1p32 ? 0xffffffffu : static_cast<uint32_t>(words);
}

}  // namespace dl
