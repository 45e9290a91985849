// The device as the core sees it: whether there is one, its memory, copies. Memory comes from CUDA's own stream-ordered
// pool, told to keep what is freed: a block may be handed out again as soon as it is freed, since everything runs in
// the order of one stream.
#include <cstdlib>
#include <mutex>

#include "core/check.h"
#include "core/device_library.h"
#include "cuda/core/stream.h"

namespace dl {
namespace cuda {
namespace {

constexpr int kOldestMajor = 8;  // sm_80: cp.async, mma.sync of bfloat16

std::string text_of(cudaError_t error) { return cudaGetErrorString(error); }

class CudaLibrary final : public DeviceLibrary {
 public:
  std::string why_not() override {
    std::call_once(once_, [this] { why_not_ = open(); });
    return why_not_;
  }
  int count() override { return count_; }
  std::string description() override {
    require();
    cudaDeviceProp p;
    check(cudaGetDeviceProperties(&p, 0), "cudaGetDeviceProperties");
    return cat(p.name, ", ", p.totalGlobalMem >> 20, " MiB, sm_", p.major, p.minor);
  }

  void* allocate(size_t bytes) override {
    require();
    if (bytes == 0) return nullptr;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (stats_.limit && stats_.live + bytes > stats_.limit) refuse(bytes, "the limit would be passed");
      stats_.live += bytes;
      ++stats_.allocations;
    }
    void* data = nullptr;
    cudaError_t error = cudaMallocAsync(&data, bytes, stream_);
    if (error == cudaErrorMemoryAllocation) {  // what is free but in pieces may do as a whole
      cudaGetLastError();
      cudaStreamSynchronize(stream_);
      cudaMemPoolTrimTo(pool_, 0);
      error = cudaMallocAsync(&data, bytes, stream_);
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    if (error != cudaSuccess) {
      cudaGetLastError();
      stats_.live -= bytes;
      if (error == cudaErrorMemoryAllocation) refuse(bytes, "the device has no more memory");
      check(error, "cudaMallocAsync");
    }
    stats_.peak = stats_.live > stats_.peak ? stats_.live : stats_.peak;
    return data;
  }

  void release(void* data, size_t bytes) noexcept override {
    if (!data) return;
    cudaFreeAsync(data, stream_);  // fails only when the process ends, or after an error that is raised elsewhere
    const std::lock_guard<std::mutex> lock(mutex_);
    stats_.live -= bytes;
  }

  void clear(void* data, size_t bytes) override {
    require();
    if (bytes) check(cudaMemsetAsync(data, 0, bytes, stream_), "zeros");
  }

  void copy(void* to, Device to_device, const void* from, Device from_device, size_t bytes) override {
    require();
    if (bytes == 0) return;
    const bool to_host = to_device == Device::cpu, from_host = from_device == Device::cpu;
    const cudaMemcpyKind kind = to_host     ? cudaMemcpyDeviceToHost
                                : from_host ? cudaMemcpyHostToDevice
                                            : cudaMemcpyDeviceToDevice;
    check(cudaMemcpyAsync(to, from, bytes, kind, stream_), "to");
    // Pageable memory is read before the call returns; what is written must be waited for.
    if (to_host) check(cudaStreamSynchronize(stream_), "to");
  }

  void synchronize() override {
    require();
    check(cudaStreamSynchronize(stream_), "synchronize");
  }

  MemoryStats stats() override {
    require();
    uint64_t reserved = 0;
    check(cudaMemPoolGetAttribute(pool_, cudaMemPoolAttrReservedMemCurrent, &reserved), "memory_stats");
    const std::lock_guard<std::mutex> lock(mutex_);
    MemoryStats s = stats_;
    s.cached = reserved > s.live ? static_cast<size_t>(reserved) - s.live : 0;
    return s;
  }
  void reset_peak() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    stats_.peak = stats_.live;
  }
  void set_limit(size_t bytes) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    stats_.limit = bytes;
  }
  void empty_cache() override {
    require();
    check(cudaStreamSynchronize(stream_), "empty_cache");
    check(cudaMemPoolTrimTo(pool_, 0), "empty_cache");
  }

  cudaStream_t stream() const { return stream_; }
  bool synchronous() const { return synchronous_; }

 private:
  std::string open() {
    if (const cudaError_t error = cudaGetDeviceCount(&count_); error != cudaSuccess || count_ == 0) {
      cudaGetLastError();
      const std::string why = error == cudaSuccess ? "there is no GPU" : text_of(error);
      count_ = 0;
      return why;
    }
    int major = 0, pools = 0;
    cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0);
    cudaDeviceGetAttribute(&pools, cudaDevAttrMemoryPoolsSupported, 0);
    if (major < kOldestMajor)
      return cat("the GPU is of compute capability ", major, ".x, the kernels need ", kOldestMajor, ".0 or newer");
    if (!pools) return "the GPU's driver has no memory pools";
    for (const cudaError_t error : {cudaSetDevice(0), cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking),
                                    cudaDeviceGetDefaultMemPool(&pool_, 0)})
      if (error != cudaSuccess) return text_of(error);
    uint64_t keep = UINT64_MAX;
    if (const cudaError_t error = cudaMemPoolSetAttribute(pool_, cudaMemPoolAttrReleaseThreshold, &keep);
        error != cudaSuccess)
      return text_of(error);
    const char* sync = std::getenv("DLCORE_CUDA_SYNC");
    synchronous_ = sync && std::string(sync) == "1";
    return "";
  }

  void require() {
    if (!why_not().empty()) throw UnsupportedError(cat("[cuda] ", why_not_));
  }

  [[noreturn]] void refuse(size_t bytes, const char* reason) {
    throw MemoryError(cat("[memory] cannot allocate ", bytes, " bytes on cuda: ", reason, "; live ", stats_.live,
                          " bytes, limit ", stats_.limit ? cat(stats_.limit, " bytes") : "none"));
  }

  std::once_flag once_;
  std::string why_not_;
  int count_ = 0;
  cudaStream_t stream_ = nullptr;
  cudaMemPool_t pool_ = nullptr;
  bool synchronous_ = false;
  std::mutex mutex_;
  MemoryStats stats_;
};

CudaLibrary& library() {
  static auto* const made = new CudaLibrary;  // tensors may outlive static destruction
  return *made;
}

[[maybe_unused]] const bool registered = register_device(Device::cuda, &library());

}  // namespace

cudaStream_t stream() { return library().stream(); }

void check(cudaError_t error, const char* op) {
  if (error != cudaSuccess) throw std::runtime_error(cat("[", op, "] CUDA: ", text_of(error)));
}

void after_launch(const char* op) {
  check(cudaGetLastError(), op);
  if (library().synchronous()) check(cudaStreamSynchronize(library().stream()), op);
}

void* allocate_scratch(size_t bytes) { return library().allocate(bytes); }
void release_scratch(void* data, size_t bytes) noexcept { library().release(data, bytes); }

}  // namespace cuda
}  // namespace dl
