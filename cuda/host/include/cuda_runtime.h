// CUDA's language and runtime as far as our kernels use them, for g++: what nvcc and cudart provide elsewhere. A kernel
// that uses anything else does not compile here, and so is not untested unnoticed. Atomics are left out on purpose:
// results must be the same bits every run. `__shared__` is too: see DL_SHARED in cuda/core/kernel.h.
#pragma once
#include <math.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)

struct uint3 { unsigned x, y, z; };
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };

#include "emulator.h"

#define threadIdx (::dl::emulator::thread_index)
#define blockIdx (::dl::emulator::block_index)
#define blockDim (::dl::emulator::block_dim)
#define gridDim (::dl::emulator::grid_dim)

// Where in the kernel a call stands.
#define DL_SITE_PARAMETERS const char *file_ = __builtin_FILE(), int line_ = __builtin_LINE()
#define DL_SITE (::dl::emulator::Site{file_, line_})

inline void __syncthreads(DL_SITE_PARAMETERS) { dl::emulator::sync_block(DL_SITE); }
inline void __syncwarp(unsigned mask = 0xffffffffu, DL_SITE_PARAMETERS) { dl::emulator::sync_warp(mask, DL_SITE); }
template <class T> T __shfl_xor_sync(unsigned mask, T v, int x, int width = 32, DL_SITE_PARAMETERS) {
  const int lane = dl::emulator::lane(), from = lane ^ x;
  return dl::emulator::shuffle(mask, v, from / width > lane / width ? lane : from, "__shfl_xor_sync", DL_SITE);
}
template <class T> T __shfl_sync(unsigned mask, T v, int from, int width = 32, DL_SITE_PARAMETERS) {
  const int lane = dl::emulator::lane();
  return dl::emulator::shuffle(mask, v, (lane & ~(width - 1)) + (from & (width - 1)), "__shfl_sync", DL_SITE);
}
template <class T> T __shfl_up_sync(unsigned mask, T v, unsigned by, int width = 32, DL_SITE_PARAMETERS) {
  const int lane = dl::emulator::lane();
  const bool inside = (lane & (width - 1)) >= static_cast<int>(by);
  return dl::emulator::shuffle(mask, v, inside ? lane - static_cast<int>(by) : lane, "__shfl_up_sync", DL_SITE);
}
template <class T> T __shfl_down_sync(unsigned mask, T v, unsigned by, int width = 32, DL_SITE_PARAMETERS) {
  const int lane = dl::emulator::lane();
  const bool inside = (lane & (width - 1)) + static_cast<int>(by) < width;
  return dl::emulator::shuffle(mask, v, inside ? lane + static_cast<int>(by) : lane, "__shfl_down_sync", DL_SITE);
}

inline float __uint_as_float(unsigned bits) {
  float f;
  std::memcpy(&f, &bits, sizeof f);
  return f;
}
inline unsigned __float_as_uint(float f) {
  unsigned bits;
  std::memcpy(&bits, &f, sizeof bits);
  return bits;
}
inline uint64_t __umul64hi(uint64_t a, uint64_t b) {
  return static_cast<uint64_t>(static_cast<unsigned __int128>(a) * b >> 64);
}

using cudaStream_t = struct CUstream_st*;
using cudaMemPool_t = struct CUmemPoolHandle_st*;
enum cudaError_t : int {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorNoDevice = 100,
  cudaErrorLaunchFailure = 719,
};
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2, cudaMemcpyDeviceToDevice = 3 };
enum cudaDeviceAttr { cudaDevAttrComputeCapabilityMajor = 75, cudaDevAttrMemoryPoolsSupported = 115 };
enum cudaMemPoolAttr { cudaMemPoolAttrReleaseThreshold = 4, cudaMemPoolAttrReservedMemCurrent = 5 };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
constexpr unsigned cudaStreamNonBlocking = 1;
struct cudaDeviceProp {
  char name[256];
  size_t totalGlobalMem;
  int major, minor;
};

cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaMallocAsync(void** data, size_t bytes, cudaStream_t stream);
cudaError_t cudaFreeAsync(void* data, cudaStream_t stream);
cudaError_t cudaMemsetAsync(void* data, int value, size_t bytes, cudaStream_t stream);
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int device);
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value);
cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value);
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t pool, size_t bytes);
cudaError_t cudaGetLastError();
const char* cudaGetErrorString(cudaError_t error);
template <class... P> cudaError_t cudaFuncSetAttribute(void (*kernel)(P...), cudaFuncAttribute, int bytes) {
  return dl::emulator::set_shared_limit(reinterpret_cast<void*>(kernel), bytes);
}
