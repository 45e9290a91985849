#include "core/parallel.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#include "core/check.h"
#include "core/steps.h"

namespace dl {
namespace {

// Blocks that one thread takes before it helps others with theirs: what follows on the same shape finds its data in the
// cache of the same core.
struct alignas(64) BlockRange {
  std::atomic<int64_t> next;
  int64_t end;
};

// One parallel_for in flight.
struct Job {
  static constexpr int kMaxRanges = 32;
  BlockFn fn;
  void* context;
  int64_t n, grain;
  int ranges;
  std::atomic<bool> cancelled{false};
  BlockRange range[kMaxRanges];

  Job(int64_t size, int64_t step, BlockFn f, void* c, int threads)
      : fn(f), context(c), n(size), grain(step), ranges(std::min(threads, kMaxRanges)) {
    const int64_t count = blocks(), each = count / ranges, more = count % ranges;
    int64_t first = 0;
    for (int r = 0; r < ranges; ++r) {
      range[r].next.store(first, std::memory_order_relaxed);
      range[r].end = first += each + (r < more);
    }
  }
  int64_t blocks() const { return (n + grain - 1) / grain; }
};

std::atomic<bool (*)()> interrupt_poll{nullptr};
thread_local bool inside_parallel = false;
thread_local bool was_cancelled = false;

// Asks every ~50 ms whether to go on.
class Interrupt {
 public:
  bool came() {
    const auto now = Clock::now();
    if (now - last_poll_ < std::chrono::milliseconds(50)) return false;
    last_poll_ = now;
    auto* poll = interrupt_poll.load();
    return poll && poll();
  }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point last_poll_ = Clock::now();
};

void run_blocks(Job& job, int thread, bool may_poll) {
  Interrupt interrupt;
  for (int r = 0; r < job.ranges; ++r) {
    BlockRange& range = job.range[(thread + r) % job.ranges];
    for (int64_t b; (b = range.next.fetch_add(1, std::memory_order_relaxed)) < range.end;) {
      if (job.cancelled.load(std::memory_order_relaxed)) continue;
      job.fn(job.context, b * job.grain, std::min(job.n, (b + 1) * job.grain));
      if (may_poll && interrupt.came()) job.cancelled = true;
    }
  }
}

inline void cpu_relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Spins for 30 to 100 µs, by the length of the CPU's pause, and then lets others run.
constexpr int kSpins = 2000;
template <class Done> inline void wait_until(const Done& done) {
  for (int spin = 0; !done(); ++spin) {
    if (spin < kSpins) cpu_relax();
    else std::this_thread::yield();
  }
}

class Pool {
 public:
  explicit Pool(int workers) {
    // Signals belong to the interpreter's main thread.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
      for (int i = 0; i < workers; ++i) threads_.emplace_back([this, i] { work(i + 1); });
    } catch (const std::system_error&) {
      // The system gives no more threads: go on with those there are; results do not depend on their number.
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  ~Pool() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stop_ = true;
      ticket_.fetch_add(1);
    }
    wake_.notify_all();
    for (auto& t : threads_) t.join();
  }

  void run(Job& job) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      job_ = &job;
      ticket_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    run_blocks(job, 0, true);
    {
      // A worker that has not woken yet finds no job and is not waited for.
      std::lock_guard<std::mutex> lock(mutex_);
      job_ = nullptr;
    }
    wait_until([&] { return active_.load(std::memory_order_acquire) == 0; });
  }

 private:
  void work(int thread) {
    inside_parallel = true;
    uint64_t seen = 0;
    for (;;) {
      // That bridges the gap between the operations of a training step without a trip through the kernel.
      for (int spin = 0; spin < kSpins && ticket_.load(std::memory_order_acquire) == seen; ++spin) cpu_relax();
      Job* job;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        wake_.wait(lock, [&] { return ticket_.load(std::memory_order_relaxed) != seen; });
        seen = ticket_.load(std::memory_order_relaxed);
        if (stop_) return;
        job = job_;
        if (job) active_.fetch_add(1, std::memory_order_relaxed);
      }
      if (!job) continue;
      run_blocks(*job, thread, false);
      active_.fetch_sub(1, std::memory_order_release);
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<uint64_t> ticket_{0};
  std::atomic<int> active_{0};  // workers inside the current job
  Job* job_ = nullptr;
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

std::mutex pool_mutex;  // held by the one caller that uses the pool; others run their blocks themselves
Pool* pool = nullptr;
std::atomic<int> thread_count{0};

// The child of a fork has no workers: forget the parent's pool (its threads do not exist here) and start afresh.
void after_fork_in_child() {
  new (&pool_mutex) std::mutex;
  pool = nullptr;
  inside_parallel = false;
}

int cgroup_quota() {
  // cgroup v2: "max 100000" or "150000 100000"
  std::FILE* f = std::fopen("/sys/fs/cgroup/cpu.max", "re");
  long long quota = -1, period = 0;
  if (f) {
    if (std::fscanf(f, "%lld %lld", &quota, &period) != 2) quota = -1;
    std::fclose(f);
  } else if ((f = std::fopen("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "re"))) {
    if (std::fscanf(f, "%lld", &quota) != 1) quota = -1;
    std::fclose(f);
    if ((f = std::fopen("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "re"))) {
      if (std::fscanf(f, "%lld", &period) != 1) period = 0;
      std::fclose(f);
    }
  }
  if (quota <= 0 || period <= 0) return 1 << 20;
  return static_cast<int>(std::max<long long>(1, (quota + period - 1) / period));
}

}  // namespace

int available_cores() {
  int cores = static_cast<int>(std::thread::hardware_concurrency());
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) cores = CPU_COUNT(&set);
#endif
  return std::max(1, std::min(cores, cgroup_quota()));
}

int num_threads() {
  int n = thread_count.load(std::memory_order_relaxed);
  if (n == 0) thread_count = n = available_cores();
  return n;
}

void set_num_threads(int n) {
  DL_CHECK(n >= 1 && n <= 1024, "[set_num_threads] expected between 1 and 1024 threads, got ", n);
  std::lock_guard<std::mutex> lock(pool_mutex);
  thread_count = n;
  delete pool;  // made anew by the next call that needs it
  pool = nullptr;
}

void parallel_for(int64_t n, int64_t grain, BlockFn fn, void* context) {
  if (n <= 0) return;
  const bool nested = inside_parallel;
  std::unique_lock<std::mutex> lock(pool_mutex, std::defer_lock);
  const bool shared = !nested && n > grain && num_threads() > 1 && lock.try_lock();
  Job job(n, grain, fn, context, shared ? num_threads() : 1);
  if (nested) return run_blocks(job, 0, false);
  inside_parallel = true;
  if (shared) {
    if (!pool) {
      static const int registered = pthread_atfork(nullptr, nullptr, after_fork_in_child);
      (void)registered;
      pool = new Pool(num_threads() - 1);
    }
    pool->run(job);
  } else {
    run_blocks(job, 0, true);
  }
  inside_parallel = false;
  if (job.cancelled) was_cancelled = true;
}

namespace {

// The items of a parallel_steps call that stay together.
struct alignas(64) StepRange {
  std::atomic<int64_t> begun{0};  // steps that some thread has taken up
  int64_t begin = 0, end = 0;
};

// One parallel_steps in flight. A thread that runs out of work in a step takes over ranges that nobody has begun, so
// any number of threads, late ones included, gets through; it waits only for ranges that another thread is at.
struct Steps {
  int64_t steps, ranges;
  StepFn fn;
  void* context;
  std::thread::id polls;  // the thread that asks for interrupts; none in a nested call
  std::vector<StepRange> range;
  std::atomic<int64_t> done{0};  // ranges, over all steps
  std::atomic<bool> cancelled{false};

  void run(int64_t own) {
    const bool may_poll = std::this_thread::get_id() == polls;
    Interrupt interrupt;
    for (int64_t s = 0; s < steps; ++s) {
      for (int64_t k = 0; k < ranges; ++k) {
        StepRange& r = range[static_cast<size_t>((own + k) % ranges)];
        int64_t before = s;
        if (r.begun.load(std::memory_order_relaxed) != s ||
            !r.begun.compare_exchange_strong(before, s + 1, std::memory_order_relaxed))
          continue;
        fn(context, s, r.begin, r.end);
        done.fetch_add(1, std::memory_order_acq_rel);
      }
      if (may_poll && interrupt.came()) cancelled = true;
      wait_until([&] {
        return done.load(std::memory_order_acquire) >= (s + 1) * ranges || cancelled.load(std::memory_order_relaxed);
      });
      if (cancelled.load(std::memory_order_relaxed)) return;
    }
  }
};

}  // namespace

void parallel_steps(int64_t steps, int64_t n, int64_t grain, StepFn fn, void* context) {
  if (steps <= 0 || n <= 0) return;
  const bool nested = inside_parallel;
  const int64_t ranges = nested ? 1 : std::min<int64_t>((n + grain - 1) / grain, num_threads());
  Steps work{steps, ranges, fn, context, nested ? std::thread::id() : std::this_thread::get_id(), {}, {0}, {false}};
  work.range = std::vector<StepRange>(static_cast<size_t>(ranges));
  for (int64_t r = 0; r < ranges; ++r) {
    work.range[static_cast<size_t>(r)].begin = n * r / ranges;
    work.range[static_cast<size_t>(r)].end = n * (r + 1) / ranges;
  }
  parallel_for(ranges, 1, [&](int64_t begin, int64_t) { work.run(begin); });
  if (work.cancelled) was_cancelled = true;
}

void* thread_scratch() {
  // Reserved once per thread; pages are touched only as far as a kernel uses them.
  struct Scratch {
    void* data = mmap(nullptr, kMaxScratch, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ~Scratch() { munmap(data, kMaxScratch); }
  };
  thread_local Scratch scratch;
  return scratch.data;
}

void set_interrupt_poll(bool (*poll)()) { interrupt_poll = poll; }

bool take_cancelled() {
  const bool cancelled = was_cancelled;
  was_cancelled = false;
  return cancelled;
}

}  // namespace dl
