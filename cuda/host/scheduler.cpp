// Blocks, threads, barriers and warp operations.
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "fiber.h"
#include "state.h"

namespace dl {
namespace emulator {

uint3 thread_index, block_index;
dim3 block_dim, grid_dim;
bool in_kernel = false;
bool checked = false;

namespace {

struct Copy {
  char* to;
  const char* from;
  int bytes, source_bytes;
};

struct Thread {
  Fiber fiber;
  uint3 index;
  bool done;
  const char* waits_in;  // for the report of a deadlock
  Site site;
  std::vector<Copy> open;
  std::vector<std::vector<Copy>> groups;
};

// Lanes that wait for the rest of their mask.
struct Meeting {
  unsigned mask = 0, arrived = 0;
  Combine combine = nullptr;
  const char* what = nullptr;
  Site site{};
  void* arguments[32];
};
struct Warp {
  Meeting meetings[4];
  unsigned exited = 0, epoch = 0;
};

enum class Order { forward, reverse, random };

std::mutex launching;  // several Python threads may launch
Thread threads[kMaxThreads];
Warp warps[kMaxThreads / 32];
uint64_t ready[kMaxThreads / 64];
unsigned thread_count, live_count, current;
unsigned waiting_at_barrier;
Site barrier_site;
unsigned epoch, block_start, launch_start;
uint64_t block_serial;
size_t shared_used;
void* dynamic_shared_data;
Fiber scheduler;
bool stopping;
Parameters parameters;
std::string first_fault;
bool launch_fault;
std::map<void*, size_t> shared_limits;

Order order = Order::forward;
uint64_t random_state = 1;

uint64_t next_random() {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}

void read_order() {
  static bool read = false;
  if (read) return;
  read = true;
  const char* wanted = std::getenv("DLCORE_EMULATOR_ORDER");
  const std::string text = wanted ? wanted : "";
  if (text == "reverse") order = Order::reverse;
  if (text.rfind("random", 0) == 0) {
    order = Order::random;
    const uint64_t seed = text.size() > 7 ? std::strtoull(text.c_str() + 7, nullptr, 10) : 1;
    random_state = seed * 0x9E3779B97F4A7C15u + 1;
  }
}

void set_ready(unsigned t) { ready[t / 64] |= uint64_t{1} << t % 64; }
void clear_ready(unsigned t) { ready[t / 64] &= ~(uint64_t{1} << t % 64); }

// The next thread that can run, counted from `first` in a circle, or -1.
int next_ready(unsigned first) {
  const unsigned words = (thread_count + 63) / 64;
  for (unsigned i = 0; i <= words; ++i) {
    const unsigned word = (first / 64 + i) % words;
    uint64_t bits = ready[word];
    if (i == 0) bits &= ~uint64_t{0} << first % 64;
    if (bits) return static_cast<int>(word * 64 + static_cast<unsigned>(__builtin_ctzll(bits)));
  }
  return -1;
}
int last_ready() {
  for (int word = static_cast<int>((thread_count + 63) / 64) - 1; word >= 0; --word)
    if (ready[word]) return word * 64 + 63 - __builtin_clzll(ready[word]);
  return -1;
}
int pick() {
  if (order == Order::reverse) return last_ready();
  const unsigned first =
      order == Order::random ? static_cast<unsigned>(next_random() % thread_count) : (current + 1) % thread_count;
  return next_ready(first);
}

void run_thread(Fiber& from, unsigned t) {
  current = t;
  thread_index = threads[t].index;
  switch_fiber(from, threads[t].fiber);
}

// Leaves the launch; nobody comes back to what its threads were doing.
[[noreturn]] void stop() {
  stopping = true;
  Fiber abandoned;
  switch_fiber(abandoned, scheduler);
  __builtin_unreachable();
}

void report_deadlock() {
  std::map<std::string, int> waiting;
  for (unsigned t = 0; t < thread_count; ++t) {
    if (threads[t].done) continue;
    char text[300];
    std::snprintf(text, sizeof text, "%s at %s:%d", threads[t].waits_in, threads[t].site.file, threads[t].site.line);
    ++waiting[text];
  }
  std::string all;
  for (const auto& [where, count] : waiting) all += (all.empty() ? "" : ", ") + std::to_string(count) + " in " + where;
  fault("deadlock: %s threads have ended, the others wait: %s",
        live_count == thread_count ? "no" : std::to_string(thread_count - live_count).c_str(), all.c_str());
}

void wait_here(const char* what, Site site) {
  Thread& me = threads[current];
  me.waits_in = what;
  me.site = site;
  clear_ready(current);
  const int next = pick();
  if (next < 0) report_deadlock();
  else if (static_cast<unsigned>(next) != current) run_thread(me.fiber, static_cast<unsigned>(next));
}

// Another order may go on elsewhere at every point where threads meet.
void maybe_yield() {
  if (order == Order::forward) return;
  const int next = pick();
  if (next >= 0 && static_cast<unsigned>(next) != current)
    run_thread(threads[current].fiber, static_cast<unsigned>(next));
}

void open_barrier() {
  ++epoch;
  waiting_at_barrier = 0;
  for (unsigned t = 0; t < thread_count; ++t)
    if (!threads[t].done) set_ready(t);
}

void finish_copies(unsigned t, size_t keep) {
  auto& groups = threads[t].groups;
  for (; groups.size() > keep; groups.erase(groups.begin())) {
    for (const Copy& c : groups.front()) {
      std::memcpy(c.to, c.from, static_cast<size_t>(c.source_bytes));
      std::memset(c.to + c.source_bytes, 0, static_cast<size_t>(c.bytes - c.source_bytes));
      mark(c.to, static_cast<size_t>(c.bytes), kSet);
    }
  }
}

void thread_main() {
  in_kernel = true;
  parameters.call(parameters.data);
  in_kernel = false;
  finish_copies(current, 0);
  threads[current].done = true;
  clear_ready(current);
  --live_count;
  warps[current / 32].exited |= 1u << current % 32;
  // Threads that have ended count as having arrived.
  if (live_count && waiting_at_barrier == live_count) open_barrier();
  const int next = pick();
  in_kernel = true;
  if (next >= 0) run_thread(threads[current].fiber, static_cast<unsigned>(next));
  if (live_count) report_deadlock();
  stop();
}

void* lay_out_shared(size_t bytes, const char* name) {
  constexpr size_t kRedZone = 64;
  char* data = shared_memory() + shared_used;
  shared_used += (bytes + 15) / 16 * 16 + kRedZone;
  if (shared_used > kSharedBytes) {
    fault("%s of %zu bytes: more shared memory than the emulator has", name, bytes);
    std::abort();  // not reached: a kernel is running
  }
  std::memset(data, 0xff, bytes);
  mark(data, bytes, kUnset);
  return data;
}

void run_block(uint64_t b) {
  block_index = {static_cast<unsigned>(b % grid_dim.x), static_cast<unsigned>(b / grid_dim.x % grid_dim.y),
                 static_cast<unsigned>(b / grid_dim.x / grid_dim.y)};
  block_start = ++epoch;
  ++block_serial;
  live_count = thread_count;
  waiting_at_barrier = 0;
  for (unsigned w = 0; w < (thread_count + 31) / 32; ++w) {
    for (Meeting& m : warps[w].meetings) m.arrived = 0;
    warps[w].exited = 0;
  }
  std::memset(ready, 0, sizeof ready);
  for (unsigned t = 0; t < thread_count; ++t) {
    Thread& thread = threads[t];
    thread.done = false;
    thread.open.clear();
    thread.groups.clear();
    prepare(thread.fiber, stacks() + t * kStackBytes, kStackBytes, thread_main);
    set_ready(t);
  }
  current = thread_count - 1;
  const int first = pick();
  in_kernel = true;
  run_thread(scheduler, static_cast<unsigned>(first));
  in_kernel = false;
}

}  // namespace

Moment now() { return {current, warps[current / 32].epoch, epoch, block_start, launch_start}; }
bool is_parameter(const void* p, size_t bytes) {
  const auto offset = static_cast<size_t>(static_cast<const char*>(p) - static_cast<const char*>(parameters.data));
  return offset < parameters.bytes && offset + bytes <= parameters.bytes;
}
int lane() { return static_cast<int>(current % 32); }

void fault(const char* format, ...) {
  in_kernel = false;
  if (first_fault.empty()) {
    launch_fault = live_count == 0;
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    first_fault = text;
    if (live_count) {
      char where[120];
      std::snprintf(where, sizeof where, " [block (%u, %u, %u), thread (%u, %u, %u)]", block_index.x, block_index.y,
                    block_index.z, thread_index.x, thread_index.y, thread_index.z);
      first_fault += where;
    }
  }
  if (live_count) stop();
}

std::string take_fault() {
  std::string taken;
  taken.swap(first_fault);
  return taken;
}
bool has_fault() { return !first_fault.empty(); }
bool is_launch_fault() { return launch_fault; }

void sync_block(Site site) {
  in_kernel = false;
  if (waiting_at_barrier && (barrier_site.line != site.line || std::strcmp(barrier_site.file, site.file) != 0))
    fault("divergent barrier: __syncthreads at %s:%d while other threads wait at line %d", site.file, site.line,
          barrier_site.line);
  barrier_site = site;
  if (++waiting_at_barrier == live_count) {
    open_barrier();
    maybe_yield();
  } else {
    wait_here("__syncthreads", site);
  }
  in_kernel = true;
}

void meet_warp(unsigned mask, Combine combine, void* argument, const char* what, Site site) {
  in_kernel = false;
  Warp& warp = warps[current / 32];
  const unsigned own = 1u << current % 32, base = current & ~31u, present = thread_count - base;
  if (present < 32 && mask == 0xffffffffu) mask = (1u << present) - 1;  // the last warp of a block may be smaller
  if (!(mask & own))
    fault("%s at %s:%d: the calling lane %d is not in the mask %08x", what, site.file, site.line, lane(), mask);
  if (mask & warp.exited)
    fault("%s at %s:%d: the mask %08x names lanes that have ended", what, site.file, site.line, mask);
  if (present < 32 && mask >> present)
    fault("%s at %s:%d: the mask %08x names lanes that do not exist", what, site.file, site.line, mask);
  Meeting* meeting = nullptr;
  for (Meeting& m : warp.meetings) {
    if (!m.arrived) continue;
    if (m.mask == mask) meeting = &m;
    else if (m.mask & mask)
      fault("%s at %s:%d: the mask %08x overlaps %08x of a waiting %s at line %d", what, site.file, site.line, mask,
            m.mask, m.what, m.site.line);
  }
  if (!meeting) {
    for (Meeting& m : warp.meetings)
      if (!m.arrived) meeting = &m;
    meeting->mask = mask;
    meeting->combine = combine;
    meeting->what = what;
    meeting->site = site;
  } else if (meeting->combine != combine || meeting->site.line != site.line) {
    fault("divergent warp operation: lane %d in %s at %s:%d, others in %s at line %d", lane(), what, site.file,
          site.line, meeting->what, meeting->site.line);
  }
  meeting->arguments[current % 32] = argument;
  meeting->arrived |= own;
  if (meeting->arrived == mask) {
    if (combine) combine(meeting->arguments, mask);
    else ++warp.epoch;
    meeting->arrived = 0;
    for (unsigned l = 0; l < 32; ++l)
      if (mask & ~own & 1u << l) set_ready(base + l);
    maybe_yield();
  } else {
    wait_here(what, site);
  }
  in_kernel = true;
}

void sync_warp(unsigned mask, Site site) { meet_warp(mask, nullptr, nullptr, "__syncwarp", site); }

void* SharedVariable::get() {
  if (block_ != block_serial) {
    in_kernel = false;
    block_ = block_serial;
    data_ = lay_out_shared(bytes_, name_);
    in_kernel = true;
  }
  return data_;
}
void* dynamic_shared() { return dynamic_shared_data; }

cudaError_t set_shared_limit(void* kernel, int bytes) {
  if (bytes < 0 || static_cast<size_t>(bytes) > kSharedLimit) return cudaErrorInvalidValue;
  shared_limits[kernel] = static_cast<size_t>(bytes);
  return cudaSuccess;
}

void copy_async(void* shared, const void* global, int bytes, int source_bytes) {
  in_kernel = false;
  const auto size = static_cast<size_t>(bytes);
  if (reinterpret_cast<uintptr_t>(shared) % size || reinterpret_cast<uintptr_t>(global) % size)
    fault("cp.async: misaligned copy of %d bytes", bytes);
  if (checked) {
    const void* const code = __builtin_return_address(0);
    if (source_bytes) check_access(global, static_cast<size_t>(source_bytes), false, code);
    check_access(shared, size, true, code);
  }
  std::memset(shared, 0xff, size);
  mark(shared, size, kUnset);
  threads[current].open.push_back({static_cast<char*>(shared), static_cast<const char*>(global), bytes, source_bytes});
  in_kernel = true;
}
void commit_copies() {
  in_kernel = false;
  threads[current].groups.push_back(std::move(threads[current].open));
  threads[current].open.clear();
  in_kernel = true;
}
void wait_for_copies(int groups_left) {
  in_kernel = false;
  finish_copies(current, static_cast<size_t>(groups_left));
  in_kernel = true;
}

void note_lane_access(int lane, const void* p, size_t bytes, bool write) {
  if (!checked) return;
  const unsigned caller = current;
  current = (caller & ~31u) | static_cast<unsigned>(lane);
  check_access(p, bytes, write, nullptr);
  current = caller;
}

void run_grid(dim3 grid, dim3 block, size_t shared_bytes, Parameters p, void* kernel) {
  const std::lock_guard<std::mutex> lock(launching);
  reserve_memory();
  read_order();
  thread_count = block.x * block.y * block.z;
  const bool fits = thread_count > 0 && thread_count <= kMaxThreads && block.z <= 64 && grid.x > 0 && grid.y > 0 &&
                    grid.z > 0 && grid.x < 1u << 31 && grid.y < 1u << 16 && grid.z < 1u << 16;
  if (!fits)
    return fault("invalid configuration: grid (%u, %u, %u), block (%u, %u, %u)", grid.x, grid.y, grid.z, block.x,
                 block.y, block.z);
  const auto limit = shared_limits.find(kernel);
  const size_t most = limit == shared_limits.end() ? size_t{48} << 10 : limit->second;
  if (shared_bytes > most)
    return fault("%zu bytes of dynamic shared memory, the kernel's limit is %zu", shared_bytes, most);
  if (has_fault()) return;  // as on a device: after a fault nothing runs until it is reported
  grid_dim = grid;
  block_dim = block;
  parameters = p;
  for (unsigned t = 0; t < thread_count; ++t)
    threads[t].index = {t % block.x, t / block.x % block.y, t / (block.x * block.y)};
  launch_start = epoch + 1;
  stopping = false;
  const uint64_t blocks = uint64_t{grid.x} * grid.y * grid.z;
  for (uint64_t b = 0; b < blocks && !(stopping && has_fault()); ++b) {
    forget_shared(shared_used);
    shared_used = 0;
    dynamic_shared_data = shared_bytes ? lay_out_shared(shared_bytes, "dynamic shared memory") : nullptr;
    stopping = false;
    run_block(order == Order::reverse ? blocks - 1 - b : b);
    live_count = 0;
  }
  live_count = 0;
}

}  // namespace emulator
}  // namespace dl
