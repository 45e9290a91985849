// What families of elementwise kernels share above the kernels: dtype promotion, broadcasting and memory layout.
// A family lists its operations in tables and binds them with bind_unary, bind_unary_param and bind_binary.
#pragma once
#include "ops/common.h"

namespace dl {

// A kernel slot for each dtype, looked up once. Bool tensors hold zeros and ones and go to the uint8 kernels.
class KernelFamily {
 public:
  explicit KernelFamily(const char* op) : op_(op) {}
  template <class Fn> Fn get(DType t) const {
    if (t == DType::boolean) t = DType::uint8;
    KernelSlot*& slot = slots_[static_cast<int>(t)];
    if (!slot) slot = &kernel_slot(cat(op_, "/", name(t)).c_str());
    return reinterpret_cast<Fn>(chosen_version(*slot));
  }

 private:
  const char* op_;
  mutable KernelSlot* slots_[kNumDTypes] = {};  // filled under the GIL
};

enum class UnaryRule {
  numeric,      // any dtype but bool
  to_floating,  // integers and bool go to float32 first
  floating,
  rounding,  // integers and bool are whole already: copied
  integer,
  predicate,  // to bool
};
struct UnaryOp {
  const char* name;
  UnaryRule rule;
  KernelFamily kernels{name};
};

enum class BinaryRule {
  arithmetic,  // in the common dtype
  floating,    // integers and bool go to float32 first
  comparison,  // to bool
  bitwise,     // integers and bool
  logical,     // of the truth of any numbers
  gradient,    // of an activation: floating tensors
};
struct BinaryOp {
  const char* name;
  BinaryRule rule;
  KernelFamily kernels{name};
  const KernelFamily* bool_kernels = nullptr;  // arithmetic that bool has: add is or, mul is and
  const char* bool_hint = nullptr;             // else: what to use instead
};

// Calls f(Type<T>{}) with the element type that kernels see.
template <class F> void visit_storage(DType t, F&& f) {
  visit(t == DType::boolean ? DType::uint8 : t, [&](auto type) {
    if constexpr (!std::is_same_v<typename decltype(type)::type, bool>) f(type);
  });
}

// The axes of x from the widest stride to the narrowest, when that is a gapless order of memory.
bool dense_order(const Tensor& x, Dims& order);
Dims row_major(int ndim);
Tensor empty_in_order(const Dims& shape, const Dims& order, DType dtype);

void bind_unary(Family& m, const UnaryOp& op);        // name(x)
void bind_unary_param(Family& m, const UnaryOp& op);  // name(x, p, q = 0)
void bind_binary(Family& m, const BinaryOp& op);      // name(a, b); name_(self, b) for those that keep the dtype

}  // namespace dl
