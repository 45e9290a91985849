// Rows by index, and their gradients added up without atomics: the block of an index's first place adds up all of them.
#include "kernels/embedding/embedding.h"

#include "cuda/core/rows.h"

namespace dl {
namespace {

using namespace cuda;

template <class Piece> __global__ void __launch_bounds__(kMapThreads)
    forward_kernel(const int64_t* index, const Piece* w, Piece* y, int64_t total, int64_t pieces) {
  for (int64_t i = int64_t{blockIdx.x} * kMapThreads + threadIdx.x; i < total; i += int64_t{gridDim.x} * kMapThreads)
    y[i] = w[index[i / pieces] * pieces + i % pieces];
}

template <class Piece> bool fits(const void* w, const void* y, int64_t row_bytes) {
  constexpr size_t size = sizeof(Piece);
  return reinterpret_cast<uintptr_t>(w) % size == 0 && reinterpret_cast<uintptr_t>(y) % size == 0 &&
         row_bytes % static_cast<int64_t>(size) == 0;
}
template <class Piece> void copy_rows(const int64_t* index, const void* w, void* y, int64_t n, int64_t row_bytes) {
  const int64_t pieces = row_bytes / static_cast<int64_t>(sizeof(Piece)), total = n * pieces;
  Launch(blocks_for(total, kMapThreads), kMapThreads, 0, "embedding_forward")(
      forward_kernel<Piece>, index, static_cast<const Piece*>(w), static_cast<Piece*>(y), total, pieces);
}
void embedding_forward(const int64_t* index, const void* w, void* y, int64_t n, int64_t row_bytes) {
  if (n * row_bytes == 0) return;
  if (fits<uint4>(w, y, row_bytes)) return copy_rows<uint4>(index, w, y, n, row_bytes);
  if (fits<uint32_t>(w, y, row_bytes)) return copy_rows<uint32_t>(index, w, y, n, row_bytes);
  copy_rows<uint16_t>(index, w, y, n, row_bytes);
}

// Columns of dw that a block adds up, four a thread.
constexpr int kEach = 4, kStrip = kEach * kRowThreads;

template <class T> __global__ void __launch_bounds__(kRowThreads)
    backward_kernel(const int64_t* index, const T* dy, T* dw, int64_t n, int64_t cols, int64_t padding) {
  DL_SHARED(int, room, kRowThreads / kWarp);
  DL_SHARED(int, same, kRowThreads);
  const int64_t place = blockIdx.x, row = index[place];
  int earlier = 0;
  for (int64_t i = threadIdx.x; i < place; i += kRowThreads) earlier |= index[i] == row;
  if (block_max<kRowThreads>(earlier, room) || row == padding) return;
  for (int64_t strip = int64_t{blockIdx.y} * kStrip; strip < cols; strip += int64_t{gridDim.y} * kStrip) {
    T sum[kEach] = {};
    for (int64_t tile = place; tile < n; tile += kRowThreads) {
      const int64_t own = tile + threadIdx.x;
      same[threadIdx.x] = own < n && index[own] == row;
      __syncthreads();
      for (int i = 0; i < kRowThreads; ++i) {
        if (!same[i]) continue;
#pragma unroll
        for (int k = 0; k < kEach; ++k) {
          const int64_t c = strip + k * kRowThreads + threadIdx.x;
          if (c < cols) sum[k] += dy[(tile + i) * cols + c];
        }
      }
      __syncthreads();
    }
#pragma unroll
    for (int k = 0; k < kEach; ++k) {
      const int64_t c = strip + k * kRowThreads + threadIdx.x;
      if (c < cols) dw[row * cols + c] += sum[k];
    }
  }
}

template <class T> __global__ void __launch_bounds__(kMapThreads) clear_kernel(T* x, int64_t n) {
  for (int64_t i = int64_t{blockIdx.x} * kMapThreads + threadIdx.x; i < n; i += int64_t{gridDim.x} * kMapThreads)
    x[i] = 0;
}

template <class T> void embedding_backward(const int64_t* index, const T* dy, T* dw, int64_t n, int64_t vocabulary,
                                           int64_t cols, int64_t padding, bool add) {
  if (vocabulary * cols == 0) return;
  if (!add) Launch(blocks_for(vocabulary * cols, kMapThreads), kMapThreads)(clear_kernel<T>, dw, vocabulary * cols);
  if (n == 0) return;
  const int64_t strips = (cols + kStrip - 1) / kStrip;
  const dim3 grid(static_cast<unsigned>(n), static_cast<unsigned>(strips < 65535 ? strips : 65535));
  Launch(grid, kRowThreads)(backward_kernel<T>, index, dy, dw, n, cols, padding);
}

DL_REGISTER("embedding_forward", embedding_forward, embedding_forward_fn)
DL_REGISTER("embedding_backward/float32", embedding_backward, embedding_backward_fn<float>)
DL_REGISTER("embedding_backward/float64", embedding_backward, embedding_backward_fn<double>)

}  // namespace
}  // namespace dl
