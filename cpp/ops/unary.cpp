// Functions of one number: over the memory of any tensor without gaps, in its own order.
#include "kernels/unary/unary.h"

#include "bind/direct.h"
#include "ops/elementwise.h"

namespace dl {
namespace {

// x in the dtype of the computation and without gaps; `order` is its memory order, none for row by row.
Tensor unary_input(const UnaryOp& op, const Tensor& x, Dims& order) {
  const DType t = x.dtype();
  if (op.rule == UnaryRule::numeric)
    DL_CHECK_TYPE(t != DType::boolean, "[", op.name,
                  "] bool tensors have no such operation; use ~ (logical_not), or cast first");
  if (op.rule == UnaryRule::floating) check_floating(x, op.name);
  if (op.rule == UnaryRule::integer)
    DL_CHECK_TYPE(is_integral(t), "[", op.name, "] expected an integer or bool tensor, got ", t);
  const bool to_float32 = (op.rule == UnaryRule::to_floating || op.rule == UnaryRule::predicate) && !is_floating(t);
  if (to_float32) return cast(x, DType::float32);
  if (x.is_contiguous() || dense_order(x, order)) return x;
  order = Dims();
  return contiguous(x);
}
Tensor unary_output(const Tensor& x, const Dims& order, DType dtype) {
  return order.empty() ? Tensor::empty(x.shape(), dtype) : empty_in_order(x.shape(), order, dtype);
}

const Tensor& tensor_from(py::handle object, const char* op) {
  DL_CHECK_TYPE(is_tensor(object.ptr()), "[", op, "] expected a tensor, got ", Py_TYPE(object.ptr())->tp_name);
  return unwrap(object.ptr());
}

Tensor unary(const UnaryOp& op, py::handle object) {
  const Tensor& argument = tensor_from(object, op.name);
  Dims order;
  const Tensor x = unary_input(op, argument, order);
  if (op.rule == UnaryRule::rounding && !is_floating(x.dtype())) {
    const Tensor y = Tensor::empty(x.shape(), x.dtype());
    copy_into(x, y);
    return y;
  }
  const bool predicate = op.rule == UnaryRule::predicate;
  Tensor y = unary_output(x, order, predicate ? DType::boolean : x.dtype());
  const int64_t n = x.numel();
  if (n == 0) return y;
  visit_storage(x.dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    const T* in = static_cast<const T*>(x.raw());
    if (predicate) {
      const auto kernel = op.kernels.get<unary_fn<T, bool>>(x.dtype());
      launch(n, [&] { kernel(in, static_cast<bool*>(y.raw()), n); });
    } else {
      const auto kernel = op.kernels.get<unary_fn<T, T>>(x.dtype());
      launch(n, [&] { kernel(in, static_cast<T*>(y.raw()), n); });
    }
  });
  return y;
}

Tensor unary_param(const UnaryOp& op, py::handle object, double p, double q) {
  const Tensor& argument = tensor_from(object, op.name);
  Dims order;
  const Tensor x = unary_input(op, argument, order);
  Tensor y = unary_output(x, order, x.dtype());
  const int64_t n = x.numel();
  if (n == 0) return y;
  visit_storage(x.dtype(), [&](auto type) {
    using T = typename decltype(type)::type;
    const auto kernel = op.kernels.get<unary_param_fn<T>>(x.dtype());
    launch(n, [&] { kernel(static_cast<const T*>(x.raw()), static_cast<T*>(y.raw()), n, p, q); });
  });
  return y;
}

}  // namespace

void bind_unary(Family& m, const UnaryOp& op) {
  const auto call = [](const void* state, PyObject* const* args) {
    return wrap(unary(*static_cast<const UnaryOp*>(state), args[0]));
  };
  def_direct(m, op.name, "x: object", call, &op);
}

void bind_unary_param(Family& m, const UnaryOp& op) {
  m.def(
      any_device, op.name, [&op](py::handle x, double p, double q) { return unary_param(op, x, p, q); }, py::arg("x"),
      py::arg("p"), py::arg("q") = 0.0);
}

namespace {

const UnaryOp unary_ops[] = {
    {"neg", UnaryRule::numeric},
    {"abs", UnaryRule::numeric},
    {"sign", UnaryRule::numeric},
    {"exp", UnaryRule::to_floating},
    {"expm1", UnaryRule::to_floating},
    {"log", UnaryRule::to_floating},
    {"log1p", UnaryRule::to_floating},
    {"log2", UnaryRule::to_floating},
    {"sqrt", UnaryRule::to_floating},
    {"rsqrt", UnaryRule::to_floating},
    {"reciprocal", UnaryRule::to_floating},
    {"erf", UnaryRule::to_floating},
    {"sin", UnaryRule::to_floating},
    {"cos", UnaryRule::to_floating},
    {"floor", UnaryRule::rounding},
    {"ceil", UnaryRule::rounding},
    {"round", UnaryRule::rounding},
    {"trunc", UnaryRule::rounding},
    {"isnan", UnaryRule::predicate},
    {"isinf", UnaryRule::predicate},
    {"isfinite", UnaryRule::predicate},
    {"bitwise_not", UnaryRule::integer},
};
const UnaryOp clamp_op = {"clamp", UnaryRule::floating};

}  // namespace
}  // namespace dl

DL_BIND(unary) {
  using namespace dl;
  for (const UnaryOp& op : unary_ops) bind_unary(m, op);
  bind_unary_param(m, clamp_op);
}
