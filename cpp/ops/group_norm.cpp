#include "kernels/group_norm/group_norm.h"

#include "ops/common.h"

namespace dl {
namespace {

constexpr int64_t kWork = 8;  // rough operations per element
using MaybeTensor = std::optional<Tensor>;

GroupNormShape shape_of(const Tensor& x, int64_t groups) {
  check_floating(x, "group_norm");
  DL_CHECK(x.ndim() >= 2, "[group_norm] expected input of shape (N, C) or (N, C, ...), got shape ", x.shape());
  DL_CHECK(groups > 0, "[group_norm] num_groups must be positive, got ", groups);
  DL_CHECK(x.size(1) % groups == 0, "[group_norm] num_groups must divide the channels, got ", groups, " groups and ",
           x.size(1), " channels (input ", x.shape(), ")");
  GroupNormShape s = {x.shape()[0], x.shape()[1], 1, groups};
  for (int d = 2; d < x.ndim(); ++d) s.S *= x.shape()[d];
  return s;
}

DType affine_dtype(const Tensor& x) { return x.dtype() == DType::float64 ? DType::float64 : DType::float32; }

Tensor parameter(const MaybeTensor& p, const Tensor& x, const char* what) {
  if (!p) return Tensor();
  DL_CHECK(p->ndim() == 1 && p->size(0) == x.size(1), "[group_norm] expected ", what, " of shape (", x.size(1),
           ",), one for each channel of the input ", x.shape(), ", got shape ", p->shape());
  DL_CHECK_TYPE(is_floating(p->dtype()), "[group_norm] expected ", what, " of a floating dtype, got ", p->dtype());
  return cast(*p, affine_dtype(x));
}

template <class P> P* data_or_null(const Tensor& t) { return t ? t.data<P>() : nullptr; }

// y, and the mean and 1 / deviation of each group of each sample.
std::tuple<Tensor, Tensor, Tensor> group_norm_forward(const Tensor& input, int64_t groups, const MaybeTensor& weight,
                                                      const MaybeTensor& bias, double eps) {
  const GroupNormShape s = shape_of(input, groups);
  const Tensor w = parameter(weight, input, "weight"), b = parameter(bias, input, "bias");
  DL_CHECK(eps > 0, "[group_norm] expected eps above 0, got ", eps);
  const Tensor x = contiguous(input), y = Tensor::empty(x.shape(), x.dtype());
  const Tensor mean = Tensor::empty({s.N, s.G}, DType::float64), rstd = Tensor::empty({s.N, s.G}, DType::float64);
  if (x.numel() == 0) return {y, mean, rstd};
  visit_floating(x.dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    using P = typename AffineOf<T>::type;
    static const Kernel<group_norm_forward_fn<T>> kernel{cat("group_norm_forward/", name(dtype_of<T>())).c_str()};
    launch(kWork * x.numel(), [&] {
      kernel(x.data<T>(), data_or_null<P>(w), data_or_null<P>(b), y.data<T>(), mean.data<double>(), rstd.data<double>(),
             &s, eps);
    });
  });
  return {y, mean, rstd};
}

// A gradient that is not asked for is undefined.
std::tuple<Tensor, Tensor, Tensor> group_norm_backward(const Tensor& input, int64_t groups, const MaybeTensor& weight,
                                                       const Tensor& mean, const Tensor& rstd, const Tensor& grad,
                                                       bool need_dx, bool need_dw, bool need_db) {
  const GroupNormShape s = shape_of(input, groups);
  const Tensor x = contiguous(input), dy = cast(grad, x.dtype()), w = parameter(weight, input, "weight");
  const Tensor dx = need_dx ? Tensor::empty(x.shape(), x.dtype()) : Tensor();
  const Tensor dw = need_dw ? Tensor::zeros({s.C}, affine_dtype(x)) : Tensor();
  const Tensor db = need_db ? Tensor::zeros({s.C}, affine_dtype(x)) : Tensor();
  if (x.numel() == 0) return {dx, dw, db};
  const Tensor workspace = Tensor::empty({2 * s.N * s.C}, DType::float64);
  visit_floating(x.dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    using P = typename AffineOf<T>::type;
    static const Kernel<group_norm_backward_fn<T>> kernel{cat("group_norm_backward/", name(dtype_of<T>())).c_str()};
    launch(kWork * x.numel(), [&] {
      kernel(x.data<T>(), data_or_null<P>(w), mean.data<double>(), rstd.data<double>(), dy.data<T>(),
             data_or_null<T>(dx), data_or_null<P>(dw), data_or_null<P>(db), workspace.data<double>(), &s);
    });
  });
  return {dx, dw, db};
}

}  // namespace
}  // namespace dl

DL_BIND(group_norm) {
  using namespace dl;
  m.def("group_norm_forward", &group_norm_forward, py::arg("x"), py::arg("groups"), py::arg("w"), py::arg("b"),
        py::arg("eps"), "Group norm: the result, and the mean and 1 / deviation of each group of each sample.");
  m.def("group_norm_backward", &group_norm_backward, py::arg("x"), py::arg("groups"), py::arg("w"), py::arg("mean"),
        py::arg("rstd"), py::arg("dy"), py::arg("need_dx"), py::arg("need_dw"), py::arg("need_db"),
        "Gradients of group norm for x, w and b; None for one not asked for.");
}
