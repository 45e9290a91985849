#include "kernels/conv/conv.h"

#include <algorithm>

#include "core/prepack.h"
#include "kernels/matmul/matmul.h"
#include "ops/common.h"

namespace dl {
namespace {

// Sizes are multiplied with each other: below this no product of two overflows.
constexpr int64_t kMaxOption = int64_t{1} << 31;

void check_options(const Dims& v, int n, int64_t least, const char* what, const char* op) {
  DL_CHECK(v.size() == n, "[", op, "] ", what, " takes ", n, " numbers, got ", v);
  for (int64_t a : v)
    DL_CHECK(least <= a && a < kMaxOption, "[", op, "] ", what, " must be ",
             least == 1   ? "positive and "
             : least == 0 ? "0 or more and "
                          : "",
             "below 2^31, got ", v);
}

void check_groups(int64_t groups, const char* op) {
  DL_CHECK(0 < groups && groups < kMaxOption, "[", op, "] groups must be positive and below 2^31, got ", groups);
}

void check_planes(const Tensor& t, const char* what, const char* layout, const char* op) {
  DL_CHECK(t.ndim() == 4, "[", op, "] expected ", what, " with 4 dimensions ", layout, ", got shape ", t.shape());
  check_floating(t, op);
}

void check_same_dtype(const Tensor& a, const char* a_name, const Tensor& b, const char* b_name, const char* op) {
  DL_CHECK_TYPE(a.dtype() == b.dtype(), "[", op, "] ", a_name, " and ", b_name, " must have one dtype, got ", a.dtype(),
                " and ", b.dtype());
}

void check_bias(const std::optional<Tensor>& b, const Tensor& like, int64_t channels, const char* op) {
  if (!b) return;
  DL_CHECK(b->shape() == Dims({channels}), "[", op, "] expected bias of shape ", Dims({channels}),
           ", one number for each channel made, got ", b->shape());
  check_same_dtype(like, "x", *b, "bias", op);
}

// Bias and convolution run in float32 where the tensors are bfloat16.
DType compute_dtype(DType t) { return t == DType::bfloat16 ? DType::float32 : t; }

template <class Run> void by_dtype(DType t, Run run) {
  if (t == DType::float64) run(double{});
  else run(float{});
}

std::optional<Tensor> cast_optional(const std::optional<Tensor>& t, DType dtype) {
  return t ? std::optional<Tensor>(cast(*t, dtype)) : std::nullopt;
}

// Pixels that a convolution makes of `size` along one direction.
int64_t output_size(int64_t size, int64_t before, int64_t after, int64_t kernel, int64_t stride, int64_t dilation,
                    const char* direction, const Tensor& x, const Tensor& w) {
  DL_CHECK(0 < kernel && kernel < kMaxOption, "[conv2d] the kernel's ", direction,
           " must be positive and below 2^31, got weight ", w.shape());
  const int64_t span = (kernel - 1) * dilation + 1, padded = size + before + after;
  DL_CHECK(span <= padded, "[conv2d] the kernel's ", direction, " ", kernel, " with dilation ", dilation, " spans ",
           span, " and does not fit into the input's ", size, " with padding ", before, " + ", after, " (x ", x.shape(),
           ", weight ", w.shape(), ")");
  return (padded - span) / stride + 1;
}

// Every pixel by itself: a product of the weights with each image, or, for images of few pixels, whose columns do not
// fill the tiles of a product, the kernel's own way.
bool is_product(const Conv2dShape& s) {
  const bool pointwise = s.KH == 1 && s.KW == 1 && s.stride_h == 1 && s.stride_w == 1 && s.pad_h == 0 && s.pad_w == 0;
  const bool few_pixels = s.H * s.W <= kPointwisePixels && (s.N > 1 || std::min(s.C, s.O) >= kPointwiseDepth);
  return pointwise && s.groups == 1 && s.OH == s.H && s.OW == s.W && !few_pixels;
}

// out[n] = w in[n] + b, or with w transposed: in (N, K, pixels), out (N, M, pixels), element [m, k] of w at m * row +
// k * col.
template <class T> void product_of_images(const T* w, int64_t row, int64_t col, const T* in,
                                          const Conv2dEpilogue<T>& end, T* out, int64_t N, int64_t M, int64_t K,
                                          int64_t pixels, T* workspace) {
  static const Kernel<matmul_fn<T, T>> kernel{cat("matmul/", name(dtype_of<T>())).c_str()};
  MatmulArgs<T, T> p{};
  p.a = w, p.b = in, p.c = out;
  p.M = M, p.N = pixels, p.K = K;
  p.a_row = row, p.a_col = col, p.b_row = pixels, p.b_col = 1, p.c_row = pixels;
  p.batch_dims = 1;
  p.batch[0] = N, p.b_batch[0] = K * pixels, p.c_batch[0] = M * pixels;
  p.bias_m = end.b, p.residual = end.residual;
  p.activation = end.relu ? MatmulActivation::relu : MatmulActivation::none;
  p.workspace = workspace;
  kernel(p);
}

// Weights, the planes they read, a bias and what the result is made in: of one floating type that the kernels compute.
struct Operands {
  Tensor in, w;
  std::optional<Tensor> b, residual;
  bool relu;
  Tensor out;
};

// Both directions: the forward pass makes O channels of C, the input gradient C of O. `kernel`: where it is no product.
template <class T, class Run>
void convolve(const Operands& p, const Conv2dShape& s, bool forward, int64_t work, const Run& kernel) {
  const int64_t M = forward ? s.O : s.C, K = forward ? s.C : s.O, pixels = s.H * s.W;
  const bool product = is_product(s);
  const Tensor workspace =
      Tensor::empty({product ? matmul_workspace<T>(M, pixels, K, s.N) : conv2d_workspace(s)}, p.in.dtype());
  const T *in = p.in.data<T>(), *w = p.w.data<T>();
  const Conv2dEpilogue<T> end{p.b ? p.b->data<T>() : nullptr, p.residual ? p.residual->data<T>() : nullptr, p.relu};
  T *out = p.out.data<T>(), *scratch = workspace.data<T>();
  launch(work, [&] {
    if (product) product_of_images(w, forward ? s.C : 1, forward ? 1 : s.C, in, end, out, s.N, M, K, pixels, scratch);
    else kernel(in, w, end, out, scratch, &s);
  });
}

Tensor conv2d_forward(const Tensor& x, const Tensor& w, const std::optional<Tensor>& b, const Dims& stride,
                      const Dims& padding, const Dims& dilation, int64_t groups, bool relu,
                      const std::optional<Tensor>& residual) {
  const char* op = "conv2d";
  check_planes(x, "x", "(N, C, H, W)", op);
  check_planes(w, "weight", "(O, C / groups, KH, KW)", op);
  check_same_dtype(x, "x", w, "weight", op);
  check_options(stride, 2, 1, "stride", op);
  // At the bottom and on the right it may be negative: the gradient of a transposed convolution leaves rows out.
  check_options(padding, 4, 1 - kMaxOption, "padding", op);
  check_options({padding[0], padding[2]}, 2, 0, "padding", op);
  check_options(dilation, 2, 1, "dilation", op);
  const int64_t C = x.size(1), O = w.size(0);
  check_groups(groups, op);
  DL_CHECK(C % groups == 0, "[conv2d] groups must divide the channels of x, got groups ", groups, " and ", C,
           " channels (x ", x.shape(), ")");
  DL_CHECK(O % groups == 0, "[conv2d] groups must divide the channels made, got groups ", groups, " and ", O,
           " channels (weight ", w.shape(), ")");
  DL_CHECK(w.size(1) == C / groups, "[conv2d] expected dimension 1 of weight to be ", C / groups, ", the channels of x",
           groups > 1 ? cat(" over ", groups, " groups") : std::string(), ", got ", w.size(1), " (x ", x.shape(),
           ", weight ", w.shape(), ")");
  check_bias(b, x, O, op);
  const int64_t OH = output_size(x.size(2), padding[0], padding[1], w.size(2), stride[0], dilation[0], "height", x, w);
  const int64_t OW = output_size(x.size(3), padding[2], padding[3], w.size(3), stride[1], dilation[1], "width", x, w);
  const Conv2dShape s{x.size(0), C,         x.size(2), x.size(3),  O,          w.size(2),   w.size(3),   OH,
                      OW,        stride[0], stride[1], padding[0], padding[2], dilation[0], dilation[1], groups};

  if (residual) {
    DL_CHECK(residual->shape() == Dims({s.N, O, OH, OW}), "[conv2d] expected residual of the output's shape ",
             Dims({s.N, O, OH, OW}), ", got ", residual->shape());
    check_same_dtype(x, "x", *residual, "residual", op);
  }

  const DType dtype = compute_dtype(x.dtype());
  const Operands p{cast(x, dtype),
                   cast(w, dtype),
                   cast_optional(b, dtype),
                   cast_optional(residual, dtype),
                   relu,
                   Tensor::empty({s.N, O, OH, OW}, dtype)};
  by_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    static const Kernel<conv2d_forward_fn<T>> kernel{cat("conv2d_forward/", name(dtype_of<T>())).c_str()};
    static const Kernel<conv2d_pack_fn<T>> pack{cat("conv2d_pack/", name(dtype_of<T>())).c_str()};
    const int64_t elements = conv2d_packed(s);
    const auto run = [&](const T* in, const T* weights, const Conv2dEpilogue<T>& end, T* out, T* scratch,
                         const Conv2dShape* shape) {
      Tensor packed;
      if (elements > 0)
        packed = prepacked(p.w, elements, dtype, groups, reinterpret_cast<AnyFn>(pack.get()),
                           [&](const Tensor& to) { pack(weights, to.data<T>(), shape); });
      kernel(in, weights, packed ? packed.data<T>() : nullptr, &end, out, scratch, shape);
    };
    convolve<T>(p, s, true, p.out.numel() * (C / groups) * s.KH * s.KW, run);
  });
  return cast(p.out, x.dtype());
}

// What both gradients know: dy (N, O, OH, OW), w (O, C / groups, KH, KW), the rest is given. `padding`: top and left.
void check_gradient(const Conv2dShape& s, const Dims& stride, const Dims& padding, const Dims& dilation,
                    const char* op) {
  check_options(stride, 2, 1, "stride", op);
  check_options(padding, 2, 0, "padding", op);
  check_options(dilation, 2, 1, "dilation", op);
  DL_CHECK(s.O % s.groups == 0 && s.C % s.groups == 0, "[", op, "] groups must divide ", s.C, " and ", s.O,
           " channels, got ", s.groups);
}

Tensor conv2d_input_gradient(const Tensor& dy, const Tensor& w, const std::optional<Tensor>& b, const Dims& size,
                             const Dims& stride, const Dims& padding, const Dims& dilation, int64_t groups,
                             const char* op) {
  check_planes(dy, "x", "(N, C, H, W)", op);
  check_planes(w, "weight", "(C, O / groups, KH, KW)", op);
  check_same_dtype(dy, "x", w, "weight", op);
  check_options(size, 2, 0, "the output size", op);
  DL_CHECK(dy.size(1) == w.size(0), "[", op, "] expected dimension 0 of weight to be ", dy.size(1),
           ", the channels of x, got ", w.size(0), " (x ", dy.shape(), ", weight ", w.shape(), ")");
  check_groups(groups, op);
  const Conv2dShape s{dy.size(0), w.size(1) * groups, size[0],     size[1],   w.size(0), w.size(2),
                      w.size(3),  dy.size(2),         dy.size(3),  stride[0], stride[1], padding[0],
                      padding[1], dilation[0],        dilation[1], groups};
  check_gradient(s, stride, padding, dilation, op);
  check_bias(b, dy, s.C, op);

  const DType dtype = compute_dtype(dy.dtype());
  const Operands p{
      cast(dy, dtype), cast(w, dtype), cast_optional(b, dtype), {}, false, Tensor::empty({s.N, s.C, s.H, s.W}, dtype)};
  by_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    static const Kernel<conv2d_input_gradient_fn<T>> kernel{cat("conv2d_input_gradient/", name(dtype_of<T>())).c_str()};
    const auto run = [&](const T* in, const T* weights, const Conv2dEpilogue<T>& end, T* out, T* scratch,
                         const Conv2dShape* shape) { kernel(in, weights, end.b, out, scratch, shape); };
    convolve<T>(p, s, false, dy.numel() * w.size(1) * s.KH * s.KW + p.out.numel(), run);
  });
  return cast(p.out, dy.dtype());
}

Tensor conv2d_weight_gradient(const Tensor& dy, const Tensor& x, const Dims& size, const Dims& stride,
                              const Dims& padding, const Dims& dilation, int64_t groups) {
  const char* op = "conv2d_weight_gradient";
  check_planes(dy, "dy", "(N, O, OH, OW)", op);
  check_planes(x, "x", "(N, C, H, W)", op);
  check_same_dtype(dy, "dy", x, "x", op);
  check_options(size, 2, 1, "the kernel size", op);
  DL_CHECK(dy.size(0) == x.size(0), "[", op, "] dy and x must have as many images, got ", dy.shape(), " and ",
           x.shape());
  check_groups(groups, op);
  const Conv2dShape s{x.size(0),  x.size(1), x.size(2), x.size(3),  dy.size(1), size[0],     size[1],     dy.size(2),
                      dy.size(3), stride[0], stride[1], padding[0], padding[1], dilation[0], dilation[1], groups};
  check_gradient(s, stride, padding, dilation, op);

  const DType dtype = compute_dtype(dy.dtype());
  const Tensor dyc = cast(dy, dtype), xc = cast(x, dtype);
  const Tensor dw = Tensor::empty({s.O, s.C / groups, s.KH, s.KW}, dtype);
  const Tensor workspace = Tensor::empty({conv2d_weight_workspace(s)}, dtype);
  by_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    static const Kernel<conv2d_weight_gradient_fn<T>> kernel{
        cat("conv2d_weight_gradient/", name(dtype_of<T>())).c_str()};
    launch(dy.numel() * (s.C / groups) * s.KH * s.KW,
           [&] { kernel(dyc.data<T>(), xc.data<T>(), dw.data<T>(), workspace.data<T>(), &s); });
  });
  return cast(dw, dy.dtype());
}

}  // namespace
}  // namespace dl

DL_BIND(conv) {
  using namespace dl;
  m.def("conv2d_forward", &conv2d_forward, py::arg("x"), py::arg("w"), py::arg("b"), py::arg("stride"),
        py::arg("padding"), py::arg("dilation"), py::arg("groups"), py::arg("relu"), py::arg("residual"),
        "relu(convolution + residual), or without the one or the other; padding is (top, bottom, left, right).");
  m.def("conv2d_input_gradient", &conv2d_input_gradient, py::arg("dy"), py::arg("w"), py::arg("b"), py::arg("size"),
        py::arg("stride"), py::arg("padding"), py::arg("dilation"), py::arg("groups"), py::arg("op"),
        "dx of planes of `size`, or the transposed convolution; padding is (top, left); `op` names the caller in "
        "errors.");
  m.def("conv2d_weight_gradient", &conv2d_weight_gradient, py::arg("dy"), py::arg("x"), py::arg("size"),
        py::arg("stride"), py::arg("padding"), py::arg("dilation"), py::arg("groups"),
        "dw of kernels of `size`; padding is (top, left).");
}
