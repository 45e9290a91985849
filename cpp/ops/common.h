// What every op file uses: registration of bindings, launching kernels, layout helpers.
#pragma once
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <vector>

#include "bind/family.h"
#include "bind/py_tensor.h"
#include "core/parallel.h"
#include "core/plan.h"
#include "core/tensor.h"
#include "dispatch/kernel.h"

namespace dl {

namespace py = pybind11;

bool register_binding(void (*bind)(Family&));

// Runs a kernel. `work` is its rough number of scalar operations: above kReleaseGilAbove (~10 µs) the GIL is
// released meanwhile. A Ctrl-C that arrives inside becomes KeyboardInterrupt here. Whatever writes tensors goes through
// here: in a dry run (core/plan.h) it is left out.
constexpr int64_t kReleaseGilAbove = 20000;
void raise_if_cancelled();
template <class Body> void launch(int64_t work, Body&& body) {
  if (planning()) return;
  if (work > kReleaseGilAbove) {
    py::gil_scoped_release release;
    body();
  } else {
    body();
  }
  raise_if_cancelled();
}

Tensor contiguous(const Tensor& x);         // x itself when it is contiguous already
Tensor cast(const Tensor& x, DType dtype);  // contiguous; x itself when nothing changes
// y[...] = x, broadcasting and casting; y may be strided.
void copy_into(const Tensor& x, const Tensor& y, const char* op = "copy_");
void check_writable(const Tensor& y, const char* op);  // ValueError for read-only memory and expanded views
Tensor full(const Tensor& scalar, const Dims& shape);
Tensor to_device(const Tensor& x, Device device);  // x itself where it lies there, else a contiguous copy

// Raises ValueError when the memory is read-only; bumps the version that autograd compares.
void mark_written(const Tensor& x, const char* op);

void check_floating(const Tensor& x, const char* op);

// A tensor as contiguous rows along one axis: the axis moved last, everything else flattened into `rows`.
struct Rows {
  Tensor data;  // contiguous, the axis last
  int64_t rows, cols;
};
Rows rows_along(const Tensor& x, int axis);      // axis already normalised
Tensor restore_axis(const Tensor& y, int axis);  // moves the last axis back to `axis`

}  // namespace dl

// DL_BIND(softmax) { m.def(any_device, "softmax_forward", …); }; see bind/family.h.
#define DL_BIND(family)                                                                      \
  static void bind_##family(::dl::Family& m);                                                \
  [[maybe_unused]] static const bool bound_##family = ::dl::register_binding(bind_##family); \
  static void bind_##family([[maybe_unused]] ::dl::Family& m)
