// cudart's functions over the emulator. Faults of kernels come to light as on a device: at the next call that waits.
#include <deque>
#include <map>
#include <mutex>
#include <string>

#include "core/ranges.h"
#include "state.h"

namespace {

using namespace dl::emulator;

constexpr size_t kRedZone = 256;
constexpr size_t kQuarantine = 64;  // blocks freed last are not handed out, so that a late access is found

struct Allocator {
  std::mutex mutex;
  dl::Ranges free;
  std::map<char*, size_t> blocks;
  std::deque<dl::Range> quarantine;
  size_t reserved = 0;
};
Allocator& allocator() {
  static Allocator* const made = [] {
    auto* a = new Allocator;
    reserve_memory();
    a->free.insert({device_memory() + kRedZone, kDeviceBytes - kRedZone});
    return a;
  }();
  return *made;
}

size_t with_red_zone(size_t bytes) { return (bytes + kRedZone - 1) / kRedZone * kRedZone + kRedZone; }

std::string last_text;
cudaError_t reported = cudaSuccess;

cudaError_t surface() {
  if (!has_fault()) return cudaSuccess;
  last_text = take_fault();
  return reported = cudaErrorLaunchFailure;
}

}  // namespace

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int) {
  *p = {"the CPU (emulated)", kDeviceBytes, 8, 0};
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  *value = attribute == cudaDevAttrComputeCapabilityMajor ? 8 : 1;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int) { return cudaSuccess; }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = nullptr;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) { return surface(); }

cudaError_t cudaMallocAsync(void** data, size_t bytes, cudaStream_t) {
  Allocator& a = allocator();
  const std::lock_guard<std::mutex> lock(a.mutex);
  const size_t size = with_red_zone(bytes);
  dl::Range found = a.free.smallest(size);
  while (!found && !a.quarantine.empty()) {
    a.free.insert(a.quarantine.front());
    a.quarantine.pop_front();
    found = a.free.smallest(size);
  }
  if (!found) return cudaErrorMemoryAllocation;
  a.free.remove({found.begin, size});
  a.blocks[found.begin] = bytes;
  a.reserved += size;
  mark(found.begin, bytes, kUnset);
  std::memset(found.begin, 0xff, bytes);
  *data = found.begin;
  return cudaSuccess;
}
cudaError_t cudaFreeAsync(void* data, cudaStream_t) {
  Allocator& a = allocator();
  const std::lock_guard<std::mutex> lock(a.mutex);
  const auto block = a.blocks.find(static_cast<char*>(data));
  if (block == a.blocks.end()) return cudaErrorInvalidValue;
  const size_t bytes = block->second, size = with_red_zone(bytes);
  a.blocks.erase(block);
  a.reserved -= size;
  mark(data, bytes, kFree);
  a.quarantine.push_back({static_cast<char*>(data), size});
  if (a.quarantine.size() > kQuarantine) {
    a.free.insert(a.quarantine.front());
    a.quarantine.pop_front();
  }
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* data, int value, size_t bytes, cudaStream_t) {
  std::memset(data, value, bytes);
  mark(data, bytes, kSet);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t) {
  if (const cudaError_t error = surface()) return error;
  if (size_t at; kind == cudaMemcpyDeviceToHost && !is_set(from, bytes, at)) {
    last_text = "copy to the host of device memory that is unset or not allocated, at byte " + std::to_string(at) +
                " of " + std::to_string(bytes);
    return reported = cudaErrorLaunchFailure;
  }
  std::memcpy(to, from, bytes);
  if (kind != cudaMemcpyDeviceToHost) mark(to, bytes, kSet);
  return cudaSuccess;
}

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int) {
  *pool = nullptr;
  return cudaSuccess;
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) { return cudaSuccess; }
cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t, cudaMemPoolAttr, void* value) {
  Allocator& a = allocator();
  const std::lock_guard<std::mutex> lock(a.mutex);
  const uint64_t reserved = a.reserved;
  std::memcpy(value, &reserved, sizeof reserved);
  return cudaSuccess;
}
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, size_t) { return cudaSuccess; }

// Right after a launch only what is wrong with the launch itself is known.
cudaError_t cudaGetLastError() {
  const cudaError_t error = reported;
  reported = cudaSuccess;
  if (error == cudaSuccess && has_fault() && is_launch_fault()) {
    last_text = take_fault();
    return cudaErrorInvalidConfiguration;
  }
  return error;
}
const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorLaunchFailure:
    case cudaErrorInvalidConfiguration: return last_text.c_str();
    default: return "invalid argument";
  }
}
