// gather, scatter and scatter_add: every element has an index of its own along one axis.
#include "kernels/gather/gather.h"
#include "ops/common.h"

namespace dl {
namespace {

void append(IndexDims& dims, int64_t size, int64_t stride) {
  if (size == 1) return;
  const int last = dims.ndim - 1;
  if (dims.ndim > 0 && dims.strides[last] == size * stride) {
    dims.sizes[last] *= size;
    dims.strides[last] = stride;
  } else {
    dims.sizes[dims.ndim] = size;
    dims.strides[dims.ndim++] = stride;
  }
}

// What is asked of x along `dim`; the index as contiguous int64.
struct Request {
  GatherShape shape{};
  Tensor index;

  Request(const Tensor& x, int64_t dim, const Tensor& wanted, const char* op) {
    DL_CHECK_TYPE(is_integral(wanted.dtype()), "[", op, "] indices must be integers, got ", wanted.dtype(),
                  " of shape ", wanted.shape());
    DL_CHECK(x.ndim() > 0 && wanted.ndim() == x.ndim(), "[", op,
             "] the index must have as many dimensions as the tensor, at least one; got shapes ", wanted.shape(),
             " and ", x.shape());
    const int axis = normalize_axis(dim, x.ndim(), x.shape(), op);
    for (int d = 0; d < x.ndim(); ++d) {
      DL_CHECK(d == axis || wanted.shape()[d] <= x.shape()[d], "[", op, "] an index of shape ", wanted.shape(),
               " exceeds the tensor of shape ", x.shape(), " in dimension ", d);
      if (d != axis) append(d < axis ? shape.outer : shape.inner, wanted.shape()[d], x.strides()[d]);
    }
    shape.size = x.shape()[axis];
    shape.stride = x.strides()[axis];
    shape.count = wanted.shape()[axis];
    index = cast(wanted, DType::int64);
    check_range(x, axis, op);
  }
  const int64_t* indices() const { return index.data<int64_t>(); }

 private:
  void check_range(const Tensor& x, int axis, const char* op) const {
    if (index.numel() == 0) return;
    static const Kernel<check_indices_fn> kernel{"check_indices"};
    int out_of_range = 0;
    launch(index.numel(), [&] { kernel(indices(), index.numel(), shape.size, &out_of_range); });
    for (int64_t i = 0; out_of_range && i < index.numel(); ++i) {
      const int64_t v = indices()[i];
      if (-shape.size <= v && v < shape.size) continue;
      Dims position = index.shape();
      int64_t rest = i;
      for (int d = position.size() - 1; d >= 0; --d) {
        const int64_t n = position[d];
        position[d] = rest % n;
        rest /= n;
      }
      throw IndexError(cat("[", op, "] index ", v, " at position ", position, " is out of range for axis ", axis,
                           " of size ", shape.size, " (shape ", x.shape(), ")"));
    }
  }
};

template <class T> void run_gather(const Tensor& x, const Request& r, const Tensor& y, const char* name) {
  static const Kernel<gather_fn<T>> kernel{name};
  launch(y.numel(), [&] { kernel(static_cast<const T*>(x.raw()), r.indices(), static_cast<T*>(y.raw()), &r.shape); });
}

Tensor gather(const Tensor& x, int64_t dim, const Tensor& index, const std::string& op) {
  const Request r(x, dim, index, op.c_str());
  const Tensor y = Tensor::empty(index.shape(), x.dtype());
  if (y.numel() == 0) return y;
  switch (itemsize(x.dtype())) {
    case 1: run_gather<uint8_t>(x, r, y, "gather/1"); break;
    case 2: run_gather<uint16_t>(x, r, y, "gather/2"); break;
    case 4: run_gather<uint32_t>(x, r, y, "gather/4"); break;
    default: run_gather<uint64_t>(x, r, y, "gather/8");
  }
  return y;
}

// The part of `values` that an index of this shape reads, in x's dtype; a 0-d value stands for all of them.
Tensor values_for(const Tensor& x, const Tensor& values, const Dims& shape, const char* op) {
  DL_CHECK_TYPE(promote(x.dtype(), values.dtype()) == x.dtype(), "[", op, "] values of ", values.dtype(),
                " do not fit into ", x.dtype());
  if (values.ndim() == 0) return contiguous(cast(values, x.dtype()).expand(shape));
  bool fits = values.ndim() == shape.size();
  for (int d = 0; fits && d < shape.size(); ++d) fits = shape[d] <= values.shape()[d];
  DL_CHECK(fits, "[", op, "] an index of shape ", shape, " exceeds the values of shape ", values.shape());
  Tensor part = values;
  for (int d = 0; d < shape.size(); ++d) part = part.slice(d, 0, shape[d], 1);
  return cast(part, x.dtype());
}

template <class T> void run_scatter(const Tensor& y, const Request& r, const Tensor& values, const char* name) {
  static const Kernel<scatter_fn<T>> kernel{name};
  launch(values.numel(),
         [&] { kernel(static_cast<T*>(y.raw()), r.indices(), static_cast<const T*>(values.raw()), &r.shape); });
}

template <class T> void run_add(const Tensor& y, const Request& r, const Tensor& values, const char* name) {
  static const Kernel<scatter_add_fn<T>> kernel{name};
  launch(values.numel(), [&] { kernel(y.data<T>(), r.indices(), values.data<T>(), &r.shape); });
}

Tensor scatter(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& values) {
  const Tensor y = Tensor::empty(x.shape(), x.dtype());
  copy_into(x, y);
  const Request r(y, dim, index, "scatter");
  const Tensor v = values_for(x, values, index.shape(), "scatter");
  if (v.numel() == 0) return y;
  switch (itemsize(x.dtype())) {
    case 1: run_scatter<uint8_t>(y, r, v, "scatter/1"); break;
    case 2: run_scatter<uint16_t>(y, r, v, "scatter/2"); break;
    case 4: run_scatter<uint32_t>(y, r, v, "scatter/4"); break;
    default: run_scatter<uint64_t>(y, r, v, "scatter/8");
  }
  return y;
}

Tensor scatter_add(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& values) {
  DL_CHECK_TYPE(x.dtype() != DType::boolean, "[scatter_add] bools cannot be added up; cast to an integer dtype first");
  if (x.dtype() == DType::bfloat16) {  // sums of many terms need more than bfloat16's eight bits on the way
    DL_CHECK_TYPE(promote(x.dtype(), values.dtype()) == x.dtype(), "[scatter_add] values of ", values.dtype(),
                  " do not fit into ", x.dtype());
    return cast(scatter_add(cast(x, DType::float32), dim, index, cast(values, DType::float32)), DType::bfloat16);
  }
  const Tensor y = Tensor::empty(x.shape(), x.dtype());
  copy_into(x, y);
  const Request r(y, dim, index, "scatter_add");
  const Tensor v = values_for(x, values, index.shape(), "scatter_add");
  if (v.numel() == 0) return y;
  switch (x.dtype()) {
    case DType::float32: run_add<float>(y, r, v, "scatter_add/float32"); break;
    case DType::float64: run_add<double>(y, r, v, "scatter_add/float64"); break;
    case DType::int64: run_add<int64_t>(y, r, v, "scatter_add/int64"); break;
    case DType::int32: run_add<int32_t>(y, r, v, "scatter_add/int32"); break;
    default: run_add<uint8_t>(y, r, v, "scatter_add/uint8");
  }
  return y;
}

}  // namespace
}  // namespace dl

DL_BIND(gather) {
  using namespace dl;
  m.def("gather", &gather, py::arg("x"), py::arg("dim"), py::arg("index"), py::arg("op") = "gather",
        "x[..., index[..., k, ...], ...] along dim, for every element of index.");
  m.def("scatter", &dl::scatter, py::arg("x"), py::arg("dim"), py::arg("index"), py::arg("values"),
        "A copy of x with values at the indices.");
  m.def("scatter_add", &dl::scatter_add, py::arg("x"), py::arg("dim"), py::arg("index"), py::arg("values"),
        "A copy of x with values added at the indices.");
}
