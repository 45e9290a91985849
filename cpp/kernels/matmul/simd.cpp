#include "dispatch/kernel.h"
#include "kernels/matmul/gemm.h"

namespace dl {
DL_REGISTER("matmul/float32", (matmul<float, float>), matmul_fn<float, float>)
DL_REGISTER("matmul/bfloat16", (matmul<bfloat16, bfloat16>), matmul_fn<bfloat16, bfloat16>)
DL_REGISTER("matmul/float64", (matmul<double, double>), matmul_fn<double, double>)
DL_REGISTER("matmul_pack/float32", (matmul_pack<float, float>), matmul_pack_fn<float, float>)
DL_REGISTER("matmul_pack/bfloat16", (matmul_pack<bfloat16, bfloat16>), matmul_pack_fn<bfloat16, bfloat16>)
DL_REGISTER("matmul_pack/float64", (matmul_pack<double, double>), matmul_pack_fn<double, double>)
}  // namespace dl
