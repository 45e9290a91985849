// What this machine can do at most, as JSON: limits [THREADS], or limits --probe THREADS for the first figure alone.
// Fused multiply-adds and bfloat16 dot products in registers, and the bandwidth of reads, of copies and of copies past
// the caches by level of the memory. Build: g++ -O3 -march=native -ffp-contract=fast -pthread limits.cpp -o limits
// (benchmarks/limits.py does it)
#include <unistd.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

namespace {

#if defined(__AVX512F__)
constexpr int kBytes = 64;
#elif defined(__AVX__)
constexpr int kBytes = 32;
#else
constexpr int kBytes = 16;
#endif
typedef float Vec __attribute__((vector_size(kBytes)));
constexpr int kLanes = kBytes / 4;

// Keeps a value in a register and in the program without telling the compiler anything about it.
void keep(Vec& v) {
#if defined(__x86_64__)
  asm volatile("" : "+x"(v));
#else
  asm volatile("" : "+w"(v));
#endif
}

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// The shortest wall time of several runs of body(thread) on all threads at once.
double shortest(int threads, int runs, const std::function<void(int)>& body) {
  double best = 1e30;
  for (int run = 0; run < runs; ++run) {
    std::atomic<int> ready{0};
    std::atomic<bool> go{false};
    std::vector<std::thread> pool;
    for (int t = 0; t < threads; ++t)
      pool.emplace_back([&, t] {
        ++ready;
        while (!go) std::this_thread::yield();
        body(t);
      });
    while (ready < threads) std::this_thread::yield();
    const double start = now();
    go = true;
    for (auto& t : pool) t.join();
    best = std::min(best, now() - start);
  }
  return best;
}

// Twelve chains cover latency times throughput of two units with four cycles.
constexpr int kChains = 12;

double fma_gflops(int threads) {
  constexpr long kRounds = 4000000;
  const double seconds = shortest(threads, 5, [](int) {
    Vec a[kChains], x = Vec{} + 0.999f, y = Vec{} + 0.001f;
    keep(x), keep(y);
    for (int c = 0; c < kChains; ++c) a[c] = Vec{} + static_cast<float>(c);
    for (long i = 0; i < kRounds; ++i)
#pragma GCC unroll 12
      for (int c = 0; c < kChains; ++c) a[c] = a[c] * x + y;
    for (int c = 0; c < kChains; ++c) keep(a[c]);
  });
  return 2.0 * kLanes * kChains * kRounds * threads / seconds / 1e9;
}

// vdpbf16ps: 0 where the CPU has none. A matrix unit, with tiles for registers, is not counted.
double bf16_gflops([[maybe_unused]] int threads) {
#if defined(__AVX512BF16__)
  constexpr long kRounds = 4000000;
  const double seconds = shortest(threads, 5, [](int) {
    Vec a[kChains];
    const __m512bh x = _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.999f), _mm512_set1_ps(0.001f));
    for (int c = 0; c < kChains; ++c) a[c] = Vec{} + static_cast<float>(c);
    for (long i = 0; i < kRounds; ++i)
#pragma GCC unroll 12
      for (int c = 0; c < kChains; ++c) a[c] = _mm512_dpbf16_ps(a[c], x, x);
    for (int c = 0; c < kChains; ++c) keep(a[c]);
  });
  return 4.0 * kLanes * kChains * kRounds * threads / seconds / 1e9;
#else
  return 0;
#endif
}

void read_all(const Vec* x, size_t n, long repeats) {
  Vec sum[8] = {};
  for (long r = 0; r < repeats; ++r) {
    for (size_t i = 0; i + 8 <= n; i += 8)
#pragma GCC unroll 8
      for (int u = 0; u < 8; ++u) sum[u] += x[i + u];
    asm volatile("" ::: "memory");
  }
  for (Vec& s : sum) keep(s);
}

void copy_all(const Vec* x, Vec* y, size_t n, long repeats) {
  for (long r = 0; r < repeats; ++r) {
    for (size_t i = 0; i + 4 <= n; i += 4)
#pragma GCC unroll 4
      for (int u = 0; u < 4; ++u) y[i + u] = x[i + u];
    asm volatile("" ::: "memory");
  }
}

void store_past_caches(Vec* to, Vec v) {
#if defined(__AVX512F__)
  _mm512_stream_ps(reinterpret_cast<float*>(to), v);
#elif defined(__AVX__)
  _mm256_stream_ps(reinterpret_cast<float*>(to), v);
#elif defined(__x86_64__)
  _mm_stream_ps(reinterpret_cast<float*>(to), v);
#else
  *to = v;
#endif
}

// A plain store first reads the line it writes; this one does not.
void stream_all(const Vec* x, Vec* y, size_t n, long repeats) {
  for (long r = 0; r < repeats; ++r) {
    for (size_t i = 0; i + 4 <= n; i += 4)
#pragma GCC unroll 4
      for (int u = 0; u < 4; ++u) store_past_caches(y + i + u, x[i + u]);
    asm volatile("" ::: "memory");
  }
}

struct Level {
  const char* name;
  size_t bytes;  // of one thread's data
};

// Three quarters of what the inner caches hold; then growing amounts, since how much of a shared outer cache is ours no
// system call tells.
std::vector<Level> levels(int threads) {
  const auto size = [](int key, size_t usual) {
    const long found = sysconf(key);
    return found > 0 ? static_cast<size_t>(found) : usual;
  };
#if defined(_SC_LEVEL1_DCACHE_SIZE)
  const size_t l1 = size(_SC_LEVEL1_DCACHE_SIZE, 32 << 10), l2 = size(_SC_LEVEL2_CACHE_SIZE, 512 << 10);
#else
  const size_t l1 = 32 << 10, l2 = 512 << 10;
#endif
  const size_t share = static_cast<size_t>(threads);
  return {{"L1", l1 * 3 / 4},
          {"L2", l2 * 3 / 4},
          {"16M", (size_t{16} << 20) / share},
          {"64M", (size_t{64} << 20) / share},
          {"256M", (size_t{256} << 20) / share},
          {"1G", (size_t{1} << 30) / share}};
}

}  // namespace

int main(int argc, char** argv) {
  const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  const bool probe = argc > 2 && std::strcmp(argv[1], "--probe") == 0;
  const int threads = argc > 1 ? std::max(1, std::atoi(argv[probe ? 2 : 1])) : cores;
  if (probe) {
    std::printf("%.1f\n", fma_gflops(threads));
    return 0;
  }
  fma_gflops(threads);  // the clock settles
  std::printf("{\"threads\": %d, \"fma_gflops\": %.1f", threads, fma_gflops(threads));
  std::printf(", \"bf16_gflops\": %.1f", bf16_gflops(threads));
  for (const Level& level : levels(threads)) {
    const size_t bytes = level.bytes / 512 * 512, n = bytes / kBytes;
    std::vector<std::unique_ptr<void, void (*)(void*)>> memory;
    std::vector<Vec*> data;
    for (int t = 0; t < threads; ++t) {
      memory.emplace_back(std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096), std::free);
      std::memset(memory.back().get(), 1, bytes);
      data.push_back(static_cast<Vec*>(memory.back().get()));
    }
    const long repeats = std::max<long>(1, static_cast<long>(2e8 / static_cast<double>(bytes)));
    const double moved = static_cast<double>(bytes) * static_cast<double>(repeats) * threads / 1e9;
    const double read = shortest(threads, 4, [&](int t) { read_all(data[t], n, repeats); });
    const double copy = shortest(threads, 4, [&](int t) { copy_all(data[t], data[t] + n / 2, n / 2, repeats); });
    const double stream = shortest(threads, 4, [&](int t) { stream_all(data[t], data[t] + n / 2, n / 2, repeats); });
    std::printf(", \"%s_bytes\": %zu, \"%s_read_gbs\": %.1f, \"%s_copy_gbs\": %.1f, \"%s_stream_gbs\": %.1f",
                level.name, level.bytes * static_cast<size_t>(threads), level.name, moved / read, level.name,
                moved / copy, level.name, moved / stream);
  }
  std::printf("}\n");
  return 0;
}
