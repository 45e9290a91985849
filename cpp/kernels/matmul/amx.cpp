#include "dispatch/kernel.h"
#include "kernels/matmul/gemm.h"

namespace dl {
DL_REGISTER("matmul/bfloat16", (matmul<bfloat16, bfloat16, Pair>), matmul_fn<bfloat16, bfloat16>)
DL_REGISTER("matmul_pack/bfloat16", (matmul_pack<bfloat16, bfloat16, Pair>), matmul_pack_fn<bfloat16, bfloat16>)
}  // namespace dl
