#include "kernels/pool/pool.h"
#include "ops/common.h"

namespace dl {
namespace {

// Sizes are multiplied with each other: below this no product of two overflows.
constexpr int64_t kMaxOption = int64_t{1} << 31;
// A kernel keeps the columns under one window in a buffer of its own.
constexpr int64_t kMaxWindow = int64_t{1} << 20;

void check_pair(const Dims& v, int64_t least, const char* what, const char* op) {
  DL_CHECK(v.size() == 2, "[", op, "] ", what, " takes 2 numbers, got ", v);
  for (int64_t a : v)
    DL_CHECK(least <= a && a < kMaxOption, "[", op, "] ", what, " must be ", least == 1 ? "positive" : "0 or more",
             " and below 2^31, got ", v);
}

// Of the tensor that is pooled.
void check_planes(const Dims& x, const char* op) {
  DL_CHECK(x.size() == 3 || x.size() == 4, "[", op,
           "] expected x with dimensions (N, C, H, W) or (C, H, W), got shape ", x);
  const int64_t h = x[x.size() - 2], w = x.back();
  DL_CHECK(h > 0 && w > 0, "[", op, "] expected planes with at least one row and one column, got shape ", x);
  DL_CHECK(h < kMaxOption && w < kMaxOption, "[", op, "] expected fewer than 2^31 rows and columns, got shape ", x);
}

int64_t planes_of(const Dims& x) { return x.size() == 4 ? x[0] * x[1] : x[0]; }

Dims with_planes(Dims x, int64_t h, int64_t w) {
  x[x.size() - 2] = h;
  x.back() = w;
  return x;
}

struct Windows {
  Dims kernel, stride, padding, dilation;
  bool ceil_mode;
};

void check_windows(const Windows& o, const char* op) {
  check_pair(o.kernel, 1, "the kernel size", op);
  check_pair(o.stride, 1, "stride", op);
  check_pair(o.padding, 0, "padding", op);
  check_pair(o.dilation, 1, "dilation", op);
  for (int i = 0; i < 2; ++i) {
    const int64_t span = (o.kernel[i] - 1) * o.dilation[i] + 1;
    DL_CHECK(span <= kMaxWindow, "[", op, "] a window must span at most 2^20 elements, got kernel size ", o.kernel,
             " with dilation ", o.dilation);
    DL_CHECK(o.padding[i] <= span / 2, "[", op, "] padding must be at most half the kernel, got padding ", o.padding,
             " and kernel size ", o.kernel, " with dilation ", o.dilation);
  }
}

int64_t floor_div(int64_t a, int64_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }

PoolAxis axis_of(const Dims& x, const Windows& o, int i, const char* op) {
  const int64_t in = x[x.size() - 2 + i], span = (o.kernel[i] - 1) * o.dilation[i] + 1;
  int64_t out = floor_div(in + 2 * o.padding[i] - span + (o.ceil_mode ? o.stride[i] - 1 : 0), o.stride[i]) + 1;
  // The last window must start inside the plane or its padding on the left.
  if (o.ceil_mode && (out - 1) * o.stride[i] >= in + o.padding[i]) --out;
  DL_CHECK(out > 0, "[", op, "] the kernel's ", i == 0 ? "height " : "width ", o.kernel[i], " with dilation ",
           o.dilation[i], " does not fit into the input's ", in, " with padding ", o.padding[i], " (x ", x, ")");
  return {in, out, o.kernel[i], o.stride[i], o.padding[i], o.dilation[i]};
}

Pool2dShape shape_of(const Dims& x, const Windows& o, const char* op) {
  check_planes(x, op);
  check_windows(o, op);
  return {planes_of(x), axis_of(x, o, 0, op), axis_of(x, o, 1, op)};
}

int64_t work_of(const Pool2dShape& s) {
  return s.planes * (s.h.in * s.w.in + s.h.out * s.w.out * (s.h.kernel + s.w.kernel));
}

// dy must have the shape that pooling x gives.
void check_gradient(const Tensor& dy, const Dims& x, const Pool2dShape& s, const char* op) {
  check_floating(dy, op);
  const Dims expected = with_planes(x, s.h.out, s.w.out);
  DL_CHECK(dy.shape() == expected, "[", op, "] expected a gradient of shape ", expected, ", got ", dy.shape());
}

// Runs `run(zero of the kernel's type, x cast to it)` -> y, and casts y to the dtype of x.
template <class Run> Tensor in_kernel_dtype(const Tensor& x, Run run) {
  if (x.dtype() == DType::float64) return run(double{}, contiguous(x));
  return cast(run(float{}, cast(x, DType::float32)), x.dtype());
}

Tensor max_pool2d_values(const Tensor& x, const Pool2dShape& s, int64_t* index) {
  return in_kernel_dtype(x, [&](auto zero, const Tensor& xc) {
    using T = decltype(zero);
    static const Kernel<max_pool2d_forward_fn<T>> run{cat("max_pool2d_forward/", name(dtype_of<T>())).c_str()};
    const Tensor y = Tensor::empty(with_planes(x.shape(), s.h.out, s.w.out), dtype_of<T>());
    launch(work_of(s), [&] { run(xc.data<T>(), y.data<T>(), index, &s); });
    return y;
  });
}

py::tuple max_pool2d_forward(const Tensor& x, const Dims& kernel, const Dims& stride, const Dims& padding,
                             const Dims& dilation, bool ceil_mode) {
  check_floating(x, "max_pool2d");
  const Pool2dShape s = shape_of(x.shape(), {kernel, stride, padding, dilation, ceil_mode}, "max_pool2d");
  const Tensor index = Tensor::empty(with_planes(x.shape(), s.h.out, s.w.out), DType::int64);
  return py::make_tuple(max_pool2d_values(x, s, index.data<int64_t>()), index);
}

Tensor max_pool2d(const Tensor& x, const Dims& kernel, const Dims& stride, const Dims& padding, const Dims& dilation,
                  bool ceil_mode) {
  check_floating(x, "max_pool2d");
  return max_pool2d_values(x, shape_of(x.shape(), {kernel, stride, padding, dilation, ceil_mode}, "max_pool2d"),
                           nullptr);
}

// `shape` is that of x.
Tensor max_pool2d_backward(const Tensor& dy, const Tensor& index, const Dims& shape, const Dims& kernel,
                           const Dims& stride, const Dims& padding, const Dims& dilation, bool ceil_mode) {
  const char* op = "max_pool2d";
  const Pool2dShape s = shape_of(shape, {kernel, stride, padding, dilation, ceil_mode}, op);
  check_gradient(dy, shape, s, op);
  DL_CHECK(index.shape() == dy.shape(), "[", op, "] expected indices of shape ", dy.shape(), ", got ", index.shape());
  const Tensor at = contiguous(index);
  return in_kernel_dtype(dy, [&](auto zero, const Tensor& dyc) {
    using T = decltype(zero);
    static const Kernel<max_pool2d_backward_fn<T>> run{cat("max_pool2d_backward/", name(dtype_of<T>())).c_str()};
    const Tensor dx = Tensor::empty(shape, dtype_of<T>());
    launch(work_of(s), [&] { run(dyc.data<T>(), at.data<int64_t>(), dx.data<T>(), &s); });
    return dx;
  });
}

Tensor avg_pool2d_forward(const Tensor& x, const Dims& kernel, const Dims& stride, const Dims& padding, bool ceil_mode,
                          bool count_include_pad, int64_t divisor) {
  check_floating(x, "avg_pool2d");
  const Pool2dShape s = shape_of(x.shape(), {kernel, stride, padding, Dims{1, 1}, ceil_mode}, "avg_pool2d");
  const PoolDivisor d{count_include_pad, divisor};
  return in_kernel_dtype(x, [&](auto zero, const Tensor& xc) {
    using T = decltype(zero);
    static const Kernel<avg_pool2d_forward_fn<T>> run{cat("avg_pool2d_forward/", name(dtype_of<T>())).c_str()};
    const Tensor y = Tensor::empty(with_planes(x.shape(), s.h.out, s.w.out), dtype_of<T>());
    launch(work_of(s), [&] { run(xc.data<T>(), y.data<T>(), &s, &d); });
    return y;
  });
}

Tensor avg_pool2d_backward(const Tensor& dy, const Dims& shape, const Dims& kernel, const Dims& stride,
                           const Dims& padding, bool ceil_mode, bool count_include_pad, int64_t divisor) {
  const Pool2dShape s = shape_of(shape, {kernel, stride, padding, Dims{1, 1}, ceil_mode}, "avg_pool2d");
  check_gradient(dy, shape, s, "avg_pool2d");
  const PoolDivisor d{count_include_pad, divisor};
  return in_kernel_dtype(dy, [&](auto zero, const Tensor& dyc) {
    using T = decltype(zero);
    static const Kernel<avg_pool2d_backward_fn<T>> run{cat("avg_pool2d_backward/", name(dtype_of<T>())).c_str()};
    const Tensor dx = Tensor::empty(shape, dtype_of<T>());
    launch(work_of(s), [&] { run(dyc.data<T>(), dx.data<T>(), &s, &d); });
    return dx;
  });
}

Pool2dShape adaptive_shape(const Dims& x, const Dims& size) {
  check_planes(x, "adaptive_avg_pool2d");
  check_pair(size, 1, "the output size", "adaptive_avg_pool2d");
  return {planes_of(x), {x[x.size() - 2], size[0], 1, 1, 0, 1}, {x.back(), size[1], 1, 1, 0, 1}};
}

Tensor adaptive_avg_pool2d_forward(const Tensor& x, const Dims& size) {
  check_floating(x, "adaptive_avg_pool2d");
  const Pool2dShape s = adaptive_shape(x.shape(), size);
  return in_kernel_dtype(x, [&](auto zero, const Tensor& xc) {
    using T = decltype(zero);
    static const Kernel<adaptive_avg_pool2d_forward_fn<T>> run{
        cat("adaptive_avg_pool2d_forward/", name(dtype_of<T>())).c_str()};
    const Tensor y = Tensor::empty(with_planes(x.shape(), size[0], size[1]), dtype_of<T>());
    launch(work_of(s), [&] { run(xc.data<T>(), y.data<T>(), &s); });
    return y;
  });
}

Tensor adaptive_avg_pool2d_backward(const Tensor& dy, const Dims& shape, const Dims& size) {
  const Pool2dShape s = adaptive_shape(shape, size);
  check_gradient(dy, shape, s, "adaptive_avg_pool2d");
  return in_kernel_dtype(dy, [&](auto zero, const Tensor& dyc) {
    using T = decltype(zero);
    static const Kernel<adaptive_avg_pool2d_backward_fn<T>> run{
        cat("adaptive_avg_pool2d_backward/", name(dtype_of<T>())).c_str()};
    const Tensor dx = Tensor::empty(shape, dtype_of<T>());
    launch(work_of(s), [&] { run(dyc.data<T>(), dx.data<T>(), &s); });
    return dx;
  });
}

}  // namespace
}  // namespace dl

DL_BIND(pool) {
  using namespace dl;
  m.def("max_pool2d_forward", &dl::max_pool2d_forward, py::arg("x"), py::arg("kernel"), py::arg("stride"),
        py::arg("padding"), py::arg("dilation"), py::arg("ceil_mode"),
        "The largest of each window, and its place in the plane.");
  m.def("max_pool2d", &dl::max_pool2d, py::arg("x"), py::arg("kernel"), py::arg("stride"), py::arg("padding"),
        py::arg("dilation"), py::arg("ceil_mode"), "The largest of each window alone.");
  m.def("max_pool2d_backward", &dl::max_pool2d_backward, py::arg("dy"), py::arg("index"), py::arg("shape"),
        py::arg("kernel"), py::arg("stride"), py::arg("padding"), py::arg("dilation"), py::arg("ceil_mode"),
        "dy sent to those places.");
  m.def("avg_pool2d_forward", &dl::avg_pool2d_forward, py::arg("x"), py::arg("kernel"), py::arg("stride"),
        py::arg("padding"), py::arg("ceil_mode"), py::arg("count_include_pad"), py::arg("divisor"),
        "The average of each window; divisor 0: its size.");
  m.def("avg_pool2d_backward", &dl::avg_pool2d_backward, py::arg("dy"), py::arg("shape"), py::arg("kernel"),
        py::arg("stride"), py::arg("padding"), py::arg("ceil_mode"), py::arg("count_include_pad"), py::arg("divisor"),
        "dy spread over the windows.");
  m.def("adaptive_avg_pool2d_forward", &dl::adaptive_avg_pool2d_forward, py::arg("x"), py::arg("size"),
        "Averages over a grid of tiles.");
  m.def("adaptive_avg_pool2d_backward", &dl::adaptive_avg_pool2d_backward, py::arg("dy"), py::arg("shape"),
        py::arg("size"), "dy spread over the tiles.");
}
