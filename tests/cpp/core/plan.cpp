#include "core/plan.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <thread>

#include "core/allocator.h"
#include "core/check.h"
#include "core/tensor.h"

namespace dl {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

class Plan : public ::testing::Test {
 protected:
  void SetUp() override {
    empty_cache();
    heap->start(process_heap());
    begin_plan(heap);
  }
  void TearDown() override {
    if (planning()) end_plan();
  }
  std::shared_ptr<PlannedHeap> heap = std::make_shared<PlannedHeap>();
};

TEST_F(Plan, TakesNothingFromTheProcessHeap) {
  const MemoryStats before = memory_stats();
  // 256 GiB: more than there is, and not more addresses than a sanitizer leaves.
  const Tensor x = Tensor::zeros({int64_t{1} << 36}, DType::float32);
  EXPECT_EQ(x.data<float>()[int64_t{1} << 35], 0.0f);
  EXPECT_EQ(memory_stats().allocations, before.allocations);
  EXPECT_EQ(memory_stats().live, before.live);
}

TEST_F(Plan, CountsAsTheProcessHeapDoes) {
  const auto run = [] {
    Tensor kept = Tensor::empty({300000}, DType::float32);
    for (int64_t n : {1000, 70000, 5000000, 70001, 3}) kept = Tensor::empty({n}, DType::float64);
  };
  run();
  const PlannedHeap::Figures planned = heap->figures();
  end_plan();
  const size_t before = memory_stats().live;
  reset_peak_memory();
  run();
  EXPECT_EQ(planned.peak, memory_stats().peak);
  EXPECT_EQ(planned.live, before);
}

TEST_F(Plan, CountsTheMemoryThatTheHeapWouldHold) {
  constexpr int64_t two_huge = 2 * static_cast<int64_t>(kHugePage);
  { const Tensor x = Tensor::empty({5 * int64_t{kMiB} / 2}, DType::uint8); }
  const int64_t first = heap->figures().growth;
  EXPECT_GE(first, static_cast<int64_t>(5 * kMiB / 2));
  EXPECT_LE(first, static_cast<int64_t>(5 * kMiB / 2) + two_huge);
  { const Tensor x = Tensor::empty({5 * int64_t{kMiB} / 2 - 5000}, DType::uint8); }
  EXPECT_EQ(heap->figures().growth, first);                                // the same block
  { const Tensor x = Tensor::empty({65 * int64_t{kMiB}}, DType::uint8); }  // continues the free span
  EXPECT_GE(heap->figures().growth, static_cast<int64_t>(65 * kMiB));
  EXPECT_LE(heap->figures().growth, static_cast<int64_t>(65 * kMiB) + two_huge);
  EXPECT_EQ(heap->figures().peak_growth, heap->figures().growth);
}

TEST_F(Plan, BeginsWithFreeBlocks) {
  end_plan();
  release(allocate(8 * kMiB), 8 * kMiB);
  const auto other = std::make_shared<PlannedHeap>();
  other->start(process_heap());
  begin_plan(other);
  const Tensor x = Tensor::empty({8 * int64_t{kMiB}}, DType::uint8);
  EXPECT_EQ(other->figures().growth, 0);
  const Tensor y = Tensor::empty({8 * int64_t{kMiB}}, DType::uint8);
  EXPECT_GE(other->figures().growth, static_cast<int64_t>(4 * kMiB));
  EXPECT_LE(other->figures().growth, static_cast<int64_t>(12 * kMiB));
}

TEST_F(Plan, StandsInForABlockOfTheProcess) {
  end_plan();
  void* const real = allocate(8 * kMiB);
  void* const behind = allocate(kMiB);
  const auto other = std::make_shared<PlannedHeap>();
  other->start(process_heap());
  begin_plan(other);
  void* const data = other->stand_in(real, 8 * kMiB);
  const size_t live = other->figures().live;
  other->release(data, 8 * kMiB);
  EXPECT_EQ(other->figures().live, live - 8 * kMiB);
  const Tensor x = Tensor::empty({8 * int64_t{kMiB}}, DType::uint8);
  EXPECT_EQ(x.storage()->data, data);
  EXPECT_EQ(other->figures().growth, 0);
  release(real, 8 * kMiB);
  release(behind, kMiB);
}

TEST_F(Plan, KnowsWhatWasThereAtThePeak) {
  const Tensor early = Tensor::empty({1000}, DType::uint8);
  { const Tensor large = Tensor::empty({int64_t{kMiB}}, DType::uint8); }
  const Tensor late = Tensor::empty({1000}, DType::uint8);
  const auto size = [&](const Tensor& t) { return heap->size_at_peak(t.storage()->data, t.storage()->bytes); };
  EXPECT_EQ(size(early), block_size(1000));
  EXPECT_EQ(size(late), 0u);
}

TEST_F(Plan, ClearsSmallBlocks) {
  {
    const Tensor x = Tensor::empty({}, DType::int64);
    *x.data<int64_t>() = 7;
  }
  const Tensor y = Tensor::empty({}, DType::int64);
  EXPECT_EQ(*y.data<int64_t>(), 0);
}

TEST_F(Plan, ItsBlocksMayOutliveIt) {
  Tensor x = Tensor::empty({100}, DType::float32);
  end_plan();
  heap.reset();
  x.data<float>()[99] = 1;
  const size_t live = memory_stats().live;
  x = {};
  EXPECT_EQ(memory_stats().live, live);
}

TEST_F(Plan, IsOneThreads) {
  std::thread([] {
    EXPECT_FALSE(planning());
    EXPECT_FALSE(Tensor::empty({1}, DType::float32).storage()->heap);
  }).join();
  EXPECT_TRUE(planning());
  EXPECT_THROW(begin_plan(std::make_shared<PlannedHeap>()), std::logic_error);
}

TEST_F(Plan, RefusesWhatNoAddressSpaceHolds) {
  EXPECT_THROW(Tensor::empty({int64_t{1} << 55}, DType::uint8), MemoryError);
}

}  // namespace
}  // namespace dl
