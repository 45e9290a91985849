#include "kernels/embedding/embedding.h"

#include <string>

#include "ops/common.h"

namespace dl {
namespace {

// (1, 3) for element 7 of shape (2, 4).
Dims position_of(int64_t element, const Dims& shape) {
  Dims position(shape.size(), 0);
  for (int d = shape.size() - 1; d >= 0; --d) {
    position[d] = element % shape[d];
    element /= shape[d];
  }
  return position;
}

Tensor checked_indices(const Tensor& indices, int64_t n, const char* op, const char* what) {
  DL_CHECK_TYPE(indices.dtype() == DType::int64 || indices.dtype() == DType::int32, "[", op,
                "] expected int64 or int32 indices, got ", indices.dtype(), " of shape ", indices.shape());
  const Tensor index = cast(indices, DType::int64), on_host = to_device(index, Device::cpu);
  const DeviceScope host(Device::cpu);
  const int64_t* p = on_host.data<int64_t>();
  for (int64_t i = 0; i < index.numel(); ++i)
    DL_CHECK_INDEX(p[i] >= 0 && p[i] < n, "[", op, "] index ", p[i], " at position ", position_of(i, index.shape()),
                   " is out of range for ", what, " ", n);
  return index;
}

Tensor embedding_forward(const Tensor& indices, const Tensor& weight) {
  DL_CHECK(weight.ndim() == 2, "[embedding] expected a weight of shape (num_embeddings, embedding_dim), got ",
           weight.shape());
  const Tensor index = checked_indices(indices, weight.shape()[0], "embedding", "num_embeddings");
  const Tensor w = contiguous(weight);
  const int64_t cols = w.shape()[1];
  Dims shape = index.shape();
  shape.push_back(cols);
  const Tensor y = Tensor::empty(shape, w.dtype());
  if (y.numel() == 0) return y;
  static const Kernel<embedding_forward_fn> kernel{"embedding_forward"};
  launch(y.numel(), [&] {
    kernel(index.data<int64_t>(), w.raw(), y.raw(), index.numel(), cols * static_cast<int64_t>(itemsize(w.dtype())));
  });
  return y;
}

// dw of shape (vocabulary, dy's last size), or `into` with dw added to it; bfloat16 adds up in float32.
Tensor embedding_backward(const Tensor& indices, const Tensor& grad, int64_t vocabulary, int64_t padding,
                          const std::optional<Tensor>& into) {
  const DType sum_dtype = grad.dtype() == DType::bfloat16 ? DType::float32 : grad.dtype();
  const Tensor index = cast(indices, DType::int64), dy = cast(grad, sum_dtype);
  const int64_t cols = dy.shape().back();
  if (into) {
    DL_CHECK(into->shape() == Dims({vocabulary, cols}) && into->dtype() == grad.dtype() && into->dtype() == sum_dtype &&
                 into->is_contiguous(),
             "[embedding_backward] expected a contiguous sum of shape ", Dims({vocabulary, cols}), " and dtype ",
             sum_dtype, ", got ", into->shape(), " and ", into->dtype());
    mark_written(*into, "embedding_backward");
  }
  const Tensor dw = into ? *into : Tensor::empty({vocabulary, cols}, sum_dtype);
  if (dw.numel() == 0) return cast(dw, grad.dtype());
  auto run = [&](auto type) {
    using T = typename decltype(type)::type;
    static const Kernel<embedding_backward_fn<T>> kernel{cat("embedding_backward/", name(dtype_of<T>())).c_str()};
    launch(dy.numel() + (into ? 0 : dw.numel()), [&] {
      kernel(index.data<int64_t>(), dy.data<T>(), dw.data<T>(), index.numel(), vocabulary, cols, padding,
             into.has_value());
    });
  };
  if (sum_dtype == DType::float32) run(Type<float>{});
  else run(Type<double>{});
  return cast(dw, grad.dtype());
}

}  // namespace
}  // namespace dl

DL_BIND(embedding) {
  using namespace dl;
  m.def(any_device, "embedding_forward", &embedding_forward, py::arg("indices"), py::arg("w"), "Rows of w by index.");
  m.def(any_device, "embedding_backward", &embedding_backward, py::arg("indices"), py::arg("dy"), py::arg("vocabulary"),
        py::arg("padding"), py::arg("into") = py::none(),
        "Gradient of embedding for the table; added to `into` where that is given.");
  m.def(
      any_device, "checked_classes",
      [](const Tensor& indices, int64_t n) { return checked_indices(indices, n, "one_hot", "num_classes"); },
      py::arg("indices"), py::arg("num_classes"), "Class indices as int64; IndexError for one out of range.");
}
