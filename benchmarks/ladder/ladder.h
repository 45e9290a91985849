// What all ladders share: the machine's limits, measured between the rungs, the checks, the timing and the table.
//
// A ladder is an operation at one size and the versions of it that lead from its definition to the shipped kernel, each
// with one more idea and the gain that the idea should bring. The first rung says what is right: every other one is
// checked against it before anything is timed, and a wrong one ends the program with status 1. Rungs run in turns and
// the figures are medians, so that what else the machine does meets all of them.
#pragma once
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "core/parallel.h"
#include "kernels/machine/simd.cpp"

namespace {

using dl::Vec;
constexpr int64_t kLanes = Vec::size;

// Numbers that start at a line of the cache: streaming stores want it. They are NaN until something is written.
class Floats {
 public:
  explicit Floats(int64_t n) : size_(n), lines_(static_cast<size_t>(n + 15) / 16) {
    fill([](int64_t) { return std::numeric_limits<float>::quiet_NaN(); });
  }
  template <class Value> void fill(const Value& value) {
    for (int64_t i = 0; i < size_; ++i) data()[i] = value(i);
  }
  // Evenly spread over [low, high), the same every time.
  void fill_random(float low, float high) {
    static uint32_t state = 1;
    fill([&](int64_t) {
      state = state * 1664525u + 1013904223u;
      return low + (high - low) * static_cast<float>(state >> 8) / 16777216.0f;
    });
  }
  float* data() { return reinterpret_cast<float*>(lines_.data()); }
  const float* data() const { return reinterpret_cast<const float*>(lines_.data()); }
  float operator[](int64_t i) const { return data()[i]; }
  int64_t size() const { return size_; }

 private:
  struct alignas(64) Line { float lane[16]; };
  int64_t size_;
  std::vector<Line> lines_;
};

// ROUNDS [SIZE...]: the sizes that are given, and the usual ones for the others.
class Arguments {
 public:
  struct Size {
    const char* name;
    int64_t value;
  };
  Arguments(int argc, char** argv, const std::vector<Size>& usual)
      : rounds_(argc > 1 ? std::atoi(argv[1]) : 15), sizes_(usual) {
    const size_t given = argc > 2 ? static_cast<size_t>(argc) - 2 : 0;
    bool right = rounds_ > 0 && given <= usual.size();
    for (size_t i = 0; right && i < given; ++i) right = (sizes_[i].value = std::atoll(argv[i + 2])) > 0;
    if (right) return;
    std::fprintf(stderr, "expected, all positive: rounds");
    for (const Size& size : usual) std::fprintf(stderr, " [%s", size.name);
    std::fprintf(stderr, "%s\n", std::string(usual.size(), ']').c_str());
    std::exit(2);
  }
  int rounds() const { return rounds_; }
  int64_t operator[](size_t i) const { return sizes_[i].value; }
  void print() const {
    for (const Size& size : sizes_) std::printf(", %s %lld", size.name, static_cast<long long>(size.value));
  }

 private:
  int rounds_;
  std::vector<Size> sizes_;
};

struct Rung {
  const char* name;
  double predicted;  // times as fast as the rung before
  std::function<void()> run;
  int threads = 1;
};
constexpr double kAsTheLimits = 0;  // predicted is what the limits gain by the threads

// What a rung writes, and how far an element may be from the first rung's. It starts every run as it was at first.
struct Result {
  Floats& values;
  double absolute = 0, relative = 0;
};

struct Ladder {
  const char* name;
  double flops, bytes;  // that no version can do or move less of: the limit is the time that either takes at least
  int64_t touched;      // bytes of memory in use, which decide how fast it is
  std::vector<Result> results;
  std::vector<Rung> rungs;
};

inline double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

inline double median(std::vector<double> x) {
  std::sort(x.begin(), x.end());
  return (x[(x.size() - 1) / 2] + x[x.size() / 2]) / 2;
}

// Of fused multiply-adds in registers, on the threads in use.
inline double peak_gflops() {
  const int threads = dl::num_threads();
  std::vector<float> sink(static_cast<size_t>(threads));
  double best = 0;
  for (int run = 0; run < 5; ++run) {
    const double start = now();
    const double flops = static_cast<double>(dl::fma_peak(threads, 100000, sink.data()));
    best = std::max(best, flops / (now() - start) / 1e9);
  }
  return best;
}

// Of reads, copies or copies past the caches, whichever are fastest, over as much memory as the operation touches.
inline double bandwidth_gbs(Floats& memory) {
  constexpr int64_t kBlock = 16384;
  float* const x = memory.data();
  const int64_t half = memory.size() / 2 / kBlock * kBlock;
  double best = 0;
  for (int run = 0; run < 9; ++run) {
    const double start = now();
    dl::parallel_for(run % 3 ? half : 2 * half, kBlock, [=](int64_t begin, int64_t end) {
      Vec sum[4] = {dl::zero(), dl::zero(), dl::zero(), dl::zero()};
      for (int64_t i = begin; i < end; i += 4 * kLanes)
        for (int u = 0; u < 4; ++u) {
          const Vec v = dl::load(x + i + u * kLanes);
          if (run % 3 == 0) sum[u] += v;
          else if (run % 3 == 1) dl::store(x + half + i + u * kLanes, v);
          else dl::stream(x + half + i + u * kLanes, v);
        }
      if (run % 3 == 2) dl::stream_fence();
      const float total = dl::reduce_add((sum[0] + sum[1]) + (sum[2] + sum[3]));
      asm volatile("" ::"m"(total));  // looks like a use
    });
    best = std::max(best, 8.0 * static_cast<double>(half) / (now() - start) / 1e9);
  }
  return best;
}

inline bool same(const Result& result, const Floats& expected) {
  for (int64_t i = 0; i < expected.size(); ++i) {
    const double right = expected[i], error = std::fabs(result.values[i] - right);
    if (!(error <= result.absolute + result.relative * std::fabs(right))) {
      std::fprintf(stderr, "element %lld is %.9g, not %.9g\n", static_cast<long long>(i), result.values[i], right);
      return false;
    }
  }
  return true;
}

// All rungs against the first. Returns the status of the program.
inline int check(const Ladder& ladder) {
  std::vector<Floats> start, expected;
  for (const Result& result : ladder.results) start.push_back(result.values);
  for (const Rung& rung : ladder.rungs) {
    for (size_t i = 0; i < start.size(); ++i) ladder.results[i].values = start[i];
    dl::set_num_threads(rung.threads);
    rung.run();
    for (size_t i = 0; i < start.size(); ++i) {
      if (&rung == &ladder.rungs[0]) expected.push_back(ladder.results[i].values);
      if (same(ladder.results[i], expected[i])) continue;
      std::fprintf(stderr, "%s: wrong result\n", rung.name);
      return 1;
    }
  }
  return 0;
}

// The median time of one call, over about a hundredth of a second; the call before them brings data and threads back.
inline double turn(const Rung& rung) {
  const double begin = now();
  rung.run();
  const double first = now() - begin;
  if (first > 0.1) return first;
  std::vector<double> seconds;
  for (const double end = now() + 0.01; seconds.empty() || now() < end;) {
    const double start = now();
    rung.run();
    seconds.push_back(now() - start);
  }
  return median(seconds);
}

struct Limit { std::vector<double> gflops, gbs, seconds; };

// Checks and times the rungs, and prints the table.
inline int climb(const Ladder& ladder, const Arguments& given) {
  if (const int status = check(ladder)) return status;
  constexpr double kEnough = 1.0;  // seconds; a rung that took so long takes no further turn
  Floats memory(std::max<int64_t>(1 << 15, ladder.touched / 4));
  memory.fill([](int64_t) { return 0.0f; });
  std::map<int, Limit> limits;
  std::vector<std::vector<double>> seconds(ladder.rungs.size()), shares(ladder.rungs.size());
  std::vector<double> spent(ladder.rungs.size());
  for (const Rung& rung : ladder.rungs) limits[rung.threads];
  for (int round = 0; round < given.rounds(); ++round) {
    double gflops = 0, gbs = 0;
    for (auto& [threads, limit] : limits) {
      dl::set_num_threads(threads);
      gflops = std::max(gflops, peak_gflops());  // more threads can do what fewer can
      gbs = std::max(gbs, bandwidth_gbs(memory));
      limit.gflops.push_back(gflops);
      limit.gbs.push_back(gbs);
      limit.seconds.push_back(std::max(ladder.flops / gflops, ladder.bytes / gbs) / 1e9);
    }
    for (size_t i = 0; i < ladder.rungs.size(); ++i) {
      if (spent[i] > kEnough) continue;
      dl::set_num_threads(ladder.rungs[i].threads);
      const double start = now();
      seconds[i].push_back(turn(ladder.rungs[i]));
      spent[i] += now() - start;
      shares[i].push_back(limits[ladder.rungs[i].threads].seconds.back() / seconds[i].back());
    }
  }
  std::printf("%s", ladder.name);
  given.print();
  std::printf("\n");
  for (const auto& [threads, limit] : limits)
    std::printf("limit on %d thread%s: %.0f GFLOP/s, %.1f GB/s, thus %.3f ms\n", threads, threads > 1 ? "s" : "",
                median(limit.gflops), median(limit.gbs), median(limit.seconds) * 1e3);
  for (size_t i = 0; i < ladder.rungs.size(); ++i) {
    const Rung& rung = ladder.rungs[i];
    const double time = median(seconds[i]);
    std::printf("%zu %-34s %10.3f ms %5.1f%% of the limit", i + 1, rung.name, time * 1e3, 100 * median(shares[i]));
    if (i > 0) {
      const double before = median(limits[ladder.rungs[i - 1].threads].seconds);
      const double predicted =
          rung.predicted == kAsTheLimits ? before / median(limits[rung.threads].seconds) : rung.predicted;
      std::printf("  x %.2f, predicted x %.2f", median(seconds[i - 1]) / time, predicted);
    }
    std::printf("\n");
  }
  return 0;
}

}  // namespace
