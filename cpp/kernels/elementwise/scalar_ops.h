// Binary functors over plain numbers: integers, which wrap around, and double.
#pragma once
#include <cstdint>
#include <type_traits>

namespace dl {
namespace {

template <class T> constexpr bool kIsInteger = std::is_integral_v<T>;

// Unsigned arithmetic of at least 32 bits: signed overflow would be undefined.
template <class T> using Wrapping = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;

struct Add {
  static constexpr auto name = "add";
  template <class T> static T f(T a, T b) {
    if constexpr (kIsInteger<T>) return static_cast<T>(static_cast<Wrapping<T>>(a) + static_cast<Wrapping<T>>(b));
    else return a + b;
  }
};
struct Sub {
  static constexpr auto name = "sub";
  template <class T> static T f(T a, T b) {
    if constexpr (kIsInteger<T>) return static_cast<T>(static_cast<Wrapping<T>>(a) - static_cast<Wrapping<T>>(b));
    else return a - b;
  }
};
struct Mul {
  static constexpr auto name = "mul";
  template <class T> static T f(T a, T b) {
    if constexpr (kIsInteger<T>) return static_cast<T>(static_cast<Wrapping<T>>(a) * static_cast<Wrapping<T>>(b));
    else return a * b;
  }
};
struct Div {
  static constexpr auto name = "div";
  static double f(double a, double b) { return a / b; }
};
struct Maximum {
  static constexpr auto name = "maximum";
  template <class T> static T f(T a, T b) { return a != a || a > b ? a : b; }
};
struct Minimum {
  static constexpr auto name = "minimum";
  template <class T> static T f(T a, T b) { return a != a || a < b ? a : b; }
};
struct FloorDivide {
  static constexpr auto name = "floor_divide";
  template <class T> static T f(T a, T b) {
    if constexpr (kIsInteger<T>) {
      if (b == 0) return 0;
      if (b == static_cast<T>(-1) && std::is_signed_v<T>) return Sub::f(T{0}, a);  // the least number / -1 would trap
      const T q = a / b;
      return a % b != 0 && (a < 0) != (b < 0) ? q - 1 : q;
    } else {
      if (b == 0) return a / b;
      const T r = __builtin_fmod(a, b);
      const T q = (a - r) / b - (r != 0 && (r < 0) != (b < 0) ? 1 : 0), down = __builtin_floor(q);
      const T whole = q - down > 0.5 ? down + 1 : down;
      return whole == 0 ? __builtin_copysign(0.0, a / b) : whole;
    }
  }
};
struct Remainder {
  static constexpr auto name = "remainder";
  template <class T> static T f(T a, T b) {
    if constexpr (kIsInteger<T>) {
      if (b == 0 || (b == static_cast<T>(-1) && std::is_signed_v<T>)) return 0;
      const T r = a % b;
      return r != 0 && (r < 0) != (b < 0) ? r + b : r;
    } else {
      const T r = __builtin_fmod(a, b);
      return r == 0 ? __builtin_copysign(0.0, b) : (r < 0) != (b < 0) ? r + b : r;
    }
  }
};
struct Pow {
  static constexpr auto name = "pow";
  template <class T> static T f(T a, T b) {
    if constexpr (kIsInteger<T>) {
      if (std::is_signed_v<T> && b < 0) return a == 1 ? 1 : a == static_cast<T>(-1) ? (b % 2 == 0 ? 1 : -1) : 0;
      T result = 1;
      for (; b != 0; b /= 2, a = Mul::f(a, a))
        if (b % 2 != 0) result = Mul::f(result, a);
      return result;
    } else {
      return __builtin_pow(a, b);
    }
  }
};

struct Eq {
  static constexpr auto name = "eq";
  template <class T> static bool f(T a, T b) { return a == b; }
};
struct Ne {
  static constexpr auto name = "ne";
  template <class T> static bool f(T a, T b) { return a != b; }
};
struct Lt {
  static constexpr auto name = "lt";
  template <class T> static bool f(T a, T b) { return a < b; }
};
struct Le {
  static constexpr auto name = "le";
  template <class T> static bool f(T a, T b) { return a <= b; }
};
struct Gt {
  static constexpr auto name = "gt";
  template <class T> static bool f(T a, T b) { return a > b; }
};
struct Ge {
  static constexpr auto name = "ge";
  template <class T> static bool f(T a, T b) { return a >= b; }
};

struct BitwiseAnd {
  static constexpr auto name = "bitwise_and";
  template <class T> static T f(T a, T b) { return a & b; }
};
struct BitwiseOr {
  static constexpr auto name = "bitwise_or";
  template <class T> static T f(T a, T b) { return a | b; }
};
struct BitwiseXor {
  static constexpr auto name = "bitwise_xor";
  template <class T> static T f(T a, T b) { return a ^ b; }
};

}  // namespace
}  // namespace dl
