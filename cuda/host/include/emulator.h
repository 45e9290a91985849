// Runs CUDA kernels on the CPU. A thread is a fiber; blocks run one after the other. Between barriers and warp
// operations threads run in any order (DLCORE_EMULATOR_ORDER: forward, reverse, random or random:SEED), which shows
// missing synchronisation. Shared memory and fresh device memory hold NaN.
//
// The checked build puts a call before every access of the kernels (checks.cpp) and finds: out of bounds, uninitialised
// and misaligned accesses, races in shared and global memory, host memory touched by a kernel. Both builds find
// barriers and warp operations that threads reach differently, deadlocks, wrong masks and bad launches. The first
// fault ends the launch.
#pragma once
#include <tuple>

enum cudaError_t : int;

namespace dl {
namespace emulator {

struct Site {
  const char* file;
  int line;
};

extern uint3 thread_index, block_index;
extern dim3 block_dim, grid_dim;

int lane();
void sync_block(Site site);
void sync_warp(unsigned mask, Site site);
// All lanes of `mask` meet; the last one to come runs combine(arguments by lane, mask) for the warp.
using Combine = void (*)(void** arguments, unsigned mask);
void meet_warp(unsigned mask, Combine combine, void* argument, const char* what, Site site);
// The first fault of a launch counts. Ends the launch where a kernel runs.
void fault(const char* format, ...) __attribute__((format(printf, 1, 2)));

// One for each DL_SHARED in a kernel: laid out by the first thread of a block that comes to it.
class SharedVariable {
 public:
  constexpr SharedVariable(size_t bytes, const char* name) : bytes_(bytes), name_(name) {}
  void* get();

 private:
  size_t bytes_;
  const char* name_;
  uint64_t block_ = 0;
  void* data_ = nullptr;
};
void* dynamic_shared();
cudaError_t set_shared_limit(void* kernel, int bytes);

// What a lane of a warp reads or writes inside a warp operation such as ldmatrix.
void note_lane_access(int lane, const void* p, size_t bytes, bool write);
// Copies at the wait for its group; until then the destination must not be read.
void copy_async(void* shared, const void* global, int bytes, int source_bytes);
void commit_copies();
void wait_for_copies(int groups_left);

struct Parameters {
  void (*call)(const void* parameters);
  const void* data;
  size_t bytes;
};
void run_grid(dim3 grid, dim3 block, size_t shared_bytes, Parameters parameters, void* kernel);

template <class... P, class... A> void launch(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared, A... a) {
  struct Closure {
    void (*kernel)(P...);
    std::tuple<P...> arguments;
  };
  const Closure closure{kernel, {static_cast<P>(a)...}};
  const auto call = [](const void* p) {
    const Closure& c = *static_cast<const Closure*>(p);
    std::apply(c.kernel, c.arguments);
  };
  run_grid(grid, block, shared, {call, &closure, sizeof closure}, reinterpret_cast<void*>(kernel));
}

template <class T> struct Shuffle {
  T value;
  int from;
  T result;
};
template <class T> T shuffle(unsigned mask, T value, int from, const char* what, Site site) {
  Shuffle<T> own{value, from, value};
  const Combine combine = [](void** arguments, unsigned lanes) {
    for (int l = 0; l < 32; ++l) {
      if (!(lanes >> l & 1)) continue;
      auto* s = static_cast<Shuffle<T>*>(arguments[l]);
      if (lanes >> s->from & 1) s->result = static_cast<Shuffle<T>*>(arguments[s->from])->value;
      else fault("lane %d shuffles from lane %d, which is not in the mask %08x", l, s->from, lanes);
    }
  };
  meet_warp(mask, combine, &own, what, site);
  return own.result;
}

}  // namespace emulator
}  // namespace dl
