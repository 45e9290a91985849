// The elementwise family: dtype promotion, broadcasting and layout; then one kernel call over merged dimensions.
#include "kernels/elementwise/elementwise.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <limits>
#include <string_view>

#include "bind/direct.h"
#include "ops/elementwise.h"

namespace dl {

bool dense_order(const Tensor& x, Dims& order) {
  order = Dims();
  for (int d = 0; d < x.ndim(); ++d) {
    order.push_back(d);
    for (int i = d; i > 0 && x.strides()[static_cast<int>(order[i - 1])] < x.strides()[static_cast<int>(order[i])]; --i)
      std::swap(order[i - 1], order[i]);
  }
  int64_t expected = 1;
  for (int i = x.ndim() - 1; i >= 0; --i) {
    const int d = static_cast<int>(order[i]);
    if (x.shape()[d] == 1) continue;
    if (x.strides()[d] != expected) return false;
    expected *= x.shape()[d];
  }
  return true;
}

Dims row_major(int ndim) {
  Dims order;
  for (int d = 0; d < ndim; ++d) order.push_back(d);
  return order;
}

Tensor empty_in_order(const Dims& shape, const Dims& order, DType dtype) {
  Dims sizes, inverse(shape.size(), 0);
  for (int i = 0; i < shape.size(); ++i) {
    sizes.push_back(shape[static_cast<int>(order[i])]);
    inverse[static_cast<int>(order[i])] = i;
  }
  return Tensor::empty(sizes, dtype).permute(inverse);
}

namespace {

// An argument: a tensor or a Python number. Numbers are weak: they take the tensor's dtype where its kind can hold
// them.
struct Operand {
  const Tensor* tensor = nullptr;
  enum class Number { none, boolean, integer, real } number = Number::none;
  int64_t integer = 0;
  double real = 0;

  static Operand from(py::handle object, const char* op) {
    Operand o;
    PyObject* p = object.ptr();
    if (is_tensor(p)) {
      o.tensor = &unwrap(p);
    } else if (PyFloat_Check(p)) {
      o.number = Number::real;
      o.real = PyFloat_AS_DOUBLE(p);
    } else if (PyLong_Check(p)) {
      o.number = PyBool_Check(p) ? Number::boolean : Number::integer;
      int overflow = 0;
      o.integer = PyLong_AsLongLongAndOverflow(p, &overflow);
      DL_CHECK(!overflow, "[", op, "] the number ", std::string(py::str(object)), " does not fit into int64");
      o.real = static_cast<double>(o.integer);
    } else {
      throw TypeError(cat("[", op, "] expected a tensor or a number, got ", Py_TYPE(p)->tp_name));
    }
    return o;
  }
  bool is_number() const { return number != Number::none; }
};

DType dtype_of_number(Operand::Number n) {
  return n == Operand::Number::real ? DType::float32 : n == Operand::Number::integer ? DType::int64 : DType::boolean;
}

DType result_dtype(const Operand& a, const Operand& b) {
  if (!a.is_number() && !b.is_number()) return promote(a.tensor->dtype(), b.tensor->dtype());
  if (a.is_number() && b.is_number()) return promote(dtype_of_number(a.number), dtype_of_number(b.number));
  const DType t = (a.is_number() ? b : a).tensor->dtype();
  const Operand::Number n = (a.is_number() ? a : b).number;
  if (n == Operand::Number::boolean || is_floating(t)) return t;
  if (n == Operand::Number::real) return DType::float32;
  return t == DType::boolean ? DType::int64 : t;
}

// An operand in the dtype of the computation.
struct Input {
  const Tensor* given = nullptr;
  Tensor converted;  // where the argument has another dtype
  alignas(8) char number[8];

  // Null for a number.
  const Tensor* tensor() const { return converted ? &converted : given; }
  const void* data() const { return tensor() ? tensor()->raw() : number; }
};

template <class T> bool fits(int64_t v) { return static_cast<int64_t>(static_cast<T>(v)) == v; }
bool fits(int64_t v, DType t) {
  return t == DType::uint8 ? fits<uint8_t>(v) : t == DType::int32 ? fits<int32_t>(v) : t == DType::int64;
}

Input input_of(const Operand& o, DType dtype, const char* op) {
  Input in;
  if (!o.is_number()) {
    if (o.tensor->dtype() == dtype) in.given = o.tensor;
    else in.converted = cast(*o.tensor, dtype);
    return in;
  }
  visit(dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    T value;
    if constexpr (std::is_same_v<T, bfloat16>) value = to_bfloat16(static_cast<float>(o.real));
    else if constexpr (std::is_floating_point_v<T>) value = static_cast<T>(o.real);
    else {
      DL_CHECK(fits<T>(o.integer), "[", op, "] the number ", o.integer, " does not fit into ", dtype,
               "; cast the tensor first");
      value = static_cast<T>(o.integer);
    }
    std::memcpy(in.number, &value, sizeof value);
  });
  return in;
}

// Where the result lies: row by row, or in the order of inputs that are transposed without gaps, so that a transposed
// tensor costs no strided access.
Dims output_order(const Dims& shape, const Input* inputs, int count) {
  Dims order, best = row_major(shape.size());
  bool found = false;
  for (int k = 0; k < count; ++k) {
    const Tensor* x = inputs[k].tensor();
    if (!x || x->shape() != shape) continue;
    if (x->is_contiguous()) return row_major(shape.size());
    if (!found && dense_order(*x, order)) {
      best = order;
      found = true;
    }
  }
  return best;
}

Dims broadcast_strides(const Tensor* x, const Dims& shape) {
  if (!x) return Dims(shape.size(), 0);
  const int lead = shape.size() - x->ndim();
  Dims strides(lead, 0);
  for (int d = 0; d < x->ndim(); ++d) strides.push_back(x->shape()[d] == 1 ? 0 : x->strides()[d]);
  return strides;
}

unsigned numbers_among(const Input* inputs, int count) {
  unsigned numbers = 0;
  for (int k = 0; k < count; ++k) numbers |= inputs[k].tensor() ? 0u : 1u << k;
  return numbers;
}

// The dimensions in memory order of y, those of size one dropped and neighbours merged where every input allows it.
ElementwiseShape merged_shape(const Dims& shape, const Dims& order, const Input* inputs, int count) {
  ElementwiseShape s{};
  Dims strides[kElementwiseInputs];
  for (int k = 0; k < count; ++k) strides[k] = broadcast_strides(inputs[k].tensor(), shape);
  for (int i = 0; i < shape.size(); ++i) {
    const int d = static_cast<int>(order[i]), last = s.ndim - 1;
    const int64_t size = shape[d];
    if (size == 1) continue;
    bool merges = s.ndim > 0;
    for (int k = 0; k < count && merges; ++k) merges = s.strides[k][last] == size * strides[k][d];
    const int at = merges ? last : s.ndim++;
    s.sizes[at] = merges ? s.sizes[last] * size : size;
    for (int k = 0; k < count; ++k) s.strides[k][at] = strides[k][d];
  }
  if (s.ndim == 0) {
    s.ndim = 1;
    s.sizes[0] = 1;
  }
  s.numbers = numbers_among(inputs, count);
  return s;
}

// Where launch releases the GIL, another thread may let an argument's object show other memory (rebind): ours stays.
struct Held {
  std::shared_ptr<Storage> storage[kElementwiseInputs];
  Held(const Input* inputs, int count, int64_t work) {
    for (int k = 0; k < count && work > kReleaseGilAbove; ++k)
      if (const Tensor* x = inputs[k].tensor()) storage[k] = x->storage();
  }
};

// Numbers and row-major tensors of y's shape need no merging: everything is one row.
bool is_one_row(const Dims& shape, const Input* inputs, int count) {
  for (int k = 0; k < count; ++k)
    if (const Tensor* x = inputs[k].tensor(); x && !(x->shape() == shape && x->is_contiguous())) return false;
  return true;
}
ElementwiseShape one_row(int64_t n, const Input* inputs, int count) {
  ElementwiseShape s;
  s.ndim = 1;
  s.sizes[0] = n;
  s.numbers = numbers_among(inputs, count);
  for (int k = 0; k < count; ++k) s.strides[k][0] = inputs[k].tensor() ? 1 : 0;
  return s;
}

Dims output_shape(const Input& a, const Input& b, const char* op) {
  const Tensor *x = a.tensor(), *y = b.tensor();
  if (x && y) return broadcast_shapes(x->shape(), y->shape(), op);
  return x ? x->shape() : y ? y->shape() : Dims();
}

// The dtype that both operands are brought to.
DType compute_dtype(const BinaryOp& op, const Operand& a, const Operand& b) {
  const DType t = result_dtype(a, b);
  switch (op.rule) {
    case BinaryRule::arithmetic:
      DL_CHECK_TYPE(t != DType::boolean || op.bool_kernels, "[", op.name, "] bool tensors have no such operation; ",
                    op.bool_hint);
      return t;
    case BinaryRule::floating: return is_floating(t) ? t : DType::float32;
    case BinaryRule::comparison: {
      // An integer tensor and a number that its dtype cannot hold still compare rightly.
      const Operand& number = a.is_number() ? a : b;
      const Operand& other = a.is_number() ? b : a;
      if (!number.is_number() || other.is_number() || !is_integral(other.tensor->dtype())) return t;
      if (number.number == Operand::Number::real) return DType::float64;
      return t != DType::boolean && fits(number.integer, t) ? t : DType::int64;
    }
    case BinaryRule::bitwise:
      DL_CHECK_TYPE(!is_floating(t), "[", op.name, "] expected integer or bool tensors, got ", t);
      return t;
    case BinaryRule::logical: return DType::boolean;
    case BinaryRule::gradient:
      DL_CHECK_TYPE(is_floating(t), "[", op.name, "] expected floating tensors, got ", t);
      return t;
  }
  return t;
}

// Integer divisors of zero and negative exponents have no value to give.
template <class Refuse> bool any_element(const Input& in, DType dtype, Refuse refuse) {
  const DeviceScope scope(Device::cpu);
  bool found = false;
  const Tensor x = in.tensor() ? contiguous(to_device(*in.tensor(), Device::cpu)) : Tensor();
  const int64_t n = x ? x.numel() : 1;
  visit(dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    if constexpr (std::is_integral_v<T>) {
      const T* p = static_cast<const T*>(x ? x.raw() : in.number);
      for (int64_t i = 0; i < n; ++i) found |= refuse(static_cast<int64_t>(p[i]));
    }
  });
  return found;
}
void check_integer_operands(const BinaryOp& op, const Input& b, DType dtype) {
  if (!is_integral(dtype) || op.rule != BinaryRule::arithmetic) return;
  if (planning()) return;  // values are not known: they read as zeros
  const std::string_view name = op.name;
  if ((name == "floor_divide" || name == "remainder") && any_element(b, dtype, [](int64_t v) { return v == 0; })) {
    PyErr_SetString(PyExc_ZeroDivisionError, cat("[", name, "] integer division by zero").c_str());
    throw py::error_already_set();
  }
  if (name == "pow")
    DL_CHECK(!any_element(b, dtype, [](int64_t v) { return v < 0; }),
             "[pow] integers to negative powers are not integers; cast the base to a floating dtype");
}

// y lies as `s` says.
void run_binary(const BinaryOp& op, const Input* in, DType dtype, const ElementwiseShape& s, const Tensor& y) {
  if (y.numel() == 0) return;
  const Held held(in, 2, y.numel());
  const KernelFamily& kernels = dtype == DType::boolean && op.bool_kernels ? *op.bool_kernels : op.kernels;
  visit_storage(dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const T *a = static_cast<const T*>(in[0].data()), *b = static_cast<const T*>(in[1].data());
    if (op.rule == BinaryRule::comparison) {
      const auto kernel = kernels.get<binary_fn<T, bool>>(dtype);
      launch(y.numel(), [&] { kernel(a, b, static_cast<bool*>(y.raw()), &s); });
    } else {
      const auto kernel = kernels.get<binary_fn<T, T>>(dtype);
      launch(y.numel(), [&] { kernel(a, b, static_cast<T*>(y.raw()), &s); });
    }
  });
}

Tensor binary(const BinaryOp& op, py::handle object_a, py::handle object_b) {
  const Operand a = Operand::from(object_a, op.name), b = Operand::from(object_b, op.name);
  DL_CHECK_TYPE(!a.is_number() || !b.is_number(), "[", op.name, "] expected at least one tensor, got two numbers");
  const DType dtype = compute_dtype(op, a, b);
  const Input in[2] = {input_of(a, dtype, op.name), input_of(b, dtype, op.name)};
  check_integer_operands(op, in[1], dtype);
  const Dims shape = output_shape(in[0], in[1], op.name);
  const DType result = op.rule == BinaryRule::comparison ? DType::boolean : dtype;
  if (is_one_row(shape, in, 2)) {
    Tensor y = Tensor::empty(shape, result);
    run_binary(op, in, dtype, one_row(y.numel(), in, 2), y);
    return y;
  }
  const Dims order = output_order(shape, in, 2);
  Tensor y = empty_in_order(shape, order, result);
  run_binary(op, in, dtype, merged_shape(shape, order, in, 2), y);
  return y;
}

// self = op(self, b), in self's own memory.
Tensor binary_in_place(const BinaryOp& op, const Tensor& self, py::handle object_b) {
  const std::string name = cat(op.name, "_");
  Operand a;
  a.tensor = &self;
  const Operand b = Operand::from(object_b, name.c_str());
  const DType dtype = compute_dtype(op, a, b);
  DL_CHECK_TYPE(is_floating(self.dtype()) || !is_floating(dtype), "[", name, "] a result of dtype ", dtype,
                " cannot be written into a tensor of dtype ", self.dtype());
  DL_CHECK_TYPE(self.dtype() != DType::boolean || dtype == DType::boolean, "[", name, "] a result of dtype ", dtype,
                " cannot be written into a tensor of dtype bool");
  const Input in[2] = {input_of(a, dtype, name.c_str()), input_of(b, dtype, name.c_str())};
  check_integer_operands(op, in[1], dtype);
  DL_CHECK(output_shape(in[0], in[1], name.c_str()) == self.shape(), "[", name, "] the result of shape ",
           output_shape(in[0], in[1], name.c_str()), " does not fit into a tensor of shape ", self.shape());
  const Tensor* other = in[1].tensor();
  const bool shifted =
      other && other->shares_storage(self) &&
      (other->offset() != self.offset() || other->shape() != self.shape() || other->strides() != self.strides());
  Dims order;
  if (dtype == self.dtype() && !shifted && dense_order(self, order)) {
    mark_written(self, name.c_str());
    run_binary(op, in, dtype, merged_shape(self.shape(), order, in, 2), self);
  } else {
    order = row_major(self.ndim());
    const Tensor y = Tensor::empty(self.shape(), dtype);
    run_binary(op, in, dtype, merged_shape(self.shape(), order, in, 2), y);
    copy_into(y, self, name.c_str());
  }
  return self;
}

Tensor where(const Tensor& condition, py::handle object_a, py::handle object_b) {
  DL_CHECK_TYPE(condition.dtype() == DType::boolean, "[where] expected a bool condition, got ", condition.dtype(),
                " of shape ", condition.shape());
  const Operand a = Operand::from(object_a, "where"), b = Operand::from(object_b, "where");
  const DType dtype = result_dtype(a, b);
  Input in[3] = {{}, input_of(a, dtype, "where"), input_of(b, dtype, "where")};
  in[0].given = &condition;
  const Dims shape = broadcast_shapes(condition.shape(), output_shape(in[1], in[2], "where"), "where");
  const Dims order = output_order(shape, in, 3);
  const Tensor y = empty_in_order(shape, order, dtype);
  if (y.numel() == 0) return y;
  const Held held(in, 3, y.numel());
  const ElementwiseShape s = merged_shape(shape, order, in, 3);
  const auto run = [&](auto zero, const char* kernel_name) {
    using T = decltype(zero);
    const Kernel<where_fn<T>> kernel{kernel_name};
    launch(y.numel(), [&] {
      kernel(static_cast<const bool*>(in[0].data()), static_cast<const T*>(in[1].data()),
             static_cast<const T*>(in[2].data()), static_cast<T*>(y.raw()), &s);
    });
  };
  switch (itemsize(dtype)) {
    case 1: run(uint8_t{}, "where/1"); break;
    case 2: run(uint16_t{}, "where/2"); break;
    case 4: run(uint32_t{}, "where/4"); break;
    default: run(uint64_t{}, "where/8");
  }
  return y;
}

}  // namespace

void bind_binary(Family& m, const BinaryOp& op) {
  const auto call = [](const void* state, PyObject* const* args) {
    return wrap(binary(*static_cast<const BinaryOp*>(state), args[0], args[1]));
  };
  def_direct(m, op.name, "a: object, b: object", call, &op);
  if (op.rule == BinaryRule::comparison || op.rule == BinaryRule::gradient) return;
  m.def(
      any_device, cat(op.name, "_").c_str(),
      [&op](py::handle self, py::handle b) {
        binary_in_place(op, unwrap(self.ptr()), b);
        return py::reinterpret_borrow<py::object>(self);
      },
      py::arg("self"), py::arg("b"));
}

namespace {

const KernelFamily bitwise_and{"bitwise_and"}, bitwise_or{"bitwise_or"}, bitwise_xor{"bitwise_xor"};
constexpr const char* kCastBool = "cast them to an integer dtype first";

const BinaryOp binary_ops[] = {
    {"add", BinaryRule::arithmetic, KernelFamily("add"), &bitwise_or},
    {"sub", BinaryRule::arithmetic, KernelFamily("sub"), nullptr,
     "use ^ (logical_xor), or cast them to an integer dtype first"},
    {"mul", BinaryRule::arithmetic, KernelFamily("mul"), &bitwise_and},
    {"maximum", BinaryRule::arithmetic, KernelFamily("maximum"), &bitwise_or},
    {"minimum", BinaryRule::arithmetic, KernelFamily("minimum"), &bitwise_and},
    {"floor_divide", BinaryRule::arithmetic, KernelFamily("floor_divide"), nullptr, kCastBool},
    {"remainder", BinaryRule::arithmetic, KernelFamily("remainder"), nullptr, kCastBool},
    {"pow", BinaryRule::arithmetic, KernelFamily("pow"), nullptr, kCastBool},
    {"div", BinaryRule::floating},
    {"eq", BinaryRule::comparison},
    {"ne", BinaryRule::comparison},
    {"lt", BinaryRule::comparison},
    {"le", BinaryRule::comparison},
    {"gt", BinaryRule::comparison},
    {"ge", BinaryRule::comparison},
    {"bitwise_and", BinaryRule::bitwise},
    {"bitwise_or", BinaryRule::bitwise},
    {"bitwise_xor", BinaryRule::bitwise},
    {"logical_and", BinaryRule::logical, bitwise_and},
    {"logical_or", BinaryRule::logical, bitwise_or},
    {"logical_xor", BinaryRule::logical, bitwise_xor},
};

}  // namespace
}  // namespace dl

DL_BIND(elementwise) {
  using namespace dl;
  for (const BinaryOp& op : binary_ops) bind_binary(m, op);
  static const BinaryOp& mul = *std::find_if(std::begin(binary_ops), std::end(binary_ops),
                                             [](const BinaryOp& op) { return std::string_view(op.name) == "mul"; });
  const auto square = [](const void*, PyObject* const* args) { return wrap(binary(mul, args[0], args[0])); };
  def_direct(m, "square", "x: object", square, nullptr, "x * x.");
  m.def(any_device, "where", &dl::where, py::arg("condition"), py::arg("a"), py::arg("b"),
        "a where the condition holds, else b.");
}
