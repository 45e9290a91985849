#include "dispatch/kernel.h"
#include "kernels/conv/direct.h"
#include "kernels/conv/implicit.h"
#include "kernels/conv/pixel_weights.h"
#include "kernels/conv/pixels.h"
#include "kernels/conv/slide.h"

namespace dl {
namespace {

// y = relu(y + residual), of what the other ways made: they have the bias alone.
template <class T> void finish(const Gather<T>& job) {
  using V = Lanes_t<T>;
  const int64_t size = job.N * job.G * job.M * job.rows.y_size * job.cols.y_size;
  if (!job.residual && !job.relu) return;
  parallel_for(size, 16384, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += V::size) {
      const int64_t n = min_of(V::size, end - i);
      V v = load(job.y + i, n);
      if (job.residual) v = v + load(job.residual + i, n);
      store(job.y + i, job.relu ? relu_of(v) : v, n);
    }
  });
}

template <class T> void gather(const Gather<T>& job) {
  const SlidePlan slide = slide_plan(job);
  if (slide.code) {
    slide_conv(job, slide);
    return finish(job);
  }
  if (job.C > kDirectRead) {  // images of fewer channels have tiles that make whole rows
    const PixelPlan pixels = pixel_plan(job);
    if (pixels.fits) return pixel_conv(job, pixels);
  }
  const DirectPlan plan = direct_plan(job);
  if (plan.fits) direct_conv(job, plan);
  else implicit_gemm(job);
  finish(job);
}

template <class T> void conv2d_forward(const T* x, const T* w, const T* packed, const Conv2dEpilogue<T>* end, T* y,
                                       T* workspace, const Conv2dShape* shape) {
  Gather<T> job = forward_gather(x, w, end->b, y, workspace, *shape);
  job.packed = packed, job.residual = end->residual, job.relu = end->relu;
  flatten_pointwise(job);
  gather(job);
}

template <class T> void conv2d_pack(const T* w, T* packed, const Conv2dShape* shape) {
  const Gather<T> job = forward_gather<T>(nullptr, w, nullptr, nullptr, nullptr, *shape);
  pack_pixel_panels(job, packed);
}

template <class T>
void conv2d_input_gradient(const T* dy, const T* w, const T* b, T* dx, T* workspace, const Conv2dShape* shape) {
  const Conv2dShape& s = *shape;
  T* weights = workspace;
  for (int64_t i = 0; i < min_of(s.stride_h, s.H); ++i)
    for (int64_t j = 0; j < min_of(s.stride_w, s.W); ++j) {
      Gather<T> job = gradient_gather(dy, w, b, dx, weights, s, i, j);
      flatten_pointwise(job);
      gather(job);
    }
}

template <class T> void conv2d_weight_gradient(const T* dy, const T* x, T* dw, T* workspace, const Conv2dShape* shape) {
  Gather<T> job = forward_gather<T>(x, nullptr, nullptr, nullptr, nullptr, *shape);
  flatten_pointwise(job);
  const int64_t splits = conv2d_weight_splits(*shape);
  const SlidePlan slide = slide_plan(job);
  if (slide.code && job.C == 1) return slide_weight(job, slide, dy, dw, workspace, splits);
  if (job.M <= kDirectWeights) {
    const DirectPlan plan = direct_plan(job);
    if (plan.fits) return direct_weight(job, plan, dy, dw, workspace, splits);
  }
  const PixelWeightPlan plan = pixel_weight_plan(job);
  if (plan.fits) return pixel_weight(job, plan, dy, dw, workspace, splits);
  weight_gemm(job, dy, dw, workspace, splits);
}

DL_REGISTER("conv2d_forward/float32", conv2d_forward, conv2d_forward_fn<float>)
DL_REGISTER("conv2d_forward/float64", conv2d_forward, conv2d_forward_fn<double>)
DL_REGISTER("conv2d_pack/float32", conv2d_pack, conv2d_pack_fn<float>)
DL_REGISTER("conv2d_pack/float64", conv2d_pack, conv2d_pack_fn<double>)
DL_REGISTER("conv2d_input_gradient/float32", conv2d_input_gradient, conv2d_input_gradient_fn<float>)
DL_REGISTER("conv2d_input_gradient/float64", conv2d_input_gradient, conv2d_input_gradient_fn<double>)
DL_REGISTER("conv2d_weight_gradient/float32", conv2d_weight_gradient, conv2d_weight_gradient_fn<float>)
DL_REGISTER("conv2d_weight_gradient/float64", conv2d_weight_gradient, conv2d_weight_gradient_fn<double>)

}  // namespace
}  // namespace dl
