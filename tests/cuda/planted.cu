// Kernels with a fault each, and some without: what the emulator reports of them, a line each. See test_emulator.py.
#include <cstdio>
#include <string>

#include "cuda/core/mma.h"

using namespace dl;
using namespace dl::cuda;

namespace {

__global__ void right(const float* x, float* y) {
  DL_SHARED(float, s, 64);
  s[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = s[63 - threadIdx.x];
}
__global__ void right_in_a_warp(const float*, float* y) {
  DL_SHARED(float, s, 32);
  s[threadIdx.x] = 1;
  __syncwarp();
  y[threadIdx.x] = s[threadIdx.x ^ 1];
}
__global__ void right_sums(const float* x, float* y) {
  DL_SHARED(float, room, 2);
  const float sum = block_sum<64>(x[threadIdx.x], room);
  if (threadIdx.x == 0) y[blockIdx.x] = sum;
}
__global__ void right_copy(const float* x, float* y) {
  DL_SHARED(float, s, 256);
  copy_async(s + threadIdx.x * 4, x + threadIdx.x * 4, 16);
  commit_copies();
  wait_for_copies<0>();
  __syncthreads();
  y[threadIdx.x] = s[(63 - threadIdx.x) * 4];
}

__global__ void missing_sync(const float*, float* y) {
  DL_SHARED(float, s, 64);
  s[threadIdx.x] = 1;
  y[threadIdx.x] = s[63 - threadIdx.x];
}
__global__ void missing_sync_in_a_loop(const float*, float* y) {
  DL_SHARED(float, s, 64);
  float sum = 0;
  for (int i = 0; i < 4; ++i) {
    s[threadIdx.x] = static_cast<float>(i);
    __syncthreads();
    sum += s[63 - threadIdx.x];
  }
  y[threadIdx.x] = sum;
}
__global__ void missing_syncwarp(const float*, float* y) {
  DL_SHARED(float, s, 32);
  s[threadIdx.x] = 1;
  y[threadIdx.x] = s[threadIdx.x ^ 1];
}
__global__ void shared_out_of_bounds(const float*, float* y) {
  DL_SHARED(float, s, 64);
  s[threadIdx.x + 1] = 1;
  y[threadIdx.x] = 1;
}
__global__ void shared_unset(const float*, float* y) {
  DL_SHARED(float, s, 64);
  if (threadIdx.x < 63) s[threadIdx.x] = 1;
  __syncthreads();
  y[threadIdx.x] = s[threadIdx.x];
}
__global__ void global_out_of_bounds(const float*, float* y) { y[threadIdx.x + 1] = 0; }
__global__ void global_before_the_start(const float* x, float* y) {
  y[threadIdx.x] = x[static_cast<int>(threadIdx.x) - 1];
}
__global__ void global_unset(const float*, float* y) { y[threadIdx.x] += 1; }
__global__ void race_of_blocks(const float* x, float* y) { y[0] = x[blockIdx.x]; }
__global__ void race_of_blocks_by_reading(const float*, float* y) {
  if (blockIdx.x == 0) y[threadIdx.x] = 1;
  else y[64 + threadIdx.x] = y[threadIdx.x];
}
__global__ void race_in_global_memory_within_a_block(const float*, float* y) {
  y[threadIdx.x] = 1;
  y[64 + threadIdx.x] = y[63 - threadIdx.x];
}
__global__ void misaligned(const float* x, float* y) {
  if (threadIdx.x == 0) *reinterpret_cast<float4*>(y) = *reinterpret_cast<const float4*>(x + 1);
}
__global__ void divergent_barrier(const float*, float* y) {
  if (threadIdx.x < 32) {
    y[threadIdx.x] = 1;
    __syncthreads();
  } else {
    __syncthreads();
  }
}
__global__ void deadlock(const float*, float* y) {
  if (threadIdx.x % 32 < 16) y[threadIdx.x] = __shfl_xor_sync(kAllLanes, 1.0f, 1);
  else __syncthreads();
}
__global__ void lane_that_is_not_there(const float*, float* y) {
  float v = 0;
  if (threadIdx.x < 20) v = __shfl_down_sync(0x000fffffu, 1.0f, 16);
  y[threadIdx.x] = v;
}
__global__ void lane_not_in_its_mask(const float*, float* y) { y[threadIdx.x] = __shfl_xor_sync(0x0000ffffu, 1.0f, 1); }
__global__ void lane_that_has_ended(const float*, float* y) {
  if (threadIdx.x == 3) return;
  y[threadIdx.x] = __shfl_xor_sync(kAllLanes, 1.0f, 1);
}
__global__ void copy_without_wait(const float* x, float* y) {
  DL_SHARED(float, s, 256);
  copy_async(s + threadIdx.x * 4, x + threadIdx.x * 4, 16);
  commit_copies();
  __syncthreads();
  y[threadIdx.x] = s[threadIdx.x * 4];
}
__global__ void copy_without_sync(const float* x, float* y) {
  DL_SHARED(float, s, 256);
  copy_async(s + threadIdx.x * 4, x + threadIdx.x * 4, 16);
  commit_copies();
  wait_for_copies<0>();
  y[threadIdx.x] = s[(63 - threadIdx.x) * 4];
}
__global__ void misaligned_copy(const float* x, float* y) {
  DL_SHARED(float, s, 256);
  if (threadIdx.x == 0) copy_async(s, x + 1, 16);
  y[threadIdx.x] = 1;
}
__global__ void host_memory(const float* x, float* y) { y[threadIdx.x] = x[threadIdx.x]; }
__global__ void local_array_out_of_bounds(const float* x, float* y) {
  float v[4] = {1, 2, 3, 4};
  y[threadIdx.x] = v[static_cast<int>(x[0]) + threadIdx.x];
}

using Kernel = void (*)(const float*, float*);

void report(const char* name, Kernel kernel, unsigned blocks, unsigned threads, size_t shared = 0,
            bool on_host = false) {
  void *x = nullptr, *y = nullptr;
  cudaMallocAsync(&x, 1024, nullptr);
  cudaMallocAsync(&y, 512, nullptr);
  cudaMemsetAsync(x, 0, 1024, nullptr);
  if (std::string(name).rfind("global_out", 0) == 0) {  // exactly as long as the threads need
    cudaFreeAsync(y, nullptr);
    cudaMallocAsync(&y, threads * sizeof(float), nullptr);
  }
  float* const heap = new float[64]();
  emulator::launch(kernel, dim3(blocks), dim3(threads), shared, on_host ? heap : static_cast<const float*>(x),
                   static_cast<float*>(y));
  cudaError_t error = cudaGetLastError();
  if (error == cudaSuccess) error = cudaStreamSynchronize(nullptr);
  std::printf("%s: %s\n", name, cudaGetErrorString(error));
  cudaGetLastError();
  delete[] heap;
  cudaFreeAsync(x, nullptr);
  cudaFreeAsync(y, nullptr);
}

}  // namespace

// With any argument also those that only the checked build survives.
int main(int count, char**) {
#define REPORT(kernel, blocks, threads) report(#kernel, kernel, blocks, threads)
  const bool accesses = count > 1;
  REPORT(right, 1, 64);
  REPORT(right_in_a_warp, 1, 32);
  REPORT(right_sums, 3, 64);
  REPORT(right_copy, 1, 64);
  REPORT(divergent_barrier, 1, 64);
  REPORT(deadlock, 1, 64);
  REPORT(lane_that_is_not_there, 1, 32);
  REPORT(lane_not_in_its_mask, 1, 32);
  REPORT(lane_that_has_ended, 1, 32);
  REPORT(misaligned_copy, 1, 32);
  if (accesses) {
    REPORT(missing_sync, 1, 64);
    REPORT(missing_sync_in_a_loop, 1, 64);
    REPORT(missing_syncwarp, 1, 32);
    REPORT(shared_out_of_bounds, 1, 64);
    REPORT(shared_unset, 1, 64);
    REPORT(global_out_of_bounds, 1, 64);
    REPORT(global_before_the_start, 1, 64);
    REPORT(global_unset, 1, 64);
    REPORT(race_of_blocks, 2, 1);
    REPORT(race_of_blocks_by_reading, 2, 64);
    REPORT(race_in_global_memory_within_a_block, 1, 64);
    REPORT(misaligned, 1, 32);
    REPORT(copy_without_wait, 1, 64);
    REPORT(copy_without_sync, 1, 64);
    REPORT(local_array_out_of_bounds, 1, 32);
    report("host_memory", host_memory, 1, 32, 0, true);
  }
  report("too_much_shared_memory", right, 1, 64, 60000);
  report("too_many_threads", right, 1, 2048);
  report("no_threads", right, 1, 0);
  report("no_blocks", right, 0, 64);
  REPORT(right, 1, 64);  // after all that
  return 0;
}
