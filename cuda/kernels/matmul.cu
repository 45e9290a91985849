// Matrix products: bfloat16 on tensor cores, everything else with register tiles.
#include "kernels/matmul/matmul.h"

#include "cuda/core/mma.h"
#include "cuda/core/product.h"

namespace dl {
namespace {

using namespace cuda;

// Sums of integers wrap.
template <class Out> struct SumOf { using type = matmul_sum_t<Out>; };
template <> struct SumOf<int64_t> { using type = uint64_t; };
template <> struct SumOf<int32_t> { using type = uint32_t; };
template <> struct SumOf<uint8_t> { using type = uint32_t; };

// Which tile of C a block makes, of which item and part of K. Blocks of neighbouring rows of tiles follow one another,
// so that they find B in the cache.
struct Task {
  int64_t row, col, item;
  int split;
};
DL_DEVICE Task task_at(int64_t t, int64_t row_tiles, int64_t col_tiles, int splits) {
  Task task;
  task.row = t % row_tiles, t /= row_tiles;
  task.col = t % col_tiles, t /= col_tiles;
  task.split = static_cast<int>(t % splits);
  task.item = t / splits;
  return task;
}

template <class In, class Out, class S> DL_DEVICE void store(const MatmulArgs<In, Out>& p, const Item& item,
                                                             const Task& task, const Split& split, S* parts, int64_t m,
                                                             int64_t n, S sum) {
  if (m >= p.M || n >= p.N) return;
  if (split.count > 1) parts[((task.item * split.count + task.split) * p.M + m) * p.N + n] = sum;
  else finish(p, item, m, n, sum);
}

// kTile x kTile of C by 256 threads, kEach x kEach each, from tiles of kDepth terms in shared memory; the next tile is
// fetched into registers meanwhile. Threads fetch along whichever stride is 1.
template <int kTile, int kEach, class In, class Out, class S> __global__ void __launch_bounds__(256)
    tiles(MatmulArgs<In, Out> p, S* parts, Split split, int64_t row_tiles, int64_t col_tiles, int64_t tasks) {
  constexpr int kDepth = 8, kSide = kTile / kEach, kFetch = kTile * kDepth / 256;
  static_assert(kSide * kSide == 256, "256 threads make a tile");
  DL_SHARED(S, as, kDepth * kTile);
  DL_SHARED(S, bs, kDepth * kTile);
  const int thread = static_cast<int>(threadIdx.x), ty = thread / kSide, tx = thread % kSide;
  const bool a_along_k = p.a_col == 1, b_along_k = p.b_row == 1 && p.b_col != 1;
  for (int64_t t = blockIdx.x; t < tasks; t += gridDim.x) {
    const Task task = task_at(t, row_tiles, col_tiles, split.count);
    const Item item = item_at(p, task.item);
    const int64_t m0 = task.row * kTile, n0 = task.col * kTile, k0 = task.split * split.depth;
    const int64_t k1 = k0 + split.depth < p.K ? k0 + split.depth : p.K;
    S a_next[kFetch], b_next[kFetch], sum[kEach][kEach] = {};
    const auto place = [&](int e, bool along_k, int& k, int& i) {
      const int at = thread + e * 256;
      k = along_k ? at % kDepth : at / kTile;
      i = along_k ? at / kDepth : at % kTile;
    };
    const auto fetch = [&](int64_t from) {
#pragma unroll
      for (int e = 0; e < kFetch; ++e) {
        int k, i;
        place(e, a_along_k, k, i);
        const bool a_there = m0 + i < p.M && from + k < k1;
        a_next[e] = a_there ? static_cast<S>(widen(p.a[item.a + (m0 + i) * p.a_row + (from + k) * p.a_col])) : S(0);
        place(e, b_along_k, k, i);
        const bool b_there = n0 + i < p.N && from + k < k1;
        b_next[e] = b_there ? static_cast<S>(widen(p.b[item.b + (from + k) * p.b_row + (n0 + i) * p.b_col])) : S(0);
      }
    };
    fetch(k0);
    for (int64_t from = k0; from < k1; from += kDepth) {
      __syncthreads();  // the tile before has been read
#pragma unroll
      for (int e = 0; e < kFetch; ++e) {
        int k, i;
        place(e, a_along_k, k, i);
        as[k * kTile + i] = a_next[e];
        place(e, b_along_k, k, i);
        bs[k * kTile + i] = b_next[e];
      }
      __syncthreads();
      if (from + kDepth < k1) fetch(from + kDepth);
#pragma unroll
      for (int k = 0; k < kDepth; ++k) {
        S a[kEach], b[kEach];
#pragma unroll
        for (int i = 0; i < kEach; ++i) a[i] = as[k * kTile + ty + i * kSide];
#pragma unroll
        for (int j = 0; j < kEach; ++j) b[j] = bs[k * kTile + tx + j * kSide];
#pragma unroll
        for (int i = 0; i < kEach; ++i)
#pragma unroll
          for (int j = 0; j < kEach; ++j) sum[i][j] += a[i] * b[j];
      }
    }
#pragma unroll
    for (int i = 0; i < kEach; ++i)
#pragma unroll
      for (int j = 0; j < kEach; ++j)
        store(p, item, task, split, parts, m0 + ty + i * kSide, n0 + tx + j * kSide, sum[i][j]);
  }
}

// bfloat16 on tensor cores: kTile x kTile of C by warps of 32 x 32 (kTile = 64) or 64 x 32 (128); tiles of A and B of
// kDepth terms come by kStages - 1 ahead. An operand lies in shared memory as in global memory, along K or across it;
// rows are 16 bytes longer than their elements, so that the eight rows of a matrix lie in different banks.
constexpr int kDepth = 32, kStages = 3, kPad = 8;
template <int kTile> struct Warps {
  static constexpr int rows = kTile / 2, cols = 32;  // of C, of one warp
  static constexpr int threads = kTile / rows * (kTile / cols) * kWarp;
};
template <int kTile, bool kAlongK> struct Stage {
  static constexpr int rows = kAlongK ? kTile : kDepth, cols = kAlongK ? kDepth : kTile;
  static constexpr int stride = cols + kPad, size = rows * stride;
};
template <int kTile, bool kA, bool kB> constexpr size_t stage_bytes() {
  return kStages * (Stage<kTile, kA>::size + Stage<kTile, kB>::size) * sizeof(bfloat16);
}

// One operand's tile from `i0` across and `k0` along K. `along` steps over K, `across` over rows or columns of C.
template <int kTile, bool kAlongK, bool kPacked> DL_DEVICE void fetch(bfloat16* to, const bfloat16* x, int64_t i0,
                                                                      int64_t i_end, int64_t k0, int64_t k_end,
                                                                      int64_t across, int64_t along) {
  using Shape = Stage<kTile, kAlongK>;
  constexpr int kThreads = Warps<kTile>::threads;
  if constexpr (kPacked) {  // 8 elements at a time; the sizes are multiples of 8, so a pack is there or it is not
    constexpr int packs = Shape::cols / 8;
    for (int e = static_cast<int>(threadIdx.x); e < Shape::rows * packs; e += kThreads) {
      const int row = e / packs, col = e % packs * 8;
      const int64_t i = i0 + (kAlongK ? row : col), k = k0 + (kAlongK ? col : row);
      const bool there = i < i_end && k < k_end;
      copy_async(to + row * Shape::stride + col, there ? x + i * across + k * along : x, there ? 16 : 0);
    }
  } else {
    for (int e = static_cast<int>(threadIdx.x); e < Shape::rows * Shape::cols; e += kThreads) {
      const int row = e / Shape::cols, col = e % Shape::cols;
      const int64_t i = i0 + (kAlongK ? row : col), k = k0 + (kAlongK ? col : row);
      to[row * Shape::stride + col] = i < i_end && k < k_end ? x[i * across + k * along] : bfloat16{0};
    }
  }
}

template <int kTile, bool kA, bool kB, bool kPacked> __global__ void __launch_bounds__(Warps<kTile>::threads)
    tensor_tiles(MatmulArgs<bfloat16, bfloat16> p, float* parts, Split split, int64_t row_tiles, int64_t col_tiles,
                 int64_t tasks) {
  using W = Warps<kTile>;
  using A = Stage<kTile, kA>;
  using B = Stage<kTile, kB>;
  constexpr int kRows = W::rows / 16, kCols = W::cols / 8;
  DL_DYNAMIC_SHARED(bfloat16, memory);
  const int lane = static_cast<int>(threadIdx.x % kWarp), warp = static_cast<int>(threadIdx.x / kWarp);
  const int wm = warp / (kTile / W::cols) * W::rows, wn = warp % (kTile / W::cols) * W::cols;
  for (int64_t t = blockIdx.x; t < tasks; t += gridDim.x) {
    const Task task = task_at(t, row_tiles, col_tiles, split.count);
    const Item item = item_at(p, task.item);
    const int64_t m0 = task.row * kTile, n0 = task.col * kTile, k0 = task.split * split.depth;
    const int64_t k1 = k0 + split.depth < p.K ? k0 + split.depth : p.K;
    const int64_t steps = (k1 - k0 + kDepth - 1) / kDepth;
    const auto stage = [&](int64_t step) { return memory + step % kStages * (A::size + B::size); };
    const auto begin = [&](int64_t step) {
      if (step < steps) {
        const int64_t k = k0 + step * kDepth;
        fetch<kTile, kA, kPacked>(stage(step), p.a + item.a, m0, p.M, k, k1, p.a_row, p.a_col);
        fetch<kTile, kB, kPacked>(stage(step) + A::size, p.b + item.b, n0, p.N, k, k1, p.b_col, p.b_row);
      }
      commit_copies();  // a group for every step, if an empty one, so that waiting counts right
    };
    float sum[kRows][kCols][4] = {};
    for (int s = 0; s < kStages - 1; ++s) begin(s);
    for (int64_t step = 0; step < steps; ++step) {
      wait_for_copies<kStages - 2>();
      __syncthreads();  // this step's tiles are there, and the last step's have been read
      begin(step + kStages - 1);
      const bfloat16 *as = stage(step), *bs = as + A::size;
#pragma unroll
      for (int k = 0; k < kDepth; k += 16) {
        uint32_t a[kRows][4], b[kCols][2];
#pragma unroll
        for (int i = 0; i < kRows; ++i) {
          // Matrices in the order of a's registers: (rows, k), (rows + 8, k), (rows, k + 8), (rows + 8, k + 8).
          if constexpr (kA) load_matrices<false>(a[i], as + (wm + i * 16 + lane % 16) * A::stride + k + lane / 16 * 8);
          else
            load_matrices<true>(a[i], as + (k + lane % 8 + lane / 16 * 8) * A::stride + wm + i * 16 + lane / 8 % 2 * 8);
        }
#pragma unroll
        for (int j = 0; j < kCols; j += 2) {
          // (k, cols), (k + 8, cols), (k, cols + 8), (k + 8, cols + 8): two pairs of registers.
          uint32_t r[4];
          if constexpr (kB)
            load_matrices<false>(r, bs + (wn + j * 8 + lane % 8 + lane / 16 * 8) * B::stride + k + lane / 8 % 2 * 8);
          else load_matrices<true>(r, bs + (k + lane % 16) * B::stride + wn + j * 8 + lane / 16 * 8);
          b[j][0] = r[0], b[j][1] = r[1], b[j + 1][0] = r[2], b[j + 1][1] = r[3];
        }
#pragma unroll
        for (int i = 0; i < kRows; ++i)
#pragma unroll
          for (int j = 0; j < kCols; ++j) multiply_add(sum[i][j], a[i], b[j]);
      }
    }
    wait_for_copies<0>();
    __syncthreads();  // the next task fills the same memory
#pragma unroll
    for (int i = 0; i < kRows; ++i)
#pragma unroll
      for (int j = 0; j < kCols; ++j)
#pragma unroll
        for (int r = 0; r < 4; ++r)
          store(p, item, task, split, parts, m0 + wm + i * 16 + lane / 4 + r / 2 * 8,
                n0 + wn + j * 8 + lane % 4 * 2 + r % 2, sum[i][j][r]);
  }
}

// Tiles over a batch: run(parts, split, row tiles, column tiles, tasks), then the sum of the parts where K was split.
template <class In, class Out, class S, class Run>
void in_tiles(const MatmulArgs<In, Out>& p, int64_t tile, const Run& run) {
  const int64_t items = batch_of(p.batch, p.batch_dims), rows = (p.M + tile - 1) / tile, cols = (p.N + tile - 1) / tile;
  if (items * p.M * p.N == 0) return;
  const Split split = split_of(items * rows * cols, p.K);
  if (split.count == 1) return run(static_cast<S*>(nullptr), split, rows, cols, items * rows * cols);
  const Scratch<S> parts(items * split.count * p.M * p.N);
  run(parts.data(), split, rows, cols, items * split.count * rows * cols);
  const int64_t total = items * p.M * p.N;
  Launch(blocks_for(total, 256), 256, 0, "matmul")(add_parts<In, Out, S>, p, parts.data(), split.count, total);
}

unsigned grid_of(int64_t tasks) { return static_cast<unsigned>(tasks < INT32_MAX ? tasks : INT32_MAX); }

constexpr int64_t kLarge = 128;
template <class In, class Out> bool is_large(const MatmulArgs<In, Out>& p) {
  return batch_of(p.batch, p.batch_dims) * (p.M / kLarge) * (p.N / kLarge) >= 64;
}

template <class In, class Out> void matmul(const MatmulArgs<In, Out>& p) {
  using S = typename SumOf<Out>::type;
  const bool large = sizeof(S) == 4 && is_large(p);
  in_tiles<In, Out, S>(p, large ? 128 : 64, [&](S* parts, Split split, int64_t rows, int64_t cols, int64_t tasks) {
    const Launch launch(grid_of(tasks), 256, 0, "matmul");
    if constexpr (sizeof(S) == 4)
      if (large) return launch(tiles<128, 8, In, Out, S>, p, parts, split, rows, cols, tasks);
    launch(tiles<64, 4, In, Out, S>, p, parts, split, rows, cols, tasks);
  });
}

template <int kTile, bool kA, bool kB, bool kPacked> void launch_tensor_tiles(const MatmulArgs<bfloat16, bfloat16>& p) {
  in_tiles<bfloat16, bfloat16, float>(
      p, kTile, [&](float* parts, Split split, int64_t rows, int64_t cols, int64_t tasks) {
        const auto kernel = tensor_tiles<kTile, kA, kB, kPacked>;
        constexpr size_t bytes = stage_bytes<kTile, kA, kB>();
        check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)),
              "matmul");
        Launch(grid_of(tasks), Warps<kTile>::threads, bytes, "matmul")(kernel, p, parts, split, rows, cols, tasks);
      });
}
template <bool kA, bool kB, bool kPacked> void pick_tile(const MatmulArgs<bfloat16, bfloat16>& p) {
  if (is_large(p)) launch_tensor_tiles<128, kA, kB, kPacked>(p);
  else launch_tensor_tiles<64, kA, kB, kPacked>(p);
}

// Whether 8 neighbours can be fetched at once wherever they begin at a multiple of 8.
bool comes_in_packs(const bfloat16* x, int64_t step, int64_t other, int64_t size, const int64_t* batch, int dims) {
  bool packs = reinterpret_cast<uintptr_t>(x) % 16 == 0 && step == 1 && other % 8 == 0 && size % 8 == 0;
  for (int d = 0; d < dims; ++d) packs = packs && batch[d] % 8 == 0;
  return packs;
}

void matmul_bfloat16(const MatmulArgs<bfloat16, bfloat16>& p) {
  const bool a_along_k = p.a_col == 1, b_along_k = p.b_row == 1 && p.b_col != 1;
  const bool packed = comes_in_packs(p.a, a_along_k ? p.a_col : p.a_row, a_along_k ? p.a_row : p.a_col,
                                     a_along_k ? p.K : p.M, p.a_batch, p.batch_dims) &&
                      comes_in_packs(p.b, b_along_k ? p.b_row : p.b_col, b_along_k ? p.b_col : p.b_row,
                                     b_along_k ? p.K : p.N, p.b_batch, p.batch_dims);
  const auto with_packing = [&](auto pack) {
    constexpr bool kPacked = decltype(pack)::value;
    if (a_along_k && b_along_k) return pick_tile<true, true, kPacked>(p);
    if (a_along_k) return pick_tile<true, false, kPacked>(p);
    if (b_along_k) return pick_tile<false, true, kPacked>(p);
    return pick_tile<false, false, kPacked>(p);
  };
  if (packed) with_packing(std::true_type{});
  else with_packing(std::false_type{});
}

DL_REGISTER("matmul/float32", matmul, matmul_fn<float, float>)
DL_REGISTER("matmul/float64", matmul, matmul_fn<double, double>)
DL_REGISTER("matmul/int64", matmul, matmul_fn<int64_t, int64_t>)
DL_REGISTER("matmul/int32", matmul, matmul_fn<int32_t, int32_t>)
DL_REGISTER("matmul/uint8", matmul, matmul_fn<uint8_t, uint8_t>)
DL_REGISTER("matmul/bfloat16", matmul_bfloat16, matmul_fn<bfloat16, bfloat16>)

}  // namespace
}  // namespace dl
