#include "kernels/softmax/softmax.h"

#include <string>

#include "ops/common.h"

namespace dl {
namespace {

struct Split { int64_t outer = 1, n = 1, inner = 1; };

Split split_at(const Tensor& x, int64_t dim, const char* op) {
  check_floating(x, op);
  Split s;
  if (x.ndim() == 0) {
    DL_CHECK_INDEX(dim == 0 || dim == -1, "[", op, "] axis ", dim, " is out of range for shape ", x.shape());
    return s;
  }
  const int axis = normalize_axis(dim, x.ndim(), x.shape(), op);
  for (int d = 0; d < axis; ++d) s.outer *= x.shape()[d];
  s.n = x.shape()[axis];
  for (int d = axis + 1; d < x.ndim(); ++d) s.inner *= x.shape()[d];
  return s;
}

// Rough operations per element, an exponential included.
constexpr int64_t kWork = 16;

template <bool kLog> Tensor forward(const Tensor& input, int64_t dim) {
  const Split s = split_at(input, dim, kLog ? "log_softmax" : "softmax");
  const Tensor x = contiguous(input), y = Tensor::empty(x.shape(), x.dtype());
  if (x.numel() == 0) return y;
  visit_floating(x.dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    static const Kernel<softmax_forward_fn<T>> kernel{
        cat(kLog ? "log_softmax_forward/" : "softmax_forward/", name(dtype_of<T>())).c_str()};
    launch(kWork * x.numel(), [&] { kernel(x.data<T>(), y.data<T>(), s.outer, s.n, s.inner); });
  });
  return y;
}

template <bool kLog> Tensor backward(const Tensor& saved, const Tensor& grad, int64_t dim) {
  const Split s = split_at(saved, dim, kLog ? "log_softmax" : "softmax");
  const Tensor y = contiguous(saved), dy = cast(grad, y.dtype()), dx = Tensor::empty(y.shape(), y.dtype());
  if (y.numel() == 0) return dx;
  visit_floating(y.dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    static const Kernel<softmax_backward_fn<T>> kernel{
        cat(kLog ? "log_softmax_backward/" : "softmax_backward/", name(dtype_of<T>())).c_str()};
    launch(kWork * y.numel(), [&] { kernel(y.data<T>(), dy.data<T>(), dx.data<T>(), s.outer, s.n, s.inner); });
  });
  return dx;
}

}  // namespace
}  // namespace dl

DL_BIND(softmax) {
  using namespace dl;
  m.def(any_device, "softmax_forward", &forward<false>, py::arg("x"), py::arg("dim"),
        "exp(x) / sum(exp(x)) along an axis.");
  m.def(any_device, "softmax_backward", &backward<false>, py::arg("y"), py::arg("dy"), py::arg("dim"),
        "Gradient of softmax from its result.");
  m.def(any_device, "log_softmax_forward", &forward<true>, py::arg("x"), py::arg("dim"),
        "x - log(sum(exp(x))) along an axis.");
  m.def(any_device, "log_softmax_backward", &backward<true>, py::arg("y"), py::arg("dy"), py::arg("dim"),
        "Gradient of log_softmax from its result.");
}
