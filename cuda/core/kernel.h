// What kernels include: the only place where they meet the compiler. Every wrapper has two branches, one for nvcc and
// one for g++ with the emulator (cuda/host), which runs the same file on the CPU.
//
// Rules for kernels: C++17; full-warp masks, no atomics, no waiting on other blocks, a fixed order for every sum, so
// that results are the same bits every run; static or dynamic shared memory, not both in one kernel.
#pragma once
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "core/bfloat16.h"
#include "cuda/core/stream.h"
#include "dispatch/kernel.h"

#define DL_DEVICE __device__ __forceinline__

#if defined(DL_CUDA_EMULATED)
#define DL_SHARED(T, name, count)                                                    \
  static ::dl::emulator::SharedVariable name##_variable(sizeof(T) * (count), #name); \
  T* const name = static_cast<T*>(name##_variable.get())
#define DL_DYNAMIC_SHARED(T, name) T* const name = static_cast<T*>(::dl::emulator::dynamic_shared())
#else
#define DL_SHARED(T, name, count) __shared__ __align__(16) T name[count]
#define DL_DYNAMIC_SHARED(T, name)                                    \
  extern __shared__ __align__(128) unsigned char dl_dynamic_shared[]; \
  T* const name = reinterpret_cast<T*>(dl_dynamic_shared)
#endif

namespace dl {
namespace cuda {

// Launch(grid, block)(kernel, arguments...). The name of the calling function stands in errors.
class Launch {
 public:
  Launch(dim3 grid, dim3 block, size_t shared_bytes = 0, const char* op = __builtin_FUNCTION())
      : grid_(grid), block_(block), shared_bytes_(shared_bytes), op_(op) {}

  template <class... P, class... A> void operator()(void (*kernel)(P...), A... a) const {
#if defined(DL_CUDA_EMULATED)
    emulator::launch(kernel, grid_, block_, shared_bytes_, a...);
#else
    // clang-format off
    kernel<<<grid_, block_, shared_bytes_, stream()>>>(static_cast<P>(a)...);
    // clang-format on
#endif
    after_launch(op_);
  }

 private:
  dim3 grid_, block_;
  size_t shared_bytes_;
  const char* op_;
};

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

// Blocks of a grid-stride loop over n items: enough to fill the largest GPU several times over.
constexpr int64_t kMostBlocks = 132 * 16;
inline unsigned blocks_for(int64_t n, int64_t per_block) {
  const int64_t blocks = (n + per_block - 1) / per_block;
  return static_cast<unsigned>(blocks < kMostBlocks ? blocks : kMostBlocks);
}

// Numbers: storage to the type of the computation and back. float64 computes in double, everything else floating in
// float.
template <class T> struct ComputeOf { using type = T; };
template <> struct ComputeOf<bfloat16> { using type = float; };
template <class T> using Compute = typename ComputeOf<T>::type;

template <class T> DL_DEVICE Compute<T> widen(T v) { return v; }
template <> DL_DEVICE float widen(bfloat16 v) { return __uint_as_float(static_cast<unsigned>(v.bits) << 16); }
template <class T, class C> DL_DEVICE T narrow(C v) {
  if constexpr (std::is_same_v<T, bfloat16>) {
    const unsigned bits = __float_as_uint(static_cast<float>(v));
    if ((bits & 0x7fffffffu) > 0x7f800000u) return {static_cast<uint16_t>((bits >> 16) | 0x40u)};
    return {static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
  } else {
    return static_cast<T>(v);
  }
}

template <class T> DL_DEVICE T lane_xor(T v, int step) {
  if constexpr (sizeof(T) < 4) return static_cast<T>(__shfl_xor_sync(kAllLanes, static_cast<int>(v), step));
  else return __shfl_xor_sync(kAllLanes, v, step);
}
// NaN where any lane has one.
template <class T> DL_DEVICE T larger_or_nan(T a, T b) { return a > b || a != a ? a : b; }

// What all threads of a block of kThreads combine to, given to every one of them. `room` is shared memory for kThreads
// / kWarp values, free again afterwards.
template <int kThreads, class T, class Op> DL_DEVICE T block_combine(T v, T* room, Op op) {
  if constexpr (kThreads > 1) {
#pragma unroll
    for (int step = kWarp / 2; step > 0; step /= 2) v = op(v, lane_xor(v, step));
  }
  if constexpr (kThreads > kWarp) {
    if (threadIdx.x % kWarp == 0) room[threadIdx.x / kWarp] = v;
    __syncthreads();
    v = room[0];
#pragma unroll
    for (int w = 1; w < kThreads / kWarp; ++w) v = op(v, room[w]);
    __syncthreads();
  }
  return v;
}
struct AddUp {
  template <class T> DL_DEVICE T operator()(T a, T b) const { return a + b; }
};
struct Largest {
  template <class T> DL_DEVICE T operator()(T a, T b) const { return larger_or_nan(a, b); }
};
template <int kThreads, class T> DL_DEVICE T block_sum(T v, T* room) {
  return block_combine<kThreads>(v, room, AddUp{});
}
template <int kThreads, class T> DL_DEVICE T block_max(T v, T* room) {
  return block_combine<kThreads>(v, room, Largest{});
}

// Memory for the kernels of one call; what follows on the stream may take it over at once.
template <class T> class Scratch {
 public:
  explicit Scratch(int64_t count) : bytes_(static_cast<size_t>(count) * sizeof(T)), data_(allocate_scratch(bytes_)) {}
  ~Scratch() { release_scratch(data_, bytes_); }
  Scratch(const Scratch&) = delete;
  T* data() const { return static_cast<T*>(data_); }

 private:
  size_t bytes_;
  void* data_;
};

}  // namespace cuda
}  // namespace dl
