#include "kernels/loss/loss.h"

#include <algorithm>
#include <string>

#include "ops/common.h"

namespace dl {
namespace {

constexpr int64_t kWork = 24;  // rough operations per logit

// Targets (rows) as int64, each in [0, classes) or ignore_index.
Tensor checked_targets(const Tensor& target, int64_t classes, int64_t ignore_index, const std::string& op) {
  DL_CHECK_TYPE(target.dtype() == DType::int64 || target.dtype() == DType::int32, "[", op,
                "] expected int64 or int32 class indices, got ", target.dtype(), " of shape ", target.shape());
  const Tensor t = cast(target, DType::int64), on_host = to_device(t, Device::cpu);
  const DeviceScope host(Device::cpu);
  const int64_t* p = on_host.data<int64_t>();
  for (int64_t i = 0; i < t.numel(); ++i)
    DL_CHECK_INDEX((p[i] >= 0 && p[i] < classes) || p[i] == ignore_index, "[", op, "] target ", p[i], " at position ",
                   i, " is out of range for ", classes, " classes");
  return t;
}

CrossEntropyOptions options_of(int64_t ignore_index, double smoothing) { return {ignore_index, smoothing}; }

template <class S> const S* data_or_null(const std::optional<Tensor>& t) { return t ? t->data<S>() : nullptr; }

std::optional<Tensor> as_statistic(const std::optional<Tensor>& w, DType statistic) {
  return w ? std::optional(cast(*w, statistic)) : std::nullopt;
}

DType statistic_of(const Tensor& x) { return x.dtype() == DType::float64 ? DType::float64 : DType::float32; }

// x (rows, cols), target (rows): per row the loss, the weight of its class, and {max, log sum}.
std::tuple<Tensor, Tensor, Tensor> cross_entropy_forward(const Tensor& input, const Tensor& target,
                                                         const std::optional<Tensor>& weight, int64_t ignore_index,
                                                         double smoothing) {
  check_floating(input, "cross_entropy");
  const int64_t rows = input.shape()[0], cols = input.shape()[1];
  const Tensor x = contiguous(input);
  const auto w = as_statistic(weight, statistic_of(x));
  const Tensor loss = Tensor::empty({rows}, statistic_of(x)), norm = Tensor::empty({rows}, statistic_of(x));
  const Tensor statistics = Tensor::empty({rows, 2}, statistic_of(x));
  if (rows == 0) return {loss, norm, statistics};
  const CrossEntropyOptions options = options_of(ignore_index, smoothing);
  visit_floating(x.dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    using S = typename LossOf<T>::type;
    static const Kernel<cross_entropy_forward_fn<T>> kernel{cat("cross_entropy_forward/", name(dtype_of<T>())).c_str()};
    launch(kWork * x.numel(), [&] {
      kernel(x.data<T>(), target.data<int64_t>(), data_or_null<S>(w), loss.data<S>(), norm.data<S>(),
             statistics.data<S>(), rows, cols, &options);
    });
  });
  return {loss, norm, statistics};
}

// dloss: (rows), or one number for all rows. in_place: the gradient takes the place of the logits, which are
// contiguous.
Tensor cross_entropy_backward(const Tensor& input, const Tensor& target, const std::optional<Tensor>& weight,
                              const Tensor& statistics, const Tensor& grad, int64_t ignore_index, double smoothing,
                              bool in_place) {
  const Tensor x = contiguous(input), dx = in_place ? x : Tensor::empty(x.shape(), x.dtype());
  const Tensor dloss = cast(grad, statistics.dtype());
  if (in_place) mark_written(dx, "cross_entropy_backward");
  if (x.numel() == 0) return dx;
  const auto w = as_statistic(weight, statistics.dtype());
  const CrossEntropyOptions options = options_of(ignore_index, smoothing);
  visit_floating(x.dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    using S = typename LossOf<T>::type;
    static const Kernel<cross_entropy_backward_fn<T>> kernel{
        cat("cross_entropy_backward/", name(dtype_of<T>())).c_str()};
    launch(kWork * x.numel(), [&] {
      kernel(x.data<T>(), target.data<int64_t>(), data_or_null<S>(w), statistics.data<S>(), dloss.data<S>(),
             dloss.ndim() == 0 ? 0 : 1, dx.data<T>(), x.shape()[0], x.shape()[1], &options);
    });
  });
  return dx;
}

}  // namespace
}  // namespace dl

DL_BIND(loss) {
  using namespace dl;
  m.def(any_device, "checked_targets", &checked_targets, py::arg("target"), py::arg("classes"), py::arg("ignore_index"),
        py::arg("op"), "Class indices as int64; IndexError for one out of range.");
  m.def(any_device, "cross_entropy_forward", &cross_entropy_forward, py::arg("x"), py::arg("target"), py::arg("w"),
        py::arg("ignore_index"), py::arg("smoothing"),
        "Per row: cross-entropy, class weight, and what the backward needs.");
  m.def(any_device, "cross_entropy_backward", &cross_entropy_backward, py::arg("x"), py::arg("target"), py::arg("w"),
        py::arg("statistics"), py::arg("dloss"), py::arg("ignore_index"), py::arg("smoothing"),
        py::arg("in_place") = false, "Gradient of the rows' cross-entropy for the logits.");
}
