// What the emulator's files share: the running launch, its threads, and the checked build's view of memory.
#pragma once
#include <cuda_runtime.h>

#include <string>

namespace dl {
namespace emulator {

constexpr unsigned kMaxThreads = 1024;
constexpr size_t kStackBytes = size_t{64} << 10;
constexpr size_t kSharedBytes = size_t{1} << 20;    // of addresses, red zones included
constexpr size_t kSharedLimit = size_t{227} << 10;  // what a block may ask for on sm_90; 99 KiB on sm_86
constexpr size_t kDeviceBytes = size_t{4} << 30;

// State of a byte of shared or device memory.
enum Byte : unsigned char { kFree, kUnset, kSet };

// Now and for whom: accesses are compared by it.
struct Moment {
  unsigned thread;                     // within the block
  unsigned warp_epoch;                 // warp-wide synchronisations of its warp so far
  unsigned epoch;                      // grows with every barrier and every block
  unsigned block_start, launch_start;  // the epochs at which this block and this launch began
};

extern bool in_kernel;  // between a kernel's own instructions, not the emulator's
extern bool checked;    // checks.cpp is linked
Moment now();
bool is_parameter(const void* p, size_t bytes);  // of the kernel that runs
void check_access(const void* p, size_t bytes, bool write, const void* code);
std::string place_of(const void* code);  // file and line

char* stacks();
// Memory: the checked build keeps the state of every byte and the last accesses of every word.
void reserve_memory();
char* device_memory();
char* shared_memory();
void mark(const void* p, size_t bytes, Byte state);
bool is_set(const void* p, size_t bytes, size_t& first_unset);
void forget_shared(size_t bytes);

std::string take_fault();  // of the launches since it was last taken; empty: none
bool has_fault();
bool is_launch_fault();  // the launch itself was refused

}  // namespace emulator
}  // namespace dl
