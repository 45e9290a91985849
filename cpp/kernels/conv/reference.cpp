#include "dispatch/kernel.h"
#include "kernels/conv/conv.h"

namespace dl {
namespace {

// Element (h, w) of a plane, 0 outside it.
template <class T> double at(const T* plane, int64_t h, int64_t w, int64_t H, int64_t W) {
  return h < 0 || h >= H || w < 0 || w >= W ? 0.0 : static_cast<double>(plane[h * W + w]);
}

template <class T> void conv2d_forward(const T* x, const T* w, const T*, const Conv2dEpilogue<T>* end, T* y, T*,
                                       const Conv2dShape* shape) {
  const Conv2dShape& s = *shape;
  const int64_t C = s.C / s.groups, M = s.O / s.groups;
  for (int64_t n = 0; n < s.N; ++n)
    for (int64_t o = 0; o < s.O; ++o)
      for (int64_t i = 0; i < s.OH; ++i)
        for (int64_t j = 0; j < s.OW; ++j) {
          double sum = end->b ? static_cast<double>(end->b[o]) : 0.0;
          for (int64_t c = 0; c < C; ++c)
            for (int64_t p = 0; p < s.KH; ++p)
              for (int64_t q = 0; q < s.KW; ++q)
                sum += static_cast<double>(w[((o * C + c) * s.KH + p) * s.KW + q]) *
                       at(x + (n * s.C + o / M * C + c) * s.H * s.W, i * s.stride_h - s.pad_h + p * s.dilation_h,
                          j * s.stride_w - s.pad_w + q * s.dilation_w, s.H, s.W);
          const int64_t at = ((n * s.O + o) * s.OH + i) * s.OW + j;
          if (end->residual) sum += static_cast<double>(end->residual[at]);
          y[at] = static_cast<T>(end->relu && sum < 0 ? 0.0 : sum);
        }
}

template <class T> void conv2d_pack(const T*, T*, const Conv2dShape*) {}  // w is read as it is

// The element of dy that tap t reads for row (or column) h of dx; -1 where there is none.
int64_t source(int64_t h, int64_t t, int64_t stride, int64_t pad, int64_t dilation) {
  const int64_t at = h + pad - t * dilation;
  return at < 0 || at % stride ? -1 : at / stride;
}

template <class T>
void conv2d_input_gradient(const T* dy, const T* w, const T* b, T* dx, T*, const Conv2dShape* shape) {
  const Conv2dShape& s = *shape;
  const int64_t C = s.C / s.groups, M = s.O / s.groups;
  for (int64_t n = 0; n < s.N; ++n)
    for (int64_t c = 0; c < s.C; ++c)
      for (int64_t h = 0; h < s.H; ++h)
        for (int64_t v = 0; v < s.W; ++v) {
          double sum = b ? static_cast<double>(b[c]) : 0.0;
          for (int64_t o = c / C * M; o < (c / C + 1) * M; ++o)
            for (int64_t p = 0; p < s.KH; ++p)
              for (int64_t q = 0; q < s.KW; ++q)
                sum += static_cast<double>(w[((o * C + c % C) * s.KH + p) * s.KW + q]) *
                       at(dy + (n * s.O + o) * s.OH * s.OW, source(h, p, s.stride_h, s.pad_h, s.dilation_h),
                          source(v, q, s.stride_w, s.pad_w, s.dilation_w), s.OH, s.OW);
          dx[((n * s.C + c) * s.H + h) * s.W + v] = static_cast<T>(sum);
        }
}

template <class T> void conv2d_weight_gradient(const T* dy, const T* x, T* dw, T*, const Conv2dShape* shape) {
  const Conv2dShape& s = *shape;
  const int64_t C = s.C / s.groups, M = s.O / s.groups;
  for (int64_t o = 0; o < s.O; ++o)
    for (int64_t c = 0; c < C; ++c)
      for (int64_t p = 0; p < s.KH; ++p)
        for (int64_t q = 0; q < s.KW; ++q) {
          double sum = 0;
          for (int64_t n = 0; n < s.N; ++n)
            for (int64_t i = 0; i < s.OH; ++i)
              for (int64_t j = 0; j < s.OW; ++j)
                sum += static_cast<double>(dy[((n * s.O + o) * s.OH + i) * s.OW + j]) *
                       at(x + (n * s.C + o / M * C + c) * s.H * s.W, i * s.stride_h - s.pad_h + p * s.dilation_h,
                          j * s.stride_w - s.pad_w + q * s.dilation_w, s.H, s.W);
          dw[((o * C + c) * s.KH + p) * s.KW + q] = static_cast<T>(sum);
        }
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
