#include "kernels/batch_norm/batch_norm.h"

#include "ops/common.h"

namespace dl {
namespace {

constexpr int64_t kWork = 8;  // rough operations per element
using MaybeTensor = std::optional<Tensor>;

BatchNormShape shape_of(const Tensor& x) {
  check_floating(x, "batch_norm");
  DL_CHECK(x.ndim() >= 2, "[batch_norm] expected input of shape (N, C) or (N, C, ...), got shape ", x.shape());
  BatchNormShape s = {x.shape()[0], x.shape()[1], 1};
  for (int d = 2; d < x.ndim(); ++d) s.S *= x.shape()[d];
  return s;
}

void check_channels(const MaybeTensor& p, const Tensor& x, const char* what) {
  if (!p) return;
  DL_CHECK(p->ndim() == 1 && p->size(0) == x.size(1), "[batch_norm] expected ", what, " of shape (", x.size(1),
           ",), one for each channel of the input ", x.shape(), ", got shape ", p->shape());
  DL_CHECK_TYPE(is_floating(p->dtype()), "[batch_norm] expected ", what, " of a floating dtype, got ", p->dtype());
}

DType channel_dtype(const Tensor& x) { return x.dtype() == DType::float64 ? DType::float64 : DType::float32; }

MaybeTensor parameter(const MaybeTensor& p, const Tensor& x, const char* what) {
  check_channels(p, x, what);
  return p ? MaybeTensor(cast(*p, channel_dtype(x))) : std::nullopt;
}

template <class P> const P* data_or_null(const MaybeTensor& t) { return t ? t->data<P>() : nullptr; }
template <class P> P* data_or_null(const Tensor& t) { return t ? t.data<P>() : nullptr; }

// running = (1 - momentum) * running + momentum * factor * value, in place.
void update(const MaybeTensor& running, const Tensor& value, double factor, double momentum) {
  if (!running) return;
  mark_written(*running, "batch_norm");
  const double* v = value.data<double>();
  visit_floating(running->dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    T* r = running->data<T>();
    launch(value.numel(), [&] {
      for (int64_t c = 0; c < value.numel(); ++c, r += running->strides()[0]) {
        if constexpr (std::is_same_v<T, bfloat16>)
          *r = to_bfloat16(static_cast<float>((1 - momentum) * to_float(*r) + momentum * factor * v[c]));
        else *r = static_cast<T>((1 - momentum) * *r + momentum * factor * v[c]);
      }
    });
  });
}

// With the statistics of the batch: y, the mean and the variance.
std::tuple<Tensor, Tensor, Tensor> batch_norm_forward(const Tensor& input, const MaybeTensor& weight,
                                                      const MaybeTensor& bias, const MaybeTensor& running_mean,
                                                      const MaybeTensor& running_var, double momentum, double eps) {
  const BatchNormShape s = shape_of(input);
  const int64_t n = s.N * s.S;
  const MaybeTensor w = parameter(weight, input, "weight"), b = parameter(bias, input, "bias");
  DL_CHECK(running_mean.has_value() == running_var.has_value(),
           "[batch_norm] expected both running_mean and running_var, or neither, got None for ",
           running_mean ? "running_var" : "running_mean");
  check_channels(running_mean, input, "running_mean");
  check_channels(running_var, input, "running_var");
  if (running_mean) check_writable(*running_mean, "batch_norm");
  if (running_var) check_writable(*running_var, "batch_norm");
  DL_CHECK(eps > 0, "[batch_norm] expected eps above 0 in training, got ", eps);
  DL_CHECK(n != 1, "[batch_norm] expected more than one value per channel in training, got input of shape ",
           input.shape());
  const Tensor x = contiguous(input), y = Tensor::empty(x.shape(), x.dtype());
  const Tensor mean = Tensor::empty({s.C}, DType::float64), var = Tensor::empty({s.C}, DType::float64);
  if (x.numel() == 0) return {y, Tensor::zeros({s.C}, DType::float64), Tensor::zeros({s.C}, DType::float64)};
  const Tensor workspace = Tensor::empty({batch_norm_workspace(s)}, DType::float64);
  visit_floating(x.dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    using P = typename ChannelOf<T>::type;
    static const Kernel<batch_norm_forward_fn<T>> kernel{cat("batch_norm_forward/", name(dtype_of<T>())).c_str()};
    launch(kWork * x.numel(), [&] {
      kernel(x.data<T>(), data_or_null<P>(w), data_or_null<P>(b), y.data<T>(), mean.data<double>(), var.data<double>(),
             workspace.data<double>(), &s, eps);
    });
  });
  update(running_mean, mean, 1, momentum);
  update(running_var, var, static_cast<double>(n) / static_cast<double>(n - 1), momentum);
  return {y, mean, var};
}

// With given statistics: y, and the statistics as the gradient takes them.
std::tuple<Tensor, Tensor, Tensor> batch_norm_apply(const Tensor& input, const MaybeTensor& weight,
                                                    const MaybeTensor& bias, const MaybeTensor& running_mean,
                                                    const MaybeTensor& running_var, double eps) {
  const BatchNormShape s = shape_of(input);
  const MaybeTensor w = parameter(weight, input, "weight"), b = parameter(bias, input, "bias");
  DL_CHECK(eps >= 0, "[batch_norm] expected eps of at least 0, got ", eps);
  DL_CHECK(running_mean && running_var,
           "[batch_norm] expected running_mean and running_var where training is False, got None for ",
           running_mean  ? "running_var"
           : running_var ? "running_mean"
                         : "both");
  check_channels(running_mean, input, "running_mean");
  check_channels(running_var, input, "running_var");
  const Tensor x = contiguous(input), y = Tensor::empty(x.shape(), x.dtype());
  // A copy: a later step in training changes the running statistics in place.
  const Tensor mean = Tensor::empty({s.C}, DType::float64), var = Tensor::empty({s.C}, DType::float64);
  copy_into(*running_mean, mean);
  copy_into(*running_var, var);
  if (x.numel() == 0) return {y, mean, var};
  const Tensor workspace = Tensor::empty({batch_norm_workspace(s)}, DType::float64);
  visit_floating(x.dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    using P = typename ChannelOf<T>::type;
    static const Kernel<batch_norm_apply_fn<T>> kernel{cat("batch_norm_apply/", name(dtype_of<T>())).c_str()};
    launch(kWork * x.numel(), [&] {
      kernel(x.data<T>(), data_or_null<P>(w), data_or_null<P>(b), mean.data<double>(), var.data<double>(), y.data<T>(),
             workspace.data<double>(), &s, eps);
    });
  });
  return {y, mean, var};
}

// A gradient that is not asked for is undefined.
std::tuple<Tensor, Tensor, Tensor> batch_norm_backward(const Tensor& input, const MaybeTensor& weight,
                                                       const Tensor& mean, const Tensor& var, const Tensor& grad,
                                                       double eps, bool own, bool need_dx, bool need_dw, bool need_db) {
  const BatchNormShape s = shape_of(input);
  const Tensor x = contiguous(input), dy = cast(grad, x.dtype());
  const MaybeTensor w = parameter(weight, input, "weight");
  const Tensor dx = need_dx ? Tensor::empty(x.shape(), x.dtype()) : Tensor();
  const Tensor dw = need_dw ? Tensor::zeros({s.C}, channel_dtype(x)) : Tensor();
  const Tensor db = need_db ? Tensor::zeros({s.C}, channel_dtype(x)) : Tensor();
  if (x.numel() == 0) return {dx, dw, db};
  const Tensor workspace = Tensor::empty({batch_norm_workspace(s)}, DType::float64);
  visit_floating(x.dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    using P = typename ChannelOf<T>::type;
    static const Kernel<batch_norm_backward_fn<T>> kernel{cat("batch_norm_backward/", name(dtype_of<T>())).c_str()};
    launch(kWork * x.numel(), [&] {
      kernel(x.data<T>(), data_or_null<P>(w), mean.data<double>(), var.data<double>(), dy.data<T>(),
             data_or_null<T>(dx), data_or_null<P>(dw), data_or_null<P>(db), workspace.data<double>(), &s, eps, own);
    });
  });
  return {dx, dw, db};
}

}  // namespace
}  // namespace dl

DL_BIND(batch_norm) {
  using namespace dl;
  m.def("batch_norm_forward", &batch_norm_forward, py::arg("x"), py::arg("w"), py::arg("b"), py::arg("running_mean"),
        py::arg("running_var"), py::arg("momentum"), py::arg("eps"),
        "Batch norm with the batch's statistics: the result, the mean and the variance. Running statistics are updated "
        "in place.");
  m.def("batch_norm_apply", &batch_norm_apply, py::arg("x"), py::arg("w"), py::arg("b"), py::arg("running_mean"),
        py::arg("running_var"), py::arg("eps"), "Batch norm with given statistics: the result and copies of them.");
  m.def("batch_norm_backward", &batch_norm_backward, py::arg("x"), py::arg("w"), py::arg("mean"), py::arg("var"),
        py::arg("dy"), py::arg("eps"), py::arg("own"), py::arg("need_dx"), py::arg("need_dw"), py::arg("need_db"),
        "Gradients of batch norm for x, w and b; None for one not asked for. own: the statistics are x's.");
}
