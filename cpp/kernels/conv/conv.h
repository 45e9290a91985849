// Contracts of the conv family: 2-D convolution (cross-correlation, as in every deep-learning library) and its
// gradients, NCHW, all tensors contiguous.
//
//   y[n, o, i, j] = b[o] + sum_{c, p, q} w[o, c, p, q] * x[n, g * C/groups + c, i * stride_h - pad_h + p * dilation_h,
//                                                          j * stride_w - pad_w + q * dilation_w]
//
// where g = o / (O / groups) and x is 0 outside its plane. Only the padding on top and on the left is given; that at
// the bottom and on the right follows from OH and OW, which may read any number of rows past the plane.
// No output may overlap an input. Sums are in T or wider and their order depends on the shape alone. Any size may be 0,
// except strides, dilations and groups: an empty sum is 0 (+ b).
#pragma once
#include <cstdint>

namespace dl {

struct Conv2dShape {
  int64_t N, C, H, W;  // x (N, C, H, W)
  int64_t O, KH, KW;   // w (O, C / groups, KH, KW)
  int64_t OH, OW;      // y (N, O, OH, OW)
  int64_t stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, groups;
};

// What is done to the sums before they are stored: y = relu(y + b + residual), where there is such a thing.
template <class T> struct Conv2dEpilogue {
  const T* b;         // (O,) or null
  const T* residual;  // of y's shape, or null
  bool relu;          // NaN stays
};

// y as above, with its epilogue. packed: what conv2d_pack made of w, or null. workspace: conv2d_workspace() elements.
template <class T> using conv2d_forward_fn = void (*)(const T* x, const T* w, const T* packed,
                                                      const Conv2dEpilogue<T>* end, T* y, T* workspace,
                                                      const Conv2dShape* shape);

// packed = w as conv2d_forward of the same target reads it, for images of any size and number: conv2d_packed()
// elements. Of `shape` only the weights' part is read.
template <class T> using conv2d_pack_fn = void (*)(const T* w, T* packed, const Conv2dShape* shape);

// dx[n, c, ...] = sum over every y element that read it of dy * w, the adjoint of forward in x; also the transposed
// convolution of dy, to which b (C,) or null is added. workspace: conv2d_workspace() elements.
template <class T> using conv2d_input_gradient_fn = void (*)(const T* dy, const T* w, const T* b, T* dx, T* workspace,
                                                             const Conv2dShape* shape);

// dw[o, c, p, q] = sum_{n, i, j} dy[n, o, i, j] * (the x that w[o, c, p, q] met there).
// workspace: conv2d_weight_workspace() elements.
template <class T>
using conv2d_weight_gradient_fn = void (*)(const T* dy, const T* x, T* dw, T* workspace, const Conv2dShape* shape);

// A pointwise convolution of larger images, or with sums of fewer terms, is best a product of the weights with each
// image.
constexpr int64_t kPointwisePixels = 256, kPointwiseDepth = 128;

// The weights, reordered for the register tiles, in panels of up to 32 channels made.
static inline int64_t conv2d_panels(int64_t made) { return made < 32 ? 2 * made : (made + 31) / 32 * 32; }
static inline int64_t conv2d_workspace(const Conv2dShape& s) {
  const int64_t C = s.C / s.groups, O = s.O / s.groups;
  const int64_t forward = conv2d_panels(O) * C, gradient = O * conv2d_panels(C);
  return s.groups * s.KH * s.KW * (forward > gradient ? forward : gradient);
}

// 0 where the weights are never read in such panels.
constexpr int64_t kPackedChannels = 4, kPackedTaps = 144;
static inline int64_t conv2d_packed(const Conv2dShape& s) {
  const int64_t C = s.C / s.groups, O = s.O / s.groups, taps = s.KH * s.KW;
  return O < 32 || C <= kPackedChannels || taps > kPackedTaps ? 0 : s.groups * taps * conv2d_panels(O) * C;
}

// The weight gradient is cut into blocks of about kWeightRows x kWeightCols of its (C/groups * KH * KW) x (O/groups)
// transpose. Where that gives few blocks, the pixels are cut as well, and the parts are added in order.
constexpr int64_t kWeightRows = 512, kWeightCols = 128;
constexpr int64_t kWeightWorkspace = int64_t{4} << 20;  // at most this many elements of parts
constexpr double kConvBlockWork = 1.5e6;  // multiply-adds worth a block of their own: ~20 us on an AVX-512 core

static inline int64_t conv2d_weight_splits(const Conv2dShape& s) {
  const int64_t rows = s.C / s.groups * s.KH * s.KW, cols = s.O / s.groups, pixels = s.N * s.OH * s.OW;
  const int64_t blocks = s.groups * ((rows + kWeightRows - 1) / kWeightRows) * ((cols + kWeightCols - 1) / kWeightCols);
  const int64_t size = s.groups * rows * cols;
  const double work = static_cast<double>(size) * static_cast<double>(pixels) / kConvBlockWork;
  int64_t splits = blocks ? (work < 16 ? static_cast<int64_t>(work) : 16) / blocks : 1;
  if (splits > (pixels + 255) / 256) splits = (pixels + 255) / 256;  // a step of the sum takes at most 256 pixels
  if (size && splits > kWeightWorkspace / size) splits = kWeightWorkspace / size;
  return splits < 1 ? 1 : splits;
}

static inline int64_t conv2d_weight_workspace(const Conv2dShape& s) {
  const int64_t splits = conv2d_weight_splits(s);
  return splits > 1 ? splits * s.O * (s.C / s.groups) * s.KH * s.KW : 0;
}

}  // namespace dl
