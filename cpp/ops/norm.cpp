#include "kernels/norm/norm.h"

#include "ops/common.h"

namespace dl {
namespace {

constexpr int64_t kWork = 8;  // rough operations per element

// The last `n_axes` dimensions are normalised together.
struct NormShape { int64_t rows = 1, cols = 1; };
NormShape norm_shape(const Tensor& x, int n_axes) {
  NormShape s;
  for (int d = 0; d < x.ndim(); ++d) (d < x.ndim() - n_axes ? s.rows : s.cols) *= x.shape()[d];
  return s;
}

template <class T> const T* data_or_null(const std::optional<Tensor>& t) { return t ? t->data<T>() : nullptr; }

void check_parameter(const std::optional<Tensor>& p, const Dims& shape, DType dtype, const char* what) {
  if (!p) return;
  DL_CHECK(p->shape() == shape, "[layer_norm] expected ", what, " of normalized_shape ", shape, ", got shape ",
           p->shape());
  DL_CHECK_TYPE(p->dtype() == dtype, "[layer_norm] expected ", what, " of the input's dtype ", dtype, ", got ",
                p->dtype());
}

// With a residual also what was normalised, their sum; undefined without.
std::tuple<Tensor, Tensor, Tensor, Tensor> layer_norm_forward(const Tensor& input,
                                                              const std::optional<Tensor>& residual, const Dims& shape,
                                                              const std::optional<Tensor>& weight,
                                                              const std::optional<Tensor>& bias, double eps) {
  check_floating(input, "layer_norm");
  const int n_axes = shape.size(), first = input.ndim() - n_axes;
  bool fits = n_axes > 0 && first >= 0;
  for (int d = 0; fits && d < n_axes; ++d) fits = input.shape()[first + d] == shape[d];
  DL_CHECK(fits, "[layer_norm] normalized_shape ", shape, " must be the last dimensions of the input, got shape ",
           input.shape());
  DL_CHECK(!residual || residual->shape() == input.shape(), "[layer_norm] expected a residual of the input's shape ",
           input.shape(), ", got ", residual ? residual->shape() : Dims());
  DL_CHECK_TYPE(!residual || residual->dtype() == input.dtype(),
                "[layer_norm] expected a residual of the input's dtype ", input.dtype(), ", got ",
                residual ? residual->dtype() : input.dtype());
  check_parameter(weight, shape, input.dtype(), "weight");
  check_parameter(bias, shape, input.dtype(), "bias");
  const NormShape s = norm_shape(input, n_axes);
  const Tensor x = contiguous(input), y = Tensor::empty(x.shape(), x.dtype());
  const auto other = residual ? std::optional(contiguous(*residual)) : std::nullopt;
  const Tensor sum = residual ? Tensor::empty(x.shape(), x.dtype()) : Tensor();
  const auto w = weight ? std::optional(contiguous(*weight)) : std::nullopt;
  const auto b = bias ? std::optional(contiguous(*bias)) : std::nullopt;
  const DType statistic = x.dtype() == DType::float64 ? DType::float64 : DType::float32;
  const Tensor mean = Tensor::empty({s.rows}, statistic), rstd = Tensor::empty({s.rows}, statistic);
  if (x.numel() == 0) return {y, mean, rstd, sum};
  visit_floating(x.dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    using S = typename StatisticOf<T>::type;
    static const Kernel<layer_norm_forward_fn<T>> kernel{cat("layer_norm_forward/", name(dtype_of<T>())).c_str()};
    launch(kWork * x.numel(), [&] {
      kernel(x.data<T>(), data_or_null<T>(other), data_or_null<T>(w), data_or_null<T>(b), sum ? sum.data<T>() : nullptr,
             y.data<T>(), mean.data<S>(), rstd.data<S>(), s.rows, s.cols, eps);
    });
  });
  return {y, mean, rstd, sum};
}

// dsum: the gradient of what was normalised from elsewhere. dw and db are undefined where they are not asked for.
std::tuple<Tensor, Tensor, Tensor> layer_norm_backward(const Tensor& input, const std::optional<Tensor>& weight,
                                                       const Tensor& mean, const Tensor& rstd, const Tensor& grad,
                                                       const std::optional<Tensor>& dsum, const Dims& shape,
                                                       bool need_dw, bool need_db) {
  const Tensor x = contiguous(input), dy = cast(grad, x.dtype()), dx = Tensor::empty(x.shape(), x.dtype());
  const auto more = dsum ? std::optional(cast(*dsum, x.dtype())) : std::nullopt;
  const auto w = weight ? std::optional(contiguous(*weight)) : std::nullopt;
  const NormShape s = norm_shape(x, shape.size());
  const Tensor dw = need_dw ? Tensor::zeros(shape, x.dtype()) : Tensor(),
               db = need_db ? Tensor::zeros(shape, x.dtype()) : Tensor();
  if (x.numel() == 0) return {dx, dw, db};
  const int64_t block = layer_norm_block(s.cols), blocks = need_dw || need_db ? (s.rows + block - 1) / block : 0;
  const Tensor workspace = Tensor::empty({2 * blocks * s.cols}, mean.dtype());
  visit_floating(x.dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    using S = typename StatisticOf<T>::type;
    static const Kernel<layer_norm_backward_fn<T>> kernel{cat("layer_norm_backward/", name(dtype_of<T>())).c_str()};
    launch(kWork * x.numel(), [&] {
      kernel(x.data<T>(), data_or_null<T>(w), mean.data<S>(), rstd.data<S>(), dy.data<T>(), data_or_null<T>(more),
             dx.data<T>(), need_dw ? dw.data<T>() : nullptr, need_db ? db.data<T>() : nullptr, workspace.data<S>(),
             s.rows, s.cols);
    });
  });
  return {dx, dw, db};
}

}  // namespace
}  // namespace dl

DL_BIND(norm) {
  using namespace dl;
  m.def(any_device, "layer_norm_forward", &layer_norm_forward, py::arg("x"), py::arg("residual"), py::arg("shape"),
        py::arg("w"), py::arg("b"), py::arg("eps"),
        "Layer norm of x + residual over the last dimensions: the result, the mean and 1 / deviation of each row, and "
        "the sum, or None without a residual.");
  m.def(any_device, "layer_norm_backward", &layer_norm_backward, py::arg("x"), py::arg("w"), py::arg("mean"),
        py::arg("rstd"), py::arg("dy"), py::arg("dsum"), py::arg("shape"), py::arg("need_dw"), py::arg("need_db"),
        "Gradients of layer norm for x, with dsum on top, w and b; None for one not asked for.");
}
