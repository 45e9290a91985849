// Integer products: a row of C gathers multiples of B's rows, a loop that the compiler vectorises.
#include "core/parallel.h"
#include "dispatch/kernel.h"
#include "kernels/matmul/batch.h"

namespace dl {
namespace {

// Wraps around: the sums are unsigned.
template <class T, class Unsigned> void matmul_integer(const MatmulArgs<T, T>& args) {
  constexpr int64_t kTile = 512;  // of a row of C, kept in the first-level cache
  const int64_t rows_a_block = 1 + (1 << 17) / (1 + args.N * args.K);
  parallel_for(batch_count(args) * args.M, rows_a_block, [&](int64_t begin, int64_t end) {
    Unsigned sum[kTile];
    for (int64_t row = begin; row < end; ++row) {
      const MatmulArgs<T, T> p = batch_item(args, row / args.M);
      const T* a = p.a + row % args.M * p.a_row;
      T* c = p.c + row % args.M * p.c_row;
      for (int64_t j0 = 0; j0 < p.N; j0 += kTile) {
        const int64_t n = p.N - j0 < kTile ? p.N - j0 : kTile;
        for (int64_t j = 0; j < n; ++j) sum[j] = p.accumulate ? static_cast<Unsigned>(c[j0 + j]) : 0;
        for (int64_t k = 0; k < p.K; ++k) {
          const Unsigned factor = static_cast<Unsigned>(a[k * p.a_col]);
          const T* b = p.b + k * p.b_row + j0 * p.b_col;
          if (p.b_col == 1)
            for (int64_t j = 0; j < n; ++j) sum[j] += factor * static_cast<Unsigned>(b[j]);
          else
            for (int64_t j = 0; j < n; ++j) sum[j] += factor * static_cast<Unsigned>(b[j * p.b_col]);
        }
        for (int64_t j = 0; j < n; ++j) c[j0 + j] = static_cast<T>(sum[j]);
      }
    }
  });
}

DL_REGISTER("matmul/int64", (matmul_integer<int64_t, uint64_t>), matmul_fn<int64_t, int64_t>)
DL_REGISTER("matmul/int32", (matmul_integer<int32_t, uint32_t>), matmul_fn<int32_t, int32_t>)
DL_REGISTER("matmul/uint8", (matmul_integer<uint8_t, uint32_t>), matmul_fn<uint8_t, uint8_t>)

}  // namespace
}  // namespace dl
