#include "kernels/interpolate/interpolate.h"

#include "ops/common.h"

namespace dl {
namespace {

// Where each element of a result comes from, as the Python function has worked it out: two places in int32 and a share
// in float64, or no share.
template <class T> struct Places {
  ResampleAxis<T> axis;
  Tensor first, second, share;
  Places(int64_t in, const Tensor& from, const Tensor& to, const std::optional<Tensor>& part)
      : first(cast(from, DType::int32)), second(cast(to, DType::int32)) {
    if (part) share = cast(*part, dtype_of<T>());
    axis = {in, first.size(0), first.data<int32_t>(), second.data<int32_t>(), part ? share.data<T>() : nullptr};
  }
};

using Given = std::tuple<Tensor, Tensor, std::optional<Tensor>>;  // of one direction

// Runs `run(zero of the kernel's type, x cast to it)` -> y, and casts y to the dtype of x.
template <class Run> Tensor in_kernel_dtype(const Tensor& x, Run run) {
  if (x.dtype() == DType::float64) return run(double{}, contiguous(x));
  return cast(run(float{}, cast(x, DType::float32)), x.dtype());
}

Tensor resampled(const Tensor& x, const Dims& shape, const Given& rows, const Given& cols, bool forward) {
  check_floating(x, "interpolate");
  const int64_t planes = shape[0] * shape[1], H = forward ? x.size(2) : shape[2], W = forward ? x.size(3) : shape[3];
  return in_kernel_dtype(x, [&](auto zero, const Tensor& from) {
    using T = decltype(zero);
    static const Kernel<interpolate_forward_fn<T>> spread{cat("interpolate_forward/", name(dtype_of<T>())).c_str()};
    static const Kernel<interpolate_backward_fn<T>> gather{cat("interpolate_backward/", name(dtype_of<T>())).c_str()};
    const Places<T> h(H, std::get<0>(rows), std::get<1>(rows), std::get<2>(rows));
    const Places<T> w(W, std::get<0>(cols), std::get<1>(cols), std::get<2>(cols));
    const Tensor y = Tensor::empty(shape, dtype_of<T>());
    if (y.numel() == 0) return y;
    launch(4 * (x.numel() + y.numel()), [&] {
      if (forward) spread(from.data<T>(), y.data<T>(), planes, &h.axis, &w.axis);
      else gather(from.data<T>(), y.data<T>(), planes, &h.axis, &w.axis);
    });
    return y;
  });
}

Tensor interpolate_forward(const Tensor& x, const Given& rows, const Given& cols) {
  return resampled(x, {x.size(0), x.size(1), std::get<0>(rows).size(0), std::get<0>(cols).size(0)}, rows, cols, true);
}

Tensor interpolate_backward(const Tensor& dy, const Dims& size, const Given& rows, const Given& cols) {
  return resampled(dy, {dy.size(0), dy.size(1), size[0], size[1]}, rows, cols, false);
}

}  // namespace
}  // namespace dl

DL_BIND(interpolate) {
  using namespace dl;
  m.def("interpolate_forward", &interpolate_forward, py::arg("x"), py::arg("rows"), py::arg("cols"),
        "Planes resampled: of each direction the first and the second place of every element, and the second's share, "
        "or None.");
  m.def("interpolate_backward", &interpolate_backward, py::arg("dy"), py::arg("size"), py::arg("rows"), py::arg("cols"),
        "The adjoint, for planes of `size`.");
}
