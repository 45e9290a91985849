#include "core/allocator.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include "core/check.h"

namespace dl {
namespace {

// Free bytes that a live block keeps from growing at their end.
struct FreeSpan {
  void* behind;
  explicit FreeSpan(size_t bytes) {
    void* data = allocate(bytes);
    behind = allocate(kHugePage);
    release(data, bytes);
  }
  ~FreeSpan() { release(behind, kHugePage); }
};

TEST(Allocator, AlignsEveryBlock) {
  for (size_t bytes : {size_t{1}, size_t{63}, size_t{64}, size_t{65}, size_t{1000}, size_t{100000}, size_t{20} << 20}) {
    void* p = allocate(bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(p) % kAlignment, 0u) << bytes;
    std::memset(p, 1, bytes);
    release(p, bytes);
  }
}

TEST(Allocator, GivesNothingForNothing) {
  const MemoryStats before = memory_stats();
  EXPECT_EQ(allocate(0), nullptr);
  release(nullptr, 0);
  EXPECT_EQ(memory_stats().live, before.live);
}

TEST(Allocator, ReusesAFreedBlockOfASimilarSize) {
  void* first = allocate(100000);
  release(first, 100000);
  const uint64_t hits = memory_stats().cache_hits;
  void* second = allocate(99000);
  EXPECT_EQ(second, first);
  EXPECT_EQ(memory_stats().cache_hits, hits + 1);
  release(second, 99000);
}

TEST(Allocator, CountsWhatIsLiveAndCached) {
  empty_cache();
  const MemoryStats before = memory_stats();
  EXPECT_EQ(before.cached, 0u);
  reset_peak_memory();
  void* small = allocate(size_t{1} << 17);
  release(small, size_t{1} << 17);
  EXPECT_EQ(memory_stats().cached, size_t{1} << 17);
  void* p = allocate(size_t{5} << 20);
  EXPECT_EQ(memory_stats().live, before.live + (size_t{5} << 20));
  release(p, size_t{5} << 20);
  const MemoryStats after = memory_stats();
  EXPECT_EQ(after.live, before.live);
  EXPECT_EQ(after.peak, before.live + (size_t{5} << 20));
  EXPECT_GE(after.cached, (size_t{5} << 20) + (size_t{1} << 17));
  EXPECT_LT(after.cached, (size_t{9} << 20));  // memory comes in huge pages
  empty_cache();
  EXPECT_EQ(memory_stats().cached, 0u);
}

TEST(Allocator, WastesAtMostAnEighth) {
  // Up to 1 KiB in steps of 64 bytes, then at most 12.5 % (a quarter of the power of two below the size).
  for (size_t bytes = 1; bytes < (size_t{1} << 22); bytes = bytes * 17 / 16 + 1) {
    const size_t before = memory_stats().live;
    void* p = allocate(bytes);
    const size_t taken = memory_stats().live - before;
    EXPECT_GE(taken, bytes);
    EXPECT_LE(taken, bytes <= 1024 ? bytes + 63 : bytes + bytes / 4) << bytes;
    release(p, bytes);
  }
}

TEST(Allocator, RefusesAboveTheLimitAndSaysWhy) {
  const size_t live = memory_stats().live;
  set_memory_limit(live + (size_t{1} << 20));
  try {
    allocate(size_t{2} << 20);
    FAIL() << "expected MemoryError";
  } catch (const MemoryError& e) {
    const std::string text = e.what();
    EXPECT_NE(text.find("2097152 bytes (2 MiB)"), std::string::npos) << text;
    EXPECT_NE(text.find("live"), std::string::npos) << text;
    EXPECT_NE(text.find("limit"), std::string::npos) << text;
  }
  void* p = allocate(size_t{1} << 19);  // what fits still works
  release(p, size_t{1} << 19);
  set_memory_limit(0);
}

TEST(Allocator, TheLimitIsForWhatIsHeldNotOnlyForWhatIsLive) {
  empty_cache();
  const FreeSpan free(size_t{8} << 20);
  set_memory_limit(memory_stats().live + (size_t{11} << 20));
  void* p = allocate(size_t{9} << 20);  // the cached 8 MiB must go first
  EXPECT_LT(memory_stats().cached, 2 * kHugePage);
  release(p, size_t{9} << 20);
  set_memory_limit(0);
}

TEST(Allocator, TheCacheMakesTheProcessHardlyLargerThanItHadToBe) {
  empty_cache();
  reset_peak_memory();
  constexpr size_t kGiB = size_t{1} << 30;  // never touched: address space alone
  {
    const FreeSpan free(3 * kGiB);
    EXPECT_GE(memory_stats().cached, 3 * kGiB);
    void* p = allocate(4 * kGiB);  // with the cached span that would be 3 GiB over the peak
    EXPECT_LT(memory_stats().cached, 2 * kHugePage);
    release(p, 4 * kGiB);
    void* q = allocate(kGiB);
    EXPECT_GE(memory_stats().cached, 3 * kGiB);
    release(q, kGiB);
  }
  empty_cache();
  EXPECT_EQ(memory_stats().cached, 0u);
}

TEST(Allocator, WhatSeveralBlocksLeaveServesALargerOne) {
  empty_cache();
  constexpr size_t kMiB = size_t{1} << 20;
  std::vector<void*> blocks;
  for (int i = 0; i < 8; ++i) blocks.push_back(allocate(3 * kMiB + 1000));
  void* const behind = allocate(2 * kMiB);
  for (void* p : blocks) release(p, 3 * kMiB + 1000);
  const uint64_t hits = memory_stats().cache_hits;
  void* p = allocate(24 * kMiB);
  EXPECT_EQ(p, blocks.front());
  EXPECT_EQ(memory_stats().cache_hits, hits + 1);
  std::memset(p, 1, 24 * kMiB);
  release(p, 24 * kMiB);
  release(behind, 2 * kMiB);
}

TEST(Allocator, AFreeSpanAtTheEndIsContinued) {
  empty_cache();
  constexpr size_t kMiB = size_t{1} << 20;
  void* p = allocate(20 * kMiB);
  release(p, 20 * kMiB);
  void* q = allocate(30 * kMiB);
  EXPECT_EQ(q, p);
  EXPECT_LT(memory_stats().cached, 2 * kHugePage);
  std::memset(q, 1, 30 * kMiB);
  release(q, 30 * kMiB);
}

TEST(Allocator, MemoryGivenBackIsUsedAgain) {
  constexpr size_t kMiB = size_t{1} << 20;
  empty_cache();
  void* p = allocate(20 * kMiB);
  std::memset(p, 1, 20 * kMiB);
  release(p, 20 * kMiB);
  empty_cache();
  auto* q = static_cast<unsigned char*>(allocate(20 * kMiB));
  EXPECT_EQ(q, p);
  EXPECT_EQ(q[12345678], 0);  // fresh pages
  release(q, 20 * kMiB);
}

TEST(Allocator, RefusesASizeBeyondTheAddressSpace) {
  EXPECT_THROW(allocate((size_t{1} << 62) + 1), MemoryError);
  EXPECT_THROW(allocate(size_t{1} << 61), MemoryError);
}

TEST(Allocator, ServesManyThreads) {
  const size_t live = memory_stats().live;
  std::vector<std::thread> threads;
  for (unsigned seed = 0; seed < 8; ++seed)
    threads.emplace_back([seed] {
      std::mt19937 random(seed);
      std::vector<std::pair<unsigned char*, size_t>> held;
      for (int i = 0; i < 3000; ++i) {
        if (held.size() < 20 && random() % 2) {
          const size_t bytes = 1 + random() % 5000;
          auto* p = static_cast<unsigned char*>(allocate(bytes));
          p[0] = p[bytes - 1] = static_cast<unsigned char>(seed);
          held.emplace_back(p, bytes);
        } else if (!held.empty()) {
          const auto [p, bytes] = held.back();
          EXPECT_EQ(p[0], seed);
          EXPECT_EQ(p[bytes - 1], seed);
          release(p, bytes);
          held.pop_back();
        }
      }
      for (auto [p, bytes] : held) release(p, bytes);
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(memory_stats().live, live);
}

}  // namespace
}  // namespace dl
