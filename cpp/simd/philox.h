// Philox 4x32-10 (core/random.h) on as many blocks at once as Vec has lanes: the same words, block by block.
#pragma once
#include "simd/vec.h"

namespace dl {
namespace {

// Lane l holds the four words of block index + l. `index` is a multiple of Vec::size, so no lane carries past 32 bits.
struct PhiloxLanes { VecI v[4]; };

DL_INLINE PhiloxLanes philox_lanes(uint64_t seed, uint64_t stream, uint64_t index) {
  VecI c0 = broadcast_bits(static_cast<uint32_t>(index)) + iota();
  VecI c1 = broadcast_bits(static_cast<uint32_t>(index >> 32));
  VecI c2 = broadcast_bits(static_cast<uint32_t>(stream)), c3 = broadcast_bits(static_cast<uint32_t>(stream >> 32));
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
  const VecI m0 = broadcast_bits(0xD2511F53u), m1 = broadcast_bits(0xCD9E8D57u);
  for (int round = 0; round < 10; ++round) {
    const WideProduct p0 = mul_wide_u32(m0, c0), p1 = mul_wide_u32(m1, c2);
    c0 = p1.hi ^ c1 ^ broadcast_bits(k0);
    c2 = p0.hi ^ c3 ^ broadcast_bits(k1);
    c1 = p1.lo;
    c3 = p0.lo;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// Lanes where a word, taken as unsigned, is at least `threshold`.
DL_INLINE Mask at_least_u32(VecI words, uint32_t threshold) {
  const VecI sign = broadcast_bits(0x80000000u);
  return !gt(broadcast_bits(threshold ^ 0x80000000u), words ^ sign);
}

}  // namespace
}  // namespace dl
