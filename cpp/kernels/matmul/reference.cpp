#include "kernels/reference.h"
#include "core/parallel.h"
#include "dispatch/kernel.h"
#include "kernels/matmul/batch.h"

namespace dl {
namespace {

// Far out on the left a gate is zero, and so is the product, also for -inf.
double gated(double x, double gate) { return gate == 0 ? 0 : x * gate; }

double activated(double x, MatmulActivation activation) {
  switch (activation) {
    case MatmulActivation::relu: return x < 0 ? 0 : x;
    case MatmulActivation::gelu: return gated(x, 0.5 * __builtin_erfc(-0.70710678118654752440 * x));
    case MatmulActivation::gelu_tanh:
      return gated(x, 1 / (1 + __builtin_exp(-1.59576912160573071176 * (x + 0.044715 * x * x * x))));
    default: return x;
  }
}

template <class In, class Out> void matmul(const MatmulArgs<In, Out>& args) {
  parallel_for(batch_count(args) * args.M, 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const MatmulArgs<In, Out> p = batch_item(args, row / args.M);
      const int64_t i = row % args.M;
      for (int64_t j = 0; j < p.N; ++j) {
        Out& c = p.c[i * p.c_row + j];
        double sum = p.accumulate ? value_of(c) : 0;
        for (int64_t k = 0; k < p.K; ++k)
          sum += value_of(p.a[i * p.a_row + k * p.a_col]) * value_of(p.b[k * p.b_row + j * p.b_col]);
        if (p.bias) sum += p.bias[j];
        if (p.bias_m) sum += p.bias_m[i];
        if (p.residual) sum += value_of(p.residual[i * p.c_row + j]);
        if (p.pre) p.pre[i * p.c_row + j] = rounded<Out>(sum);
        c = rounded<Out>(activated(sum, p.activation));
      }
    }
  });
}

// Integers wrap around, as NumPy's do; no bias, residual or activation.
template <class T, class Unsigned> void matmul_integer(const MatmulArgs<T, T>& args) {
  parallel_for(batch_count(args) * args.M, 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const MatmulArgs<T, T> p = batch_item(args, row / args.M);
      const int64_t i = row % args.M;
      for (int64_t j = 0; j < p.N; ++j) {
        T& c = p.c[i * p.c_row + j];
        Unsigned sum = p.accumulate ? static_cast<Unsigned>(c) : 0;
        for (int64_t k = 0; k < p.K; ++k)
          sum += static_cast<Unsigned>(p.a[i * p.a_row + k * p.a_col]) *
                 static_cast<Unsigned>(p.b[k * p.b_row + j * p.b_col]);
        c = static_cast<T>(sum);
      }
    }
  });
}

template <class In, class Out> void matmul_pack(const MatmulArgs<In, Out>&, matmul_sum_t<Out>*) {
}  // b is read as it is

DL_REGISTER("matmul/float32", (matmul<float, float>), matmul_fn<float, float>)
DL_REGISTER("matmul/bfloat16", (matmul<bfloat16, bfloat16>), matmul_fn<bfloat16, bfloat16>)
DL_REGISTER("matmul/float64", (matmul<double, double>), matmul_fn<double, double>)
DL_REGISTER("matmul_pack/float32", (matmul_pack<float, float>), matmul_pack_fn<float, float>)
DL_REGISTER("matmul_pack/bfloat16", (matmul_pack<bfloat16, bfloat16>), matmul_pack_fn<bfloat16, bfloat16>)
DL_REGISTER("matmul_pack/float64", (matmul_pack<double, double>), matmul_pack_fn<double, double>)
DL_REGISTER("matmul/int64", (matmul_integer<int64_t, uint64_t>), matmul_fn<int64_t, int64_t>)
DL_REGISTER("matmul/int32", (matmul_integer<int32_t, uint32_t>), matmul_fn<int32_t, int32_t>)
DL_REGISTER("matmul/uint8", (matmul_integer<uint8_t, uint32_t>), matmul_fn<uint8_t, uint8_t>)

}  // namespace
}  // namespace dl
