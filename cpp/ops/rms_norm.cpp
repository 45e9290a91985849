#include "kernels/rms_norm/rms_norm.h"

#include "ops/common.h"

namespace dl {
namespace {

constexpr int64_t kWork = 6;  // rough operations per element

// The last `n_axes` dimensions are normalised together.
struct Matrix { int64_t rows = 1, cols = 1; };
Matrix matrix_of(const Tensor& x, int n_axes) {
  Matrix s;
  for (int d = 0; d < x.ndim(); ++d) (d < x.ndim() - n_axes ? s.rows : s.cols) *= x.shape()[d];
  return s;
}

std::tuple<Tensor, Tensor> rms_norm_forward(const Tensor& input, const Dims& shape, const std::optional<Tensor>& weight,
                                            double eps) {
  check_floating(input, "rms_norm");
  const int n_axes = shape.size(), first = input.ndim() - n_axes;
  bool fits = n_axes > 0 && first >= 0;
  for (int d = 0; fits && d < n_axes; ++d) fits = input.shape()[first + d] == shape[d];
  DL_CHECK(fits, "[rms_norm] normalized_shape ", shape, " must be the last dimensions of the input, got shape ",
           input.shape());
  if (weight)
    DL_CHECK(weight->shape() == shape, "[rms_norm] expected weight of normalized_shape ", shape, ", got shape ",
             weight->shape());
  DL_CHECK(eps >= 0, "[rms_norm] expected eps of at least 0, got ", eps);
  const Matrix s = matrix_of(input, n_axes);
  const Tensor x = contiguous(input), y = Tensor::empty(x.shape(), x.dtype());
  const Tensor w = weight ? cast(*weight, x.dtype()) : Tensor();
  const Tensor rrms = Tensor::empty({s.rows}, x.dtype() == DType::float64 ? DType::float64 : DType::float32);
  if (x.numel() == 0) return {y, rrms};
  visit_floating(x.dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    using S = typename RootOf<T>::type;
    static const Kernel<rms_norm_forward_fn<T>> kernel{cat("rms_norm_forward/", name(dtype_of<T>())).c_str()};
    launch(kWork * x.numel(),
           [&] { kernel(x.data<T>(), w ? w.data<T>() : nullptr, y.data<T>(), rrms.data<S>(), s.rows, s.cols, eps); });
  });
  return {y, rrms};
}

// dw is undefined where it is not asked for.
std::tuple<Tensor, Tensor> rms_norm_backward(const Tensor& input, const std::optional<Tensor>& weight,
                                             const Tensor& rrms, const Tensor& grad, const Dims& shape, bool need_dw) {
  const Tensor x = contiguous(input), dy = cast(grad, x.dtype()), dx = Tensor::empty(x.shape(), x.dtype());
  const Tensor w = weight ? cast(*weight, x.dtype()) : Tensor();
  const Matrix s = matrix_of(x, shape.size());
  const Tensor dw = need_dw ? Tensor::zeros(shape, x.dtype()) : Tensor();
  if (x.numel() == 0) return {dx, dw};
  const int64_t block = rms_norm_block(s.cols), blocks = need_dw ? (s.rows + block - 1) / block : 0;
  const Tensor workspace = Tensor::empty({blocks * s.cols}, rrms.dtype());
  visit_floating(x.dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    using S = typename RootOf<T>::type;
    static const Kernel<rms_norm_backward_fn<T>> kernel{cat("rms_norm_backward/", name(dtype_of<T>())).c_str()};
    launch(kWork * x.numel(), [&] {
      kernel(x.data<T>(), w ? w.data<T>() : nullptr, rrms.data<S>(), dy.data<T>(), dx.data<T>(),
             need_dw ? dw.data<T>() : nullptr, workspace.data<S>(), s.rows, s.cols);
    });
  });
  return {dx, dw};
}

}  // namespace
}  // namespace dl

DL_BIND(rms_norm) {
  using namespace dl;
  m.def("rms_norm_forward", &rms_norm_forward, py::arg("x"), py::arg("shape"), py::arg("w"), py::arg("eps"),
        "RMS norm over the last dimensions: the result, and 1 / root mean square of each row.");
  m.def("rms_norm_backward", &rms_norm_backward, py::arg("x"), py::arg("w"), py::arg("rrms"), py::arg("dy"),
        py::arg("shape"), py::arg("need_dw"), "Gradients of RMS norm for x and w; None for one not asked for.");
}
