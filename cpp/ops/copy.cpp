#include "kernels/copy/copy.h"

#include "core/device_library.h"
#include "ops/common.h"

namespace dl {
namespace {

// Drops dimensions of size one and merges neighbours that step evenly in both tensors.
CopyShape merged_shape(const Tensor& x, const Tensor& y) {
  CopyShape s{};
  for (int d = 0; d < x.ndim(); ++d) {
    const int64_t size = x.shape()[d], sx = x.strides()[d], sy = y.strides()[d];
    if (size == 1) continue;
    const int last = s.ndim - 1;
    if (s.ndim > 0 && s.x_strides[last] == size * sx && s.y_strides[last] == size * sy) {
      s.sizes[last] *= size;
      s.x_strides[last] = sx;
      s.y_strides[last] = sy;
    } else {
      s.sizes[s.ndim] = size;
      s.x_strides[s.ndim] = sx;
      s.y_strides[s.ndim++] = sy;
    }
  }
  if (s.ndim == 0) {
    s.ndim = 1;
    s.sizes[0] = s.x_strides[0] = s.y_strides[0] = 1;
  }
  return s;
}

template <class T> void run_copy(const Tensor& x, const Tensor& y, const char* kernel_name) {
  static const Kernel<copy_strided_fn<T>> kernel{kernel_name};
  const CopyShape s = merged_shape(x, y);
  launch(x.numel(), [&] { kernel(static_cast<const T*>(x.raw()), static_cast<T*>(y.raw()), &s); });
}

// Same dtype, same shape, any strides, no overlap.
void copy_elements(const Tensor& x, const Tensor& y) {
  if (x.numel() == 0) return;
  switch (itemsize(x.dtype())) {
    case 1: return run_copy<uint8_t>(x, y, "copy_strided/1");
    case 2: return run_copy<uint16_t>(x, y, "copy_strided/2");
    case 4: return run_copy<uint32_t>(x, y, "copy_strided/4");
    default: return run_copy<uint64_t>(x, y, "copy_strided/8");
  }
}

Tensor cast_contiguous(const Tensor& x, DType dtype) {
  Tensor y = Tensor::empty(x.shape(), dtype);
  if (x.numel() == 0) return y;
  visit(x.dtype(), [&](auto from) {
    visit(dtype, [&](auto to) {
      using S = typename decltype(from)::type;
      using D = typename decltype(to)::type;
      static const Kernel<cast_fn<S, D>> kernel{cat("cast/", name(dtype_of<S>()), "/", name(dtype_of<D>())).c_str()};
      launch(x.numel(), [&] { kernel(x.data<S>(), y.data<D>(), x.numel()); });
    });
  });
  return y;
}

// Whether two views may touch the same bytes: their address ranges meet.
bool may_overlap(const Tensor& a, const Tensor& b) {
  if (!a.shares_storage(b)) return false;
  auto range = [](const Tensor& t) {
    int64_t low = t.offset(), high = t.offset();
    for (int d = 0; d < t.ndim(); ++d) {
      const int64_t reach = (t.shape()[d] - 1) * t.strides()[d];
      (reach < 0 ? low : high) += reach;
    }
    const int64_t size = static_cast<int64_t>(itemsize(t.dtype()));
    return std::pair<int64_t, int64_t>(low * size, (high + 1) * size);
  };
  const auto [a0, a1] = range(a);
  const auto [b0, b1] = range(b);
  return a0 < b1 && b0 < a1;
}

Tensor clone(const Tensor& x) {
  Tensor y = Tensor::empty(x.shape(), x.dtype());
  copy_elements(x, y);
  return y;
}

}  // namespace

void check_writable(const Tensor& y, const char* op) {
  DL_CHECK(y.storage()->writable, "[", op,
           "] the tensor is a view of read-only memory and cannot be written in place; clone() it first");
  for (int d = 0; d < y.ndim(); ++d)
    DL_CHECK(y.strides()[d] != 0 || y.shape()[d] <= 1, "[", op, "] the target of shape ", y.shape(),
             " is an expanded view, several of its elements share one address; clone() it first");
}

Tensor contiguous(const Tensor& x) { return x.is_contiguous() ? x : clone(x); }

Tensor cast(const Tensor& x, DType dtype) {
  const Tensor c = contiguous(x);
  return c.dtype() == dtype ? c : cast_contiguous(c, dtype);
}

Tensor to_device(const Tensor& x, Device device) {
  if (x.device() == device) return x;
  const Device known = device == Device::cpu ? x.device() : device;
  Tensor source;
  {
    const DeviceScope there(x.device());
    source = contiguous(x);
  }
  const Tensor y = Tensor::empty(x.shape(), x.dtype(), device);
  py::gil_scoped_release release;
  device_library(known).copy(y.address(), device, source.address(), source.device(), x.nbytes());
  return y;
}

void copy_into(const Tensor& x, const Tensor& y, const char* op) {
  check_writable(y, op);
  bool fits = x.ndim() <= y.ndim();
  for (int d = 1; fits && d <= x.ndim(); ++d) fits = x.size(-d) == 1 || x.size(-d) == y.size(-d);
  DL_CHECK(fits, "[", op, "] a value of shape ", x.shape(), " does not broadcast to shape ", y.shape());
  mark_written(y, op);
  const DeviceScope scope(y.device());
  Tensor source = to_device(x, y.device());
  // Cast before expanding: a broadcast source is converted once.
  if (source.dtype() != y.dtype()) source = cast(source, y.dtype());
  if (may_overlap(source, y)) source = clone(source);
  copy_elements(source.expand(y.shape()), y);
}

Tensor full(const Tensor& scalar, const Dims& shape) {
  Tensor y = Tensor::empty(shape, scalar.dtype());
  copy_elements(scalar.expand(shape), y);
  return y;
}

}  // namespace dl

DL_BIND(copy) {
  using namespace dl;
  m.def(any_device, "contiguous", &contiguous, py::arg("x"),
        "x in row-major order: x itself where it already is, else a copy.");
  m.def(any_device, "clone", &dl::clone, py::arg("x"), "A contiguous copy.");
  m.def(any_device, "cast", &cast, py::arg("x"), py::arg("dtype"),
        "x converted to a dtype; x itself where nothing changes.");
  m.def(
      each_device, "check_writable", [](const Tensor& y, const std::string& op) { check_writable(y, op.c_str()); },
      py::arg("y"), py::arg("op"), "Raises ValueError for read-only memory and for expanded views.");
  m.def(
      each_device, "copy_into",
      [](const Tensor& x, const Tensor& y, const std::string& op) { copy_into(x, y, op.c_str()); }, py::arg("x"),
      py::arg("y"), py::arg("op") = "copy_", "Writes x into y, broadcasting and converting; errors speak of `op`.");
  m.def(any_device, "full", &full, py::arg("scalar"), py::arg("shape"),
        "A new tensor of one value, given as a 0-d tensor.");
  m.def("empty", &Tensor::empty, py::arg("shape"), py::arg("dtype"), py::arg("device") = Device::cpu,
        "A new tensor with unset elements.");
  m.def("zeros", &Tensor::zeros, py::arg("shape"), py::arg("dtype"), py::arg("device") = Device::cpu,
        "A new tensor of zeros.");
}
