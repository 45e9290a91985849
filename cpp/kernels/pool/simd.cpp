// float32; float64 is served by the reference.
#include "dispatch/kernel.h"
#include "kernels/pool/average.h"
#include "kernels/pool/max.h"

namespace dl {

DL_REGISTER("max_pool2d_forward/float32", max_pool2d_forward, max_pool2d_forward_fn<float>)
DL_REGISTER("max_pool2d_backward/float32", max_pool2d_backward, max_pool2d_backward_fn<float>)
DL_REGISTER("avg_pool2d_forward/float32", avg_pool2d_forward, avg_pool2d_forward_fn<float>)
DL_REGISTER("avg_pool2d_backward/float32", avg_pool2d_backward, avg_pool2d_backward_fn<float>)
DL_REGISTER("adaptive_avg_pool2d_forward/float32", adaptive_avg_pool2d_forward, adaptive_avg_pool2d_forward_fn<float>)
DL_REGISTER("adaptive_avg_pool2d_backward/float32", adaptive_avg_pool2d_backward,
            adaptive_avg_pool2d_backward_fn<float>)

}  // namespace dl
