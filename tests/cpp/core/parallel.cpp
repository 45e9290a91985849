#include "core/parallel.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "core/check.h"
#include "core/steps.h"

namespace dl {
namespace {

class Parallel : public ::testing::Test {
 protected:
  void SetUp() override { set_num_threads(4); }
  void TearDown() override { set_num_threads(available_cores()); }
};

// Every index is visited exactly once, in blocks that start at multiples of the grain.
void expect_covers(int64_t n, int64_t grain) {
  std::vector<std::atomic<int>> visits(static_cast<size_t>(n));
  parallel_for(n, grain, [&](int64_t begin, int64_t end) {
    EXPECT_EQ(begin % grain, 0);
    EXPECT_LE(end - begin, grain);
    for (int64_t i = begin; i < end; ++i) ++visits[i];
  });
  for (int64_t i = 0; i < n; ++i) ASSERT_EQ(visits[i], 1) << "index " << i << " of " << n << " in blocks of " << grain;
}

TEST_F(Parallel, VisitsEveryIndexOnce) {
  for (int64_t n : {0, 1, 2, 7, 64, 1000, 4099})
    for (int64_t grain : {1, 3, 64, 5000}) expect_covers(n, grain);
}

TEST_F(Parallel, BlocksDoNotDependOnTheNumberOfThreads) {
  auto blocks = [](int threads) {
    set_num_threads(threads);
    std::mutex mutex;
    std::set<std::pair<int64_t, int64_t>> seen;
    parallel_for(1003, 10, [&](int64_t begin, int64_t end) {
      std::lock_guard<std::mutex> lock(mutex);
      seen.insert({begin, end});
    });
    return seen;
  };
  const auto one = blocks(1);
  EXPECT_EQ(one.size(), 101u);
  EXPECT_EQ(one, blocks(2));
  EXPECT_EQ(one, blocks(5));
}

TEST_F(Parallel, ANestedCallStaysOnItsThread) {
  std::atomic<int> inner{0};
  std::atomic<bool> moved{false};
  parallel_for(16, 1, [&](int64_t, int64_t) {
    const auto here = std::this_thread::get_id();
    parallel_for(100, 10, [&](int64_t begin, int64_t end) {
      inner += static_cast<int>(end - begin);
      if (std::this_thread::get_id() != here) moved = true;
    });
  });
  EXPECT_EQ(inner, 1600);
  EXPECT_FALSE(moved);
}

TEST_F(Parallel, SeveralCallersAtATime) {
  std::vector<std::thread> callers;
  std::atomic<int64_t> total{0};
  for (int c = 0; c < 6; ++c)
    callers.emplace_back([&] {
      for (int round = 0; round < 200; ++round)
        parallel_for(1000, 50, [&](int64_t begin, int64_t end) { total += end - begin; });
    });
  for (auto& t : callers) t.join();
  EXPECT_EQ(total, 6 * 200 * 1000);
}

TEST_F(Parallel, ThreadsCanBeChangedWhileOthersCompute) {
  std::atomic<bool> stop{false};
  std::atomic<int64_t> wrong{0};
  std::thread worker([&] {
    while (!stop) {
      std::atomic<int64_t> sum{0};
      parallel_for(500, 10, [&](int64_t begin, int64_t end) { sum += end - begin; });
      wrong += sum != 500;
    }
  });
  for (int i = 0; i < 50; ++i) set_num_threads(1 + i % 5);
  stop = true;
  worker.join();
  EXPECT_EQ(wrong, 0);
}

TEST_F(Parallel, RefusesASenselessNumberOfThreads) {
  for (int n : {0, -1, 1025}) EXPECT_THROW(set_num_threads(n), ValueError);
  set_num_threads(3);
  EXPECT_EQ(num_threads(), 3);
}

TEST_F(Parallel, WorksInTheChildOfAFork) {
  expect_covers(1000, 10);  // the parent's pool exists
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    std::atomic<int64_t> sum{0};
    parallel_for(1000, 10, [&](int64_t begin, int64_t end) { sum += end - begin; });
    set_num_threads(2);
    parallel_for(1000, 10, [&](int64_t begin, int64_t end) { sum += end - begin; });
    _exit(sum == 2000 ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "status " << status;
  expect_covers(1000, 10);  // the parent goes on
}

TEST_F(Parallel, ForksWhileTheWorkersAreBusy) {
  std::atomic<bool> stop{false};
  std::thread busy([&] {
    while (!stop)
      parallel_for(64, 1, [](int64_t, int64_t) { std::this_thread::sleep_for(std::chrono::microseconds(50)); });
  });
  for (int i = 0; i < 10; ++i) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      std::atomic<int64_t> sum{0};
      parallel_for(1000, 10, [&](int64_t begin, int64_t end) { sum += end - begin; });
      _exit(sum == 1000 ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "status " << status;
  }
  stop = true;
  busy.join();
}

TEST_F(Parallel, AnInterruptSkipsTheRemainingBlocks) {
  static std::atomic<bool> asked;
  asked = false;
  set_interrupt_poll([] { return asked.exchange(true) == false; });
  std::atomic<int> blocks{0};
  const auto start = std::chrono::steady_clock::now();
  parallel_for(1000, 1, [&](int64_t, int64_t) {
    ++blocks;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  });
  set_interrupt_poll(nullptr);
  EXPECT_TRUE(take_cancelled());
  EXPECT_FALSE(take_cancelled()) << "reported once";
  EXPECT_LT(blocks, 1000);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(2));
  expect_covers(1000, 10);
}

// Every item of every step once, and none before all of the step before: each adds up what its neighbours left.
void expect_steps(int64_t steps, int64_t n, int64_t grain) {
  std::vector<int64_t> value(static_cast<size_t>(2 * n), 1);
  std::atomic<int64_t> visits{0};
  parallel_steps(steps, n, grain, [&](int64_t step, int64_t begin, int64_t end) {
    const int64_t *from = value.data() + step % 2 * n, left = n - 1;
    int64_t* to = value.data() + (step + 1) % 2 * n;
    for (int64_t i = begin; i < end; ++i) to[i] = (from[i] + from[(i + left) % n] + from[(i + 1) % n]) % 1000003;
    visits += end - begin;
  });
  EXPECT_EQ(visits, steps * n);
  int64_t expected = 1;
  for (int64_t s = 0; s < steps; ++s) expected = 3 * expected % 1000003;
  for (int64_t i = 0; i < n; ++i) ASSERT_EQ(value[steps % 2 * n + i], expected) << "item " << i << " of " << n;
}

TEST_F(Parallel, StepsFollowOneAnother) {
  for (int threads : {1, 2, 3, 8}) {
    set_num_threads(threads);
    for (int64_t steps : {0, 1, 2, 500})
      for (int64_t n : {1, 2, 7, 64}) expect_steps(steps, n, 1);
    expect_steps(20, 10, 4);
    expect_steps(20, 10, 100);
  }
}

TEST_F(Parallel, StepsOfSeveralCallersAndInsideOfABlock) {
  std::vector<std::thread> callers;
  for (int c = 0; c < 4; ++c)
    callers.emplace_back([] {
      for (int round = 0; round < 20; ++round) expect_steps(50, 9, 1);
    });
  for (auto& t : callers) t.join();
  parallel_for(8, 1, [](int64_t, int64_t) { expect_steps(10, 5, 1); });
}

TEST_F(Parallel, AnInterruptSkipsTheRemainingSteps) {
  static std::atomic<bool> asked;
  asked = false;
  set_interrupt_poll([] { return asked.exchange(true) == false; });
  std::atomic<int> calls{0};
  parallel_steps(1000, 4, 1, [&](int64_t, int64_t, int64_t) {
    ++calls;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  });
  set_interrupt_poll(nullptr);
  EXPECT_TRUE(take_cancelled());
  EXPECT_LT(calls, 1000);
  expect_steps(20, 10, 1);
}

TEST_F(Parallel, ScratchIsAlignedWritableAndOneForEachThread) {
  std::mutex mutex;
  std::set<void*> seen;
  std::set<std::thread::id> threads;
  parallel_for(64, 1, [&](int64_t, int64_t) {
    auto* p = static_cast<unsigned char*>(thread_scratch());
    EXPECT_EQ(reinterpret_cast<uintptr_t>(p) % 64, 0u);
    p[0] = p[kMaxScratch - 1] = 1;
    std::lock_guard<std::mutex> lock(mutex);
    seen.insert(p);
    threads.insert(std::this_thread::get_id());
  });
  EXPECT_EQ(seen.size(), threads.size());
}

TEST(Cores, AtLeastOneAndAtMostTheMachine) {
  EXPECT_GE(available_cores(), 1);
  EXPECT_LE(available_cores(), static_cast<int>(std::max(1u, std::thread::hardware_concurrency())));
}

}  // namespace
}  // namespace dl
