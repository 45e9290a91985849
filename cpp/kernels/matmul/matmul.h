// C = act(A · B + bias), the contract of the matmul family.
//
//   pre[m, n] = sum_k A[m, k] B[k, n]  (+ C[m, n] when accumulate)  (+ bias[n])  (+ bias_m[m])  (+ residual[m, n])
//   C[m, n]   = activation(pre[m, n])
//
// A, B have any strides (all four transposes; 0 and negative too); rows of C are contiguous. Each batch dimension has
// its own strides, 0 broadcasts. C may overlap neither A, B, a bias nor itself. bfloat16 inputs are widened exactly
// and summed in float32, to be rounded once, at the end; denormals may count as zero there. K = 0 gives zeros (+ C, +
// bias). NaN and infinities follow the sum. The order of every sum is a function of the sizes and strides alone, so the
// bits do not depend on the number of threads. Integers wrap around and have no bias, residual or activation; float64
// sums in float64.
#pragma once
#include <cstdint>

#include "core/bfloat16.h"

namespace dl {

enum class MatmulActivation : int32_t { none, relu, gelu, gelu_tanh };

constexpr int kMatmulBatchDims = 6;

template <class Out> struct MatmulSum { using type = Out; };
template <> struct MatmulSum<bfloat16> { using type = float; };
template <class Out> using matmul_sum_t = typename MatmulSum<Out>::type;

template <class In, class Out> struct MatmulArgs {
  const In* a;  // (batch..., M, K)
  const In* b;  // (batch..., K, N)
  Out* c;       // (batch..., M, N)
  int64_t M, N, K;
  int64_t a_row, a_col, b_row, b_col, c_row;  // strides in elements
  int batch_dims;
  int64_t batch[kMatmulBatchDims], a_batch[kMatmulBatchDims], b_batch[kMatmulBatchDims], c_batch[kMatmulBatchDims];
  bool accumulate;
  const matmul_sum_t<Out>* bias;    // (N,) or null
  const matmul_sum_t<Out>* bias_m;  // (M,) or null
  const Out* residual;              // strides of c; or null
  Out* pre;                         // strides of c, what the activation's gradient needs; or null
  MatmulActivation activation;
  matmul_sum_t<Out>* workspace;     // matmul_workspace() elements, 64-byte aligned; may be null when that is 0
  const matmul_sum_t<Out>* packed;  // what matmul_pack made of b, where there is no batch; or null
};

template <class In, class Out> using matmul_fn = void (*)(const MatmulArgs<In, Out>& args);

// packed = b as the product of the same target reads it where matmul_shares_b(): matmul_packed() elements, 64-byte
// aligned. Of `args` only b, its strides, N and K are read.
template <class In, class Out>
using matmul_pack_fn = void (*)(const MatmulArgs<In, Out>& args, matmul_sum_t<Out>* packed);

// Shapes decide how a product is cut, on every instruction set alike.
//
// From kMatmulSharedRows rows on, more than one block of rows, B is packed once for all blocks of C, at most
// kMatmulPackedDepth x kMatmulPackedCols at a time (16 MiB of float32: stays in the outer cache, and is far more than
// it costs to wait for the other threads).
constexpr int64_t kMatmulSharedRows = 169;
constexpr int64_t kMatmulPackedCols = 4096;
constexpr int64_t kMatmulPackedSize = int64_t{4} << 20;
// A small C over a long K is cut along K, so that there is work for every thread; the parts are added in order.
constexpr int64_t kMatmulSplitDepth = 8192;
constexpr int64_t kMatmulMaxSplits = 16;

static inline int64_t matmul_splits(int64_t M, int64_t N, int64_t K, int64_t batch) {
  if (M * N * batch > 64 * 64 || K < 2 * kMatmulSplitDepth) return 1;
  const int64_t splits = K / kMatmulSplitDepth;
  return splits < kMatmulMaxSplits ? splits : kMatmulMaxSplits;
}

static inline int64_t matmul_packed_cols(int64_t N) {
  const int64_t padded = (N + 63) / 64 * 64;
  return padded < kMatmulPackedCols ? padded : kMatmulPackedCols;
}

// A multiple of every blocking of K, or all of K and what a panel may add to it.
static inline int64_t matmul_packed_depth(int64_t N, int64_t K) {
  const int64_t depth = kMatmulPackedSize / matmul_packed_cols(N) / 1024 * 1024;
  return K < depth ? (K + 31) / 32 * 32 : depth;
}

// All parts of B, one after the other.
static inline int64_t matmul_packed(int64_t N, int64_t K) {
  const int64_t cols = matmul_packed_cols(N), depth = matmul_packed_depth(N, K);
  return (N + cols - 1) / cols * ((K + depth - 1) / depth) * cols * depth;
}

// Worth two rounds through the thread pool: C has several blocks of rows, and a batch gives too few blocks.
static inline bool matmul_shares_b(int64_t M, int64_t N, int64_t K, int64_t batch) {
  return M >= kMatmulSharedRows && N * K >= (batch == 1 ? 128 * 128 : 256 * 256);
}

// B is shared part by part: sums that C cannot hold meanwhile stay in the workspace.
template <class Out> static inline bool matmul_keeps_sums(int64_t N, int64_t K) {
  return sizeof(Out) != sizeof(matmul_sum_t<Out>) && K > matmul_packed_depth(N, K);
}

template <class Out> static inline int64_t matmul_workspace(int64_t M, int64_t N, int64_t K, int64_t batch) {
  const int64_t splits = matmul_splits(M, N, K, batch);
  if (splits > 1) return splits * M * N * batch;
  if (!matmul_shares_b(M, N, K, batch)) return 0;
  return matmul_packed_cols(N) * matmul_packed_depth(N, K) + (matmul_keeps_sums<Out>(N, K) ? M * N : 0);
}

// At least what one product with up to K terms needs, whose sums are of C's type.
static inline int64_t matmul_workspace_up_to(int64_t M, int64_t N, int64_t K) {
  const int64_t split = K < 2 * kMatmulSplitDepth ? 0 : kMatmulMaxSplits * 64 * 64;
  const int64_t shared = M < kMatmulSharedRows ? 0 : matmul_packed_cols(N) * matmul_packed_depth(N, K);
  return split > shared ? split : shared;
}

}  // namespace dl
