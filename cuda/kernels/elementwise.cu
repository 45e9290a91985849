// Arithmetic, comparisons and bits of two numbers, and selection. Functors get numbers in the type of the computation.
#include "cuda/core/elementwise.h"

namespace dl {
namespace {

// Unsigned arithmetic of at least 32 bits: signed overflow would be undefined.
template <class T> using Wrapping = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;

struct Add {
  static constexpr auto name = "add";
  template <class T> static DL_DEVICE T f(T a, T b) {
    if constexpr (std::is_integral_v<T>)
      return static_cast<T>(static_cast<Wrapping<T>>(a) + static_cast<Wrapping<T>>(b));
    else return a + b;
  }
};
struct Sub {
  static constexpr auto name = "sub";
  template <class T> static DL_DEVICE T f(T a, T b) {
    if constexpr (std::is_integral_v<T>)
      return static_cast<T>(static_cast<Wrapping<T>>(a) - static_cast<Wrapping<T>>(b));
    else return a - b;
  }
};
struct Mul {
  static constexpr auto name = "mul";
  template <class T> static DL_DEVICE T f(T a, T b) {
    if constexpr (std::is_integral_v<T>)
      return static_cast<T>(static_cast<Wrapping<T>>(a) * static_cast<Wrapping<T>>(b));
    else return a * b;
  }
};
struct Div {
  static constexpr auto name = "div";
  template <class T> static DL_DEVICE T f(T a, T b) { return a / b; }
};
struct Maximum {
  static constexpr auto name = "maximum";
  template <class T> static DL_DEVICE T f(T a, T b) { return a != a || a > b ? a : b; }
};
struct Minimum {
  static constexpr auto name = "minimum";
  template <class T> static DL_DEVICE T f(T a, T b) { return a != a || a < b ? a : b; }
};
// Quotients of floats in double: the difference of a and the remainder is exact there.
struct FloorDivide {
  static constexpr auto name = "floor_divide";
  template <class T> static DL_DEVICE T f(T a, T b) {
    if constexpr (std::is_integral_v<T>) {
      if (b == 0) return 0;
      if (std::is_signed_v<T> && b == static_cast<T>(-1)) return Sub::f(T{0}, a);  // the least number / -1 overflows
      const T q = a / b;
      return a % b != 0 && (a < 0) != (b < 0) ? q - 1 : q;
    } else {
      if (b == 0) return a / b;
      const double x = a, y = b, r = fmod(x, y);
      const double q = (x - r) / y - (r != 0 && (r < 0) != (y < 0) ? 1 : 0), down = floor(q);
      const double whole = q - down > 0.5 ? down + 1 : down;
      return static_cast<T>(whole == 0 ? copysign(0.0, x / y) : whole);
    }
  }
};
struct Remainder {
  static constexpr auto name = "remainder";
  template <class T> static DL_DEVICE T f(T a, T b) {
    if constexpr (std::is_integral_v<T>) {
      if (b == 0 || (std::is_signed_v<T> && b == static_cast<T>(-1))) return 0;
      const T r = a % b;
      return r != 0 && (r < 0) != (b < 0) ? r + b : r;
    } else {
      const double y = b, r = fmod(static_cast<double>(a), y);
      return static_cast<T>(r == 0 ? copysign(0.0, y) : (r < 0) != (y < 0) ? r + y : r);
    }
  }
};
struct Pow {
  static constexpr auto name = "pow";
  template <class T> static DL_DEVICE T f(T a, T b) {
    if constexpr (std::is_integral_v<T>) {
      if (std::is_signed_v<T> && b < 0) return a == 1 ? 1 : a == static_cast<T>(-1) ? (b % 2 == 0 ? 1 : -1) : 0;
      T result = 1;
      for (; b != 0; b /= 2, a = Mul::f(a, a))
        if (b % 2 != 0) result = Mul::f(result, a);
      return result;
    } else {
      return pow(a, b);
    }
  }
};

struct Eq {
  static constexpr auto name = "eq";
  template <class T> static DL_DEVICE bool f(T a, T b) { return a == b; }
};
struct Ne {
  static constexpr auto name = "ne";
  template <class T> static DL_DEVICE bool f(T a, T b) { return a != b; }
};
struct Lt {
  static constexpr auto name = "lt";
  template <class T> static DL_DEVICE bool f(T a, T b) { return a < b; }
};
struct Le {
  static constexpr auto name = "le";
  template <class T> static DL_DEVICE bool f(T a, T b) { return a <= b; }
};
struct Gt {
  static constexpr auto name = "gt";
  template <class T> static DL_DEVICE bool f(T a, T b) { return a > b; }
};
struct Ge {
  static constexpr auto name = "ge";
  template <class T> static DL_DEVICE bool f(T a, T b) { return a >= b; }
};

struct BitwiseAnd {
  static constexpr auto name = "bitwise_and";
  template <class T> static DL_DEVICE T f(T a, T b) { return a & b; }
};
struct BitwiseOr {
  static constexpr auto name = "bitwise_or";
  template <class T> static DL_DEVICE T f(T a, T b) { return a | b; }
};
struct BitwiseXor {
  static constexpr auto name = "bitwise_xor";
  template <class T> static DL_DEVICE T f(T a, T b) { return a ^ b; }
};

using Floats = For<float, bfloat16, double>;
using Integers = For<int64_t, int32_t, uint8_t>;
using All = For<float, bfloat16, double, int64_t, int32_t, uint8_t>;

[[maybe_unused]] const bool registered =
    All::register_binary<Add, Sub, Mul, Maximum, Minimum, FloorDivide, Remainder, Pow>() &
    All::register_comparisons<Eq, Ne, Lt, Le, Gt, Ge>() & Floats::register_binary<Div>() &
    Integers::register_binary<BitwiseAnd, BitwiseOr, BitwiseXor>();

template <class T> __global__ void __launch_bounds__(kMapThreads)
    where_kernel(const bool* condition, Run<T> a, Run<T> b, T* y, ElementwiseShape s, int64_t n) {
  for (int64_t i = int64_t{blockIdx.x} * kMapThreads + threadIdx.x; i < n; i += int64_t{gridDim.x} * kMapThreads) {
    int64_t at[3] = {0, 0, 0};
    locate(s, i, n, 3, at);
    if (condition[at[0]]) y[i] = a.is_number ? a.number : a.data[at[1]];
    else y[i] = b.is_number ? b.number : b.data[at[2]];
  }
}
template <class T> void where(const bool* condition, const T* a, const T* b, T* y, const ElementwiseShape* s) {
  const int64_t n = elements_of(*s);
  if (n == 0) return;
  Launch(blocks_for(n, kMapThreads), kMapThreads)(where_kernel<T>, condition, Run<T>(a, *s, 1), Run<T>(b, *s, 2), y, *s,
                                                  n);
}
DL_REGISTER("where/1", where, where_fn<uint8_t>)
DL_REGISTER("where/2", where, where_fn<uint16_t>)
DL_REGISTER("where/4", where, where_fn<uint32_t>)
DL_REGISTER("where/8", where, where_fn<uint64_t>)

}  // namespace
}  // namespace dl
