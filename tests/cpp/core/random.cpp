#include "core/random.h"

#include <gtest/gtest.h>

#include <set>

namespace dl {
namespace {

// Known answers of Random123 (kat_vectors, philox4x32-10): counter words, key words, result.
TEST(Philox, GivesThePublishedNumbers) {
  const Philox4 zeros = philox(0, 0, 0);
  const uint32_t expected_zeros[4] = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
  const Philox4 ones = philox(~uint64_t{0}, ~uint64_t{0}, ~uint64_t{0});
  const uint32_t expected_ones[4] = {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd};
  const Philox4 pi = philox(0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3243f6a88);
  const uint32_t expected_pi[4] = {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1};
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(zeros.v[i], expected_zeros[i]);
    EXPECT_EQ(ones.v[i], expected_ones[i]);
    EXPECT_EQ(pi.v[i], expected_pi[i]);
  }
}

TEST(Philox, StreamsSeedsAndCountersAllMatter) {
  std::set<uint32_t> seen;
  for (uint64_t seed = 0; seed < 4; ++seed)
    for (uint64_t stream = 0; stream < 4; ++stream)
      for (uint64_t index = 0; index < 4; ++index)
        for (uint32_t word : philox(seed, stream, index).v) seen.insert(word);
  EXPECT_EQ(seen.size(), 256u);
}

}  // namespace
}  // namespace dl
