// Functors of one plain number: integers, which wrap around, and double.
#pragma once
#include "kernels/elementwise/scalar_ops.h"

namespace dl {
namespace {

struct Neg {
  static constexpr auto name = "neg";
  template <class T> static T f(T x) {
    if constexpr (kIsInteger<T>) return Sub::f(T{0}, x);
    else return -x;
  }
};
struct Abs {
  static constexpr auto name = "abs";
  template <class T> static T f(T x) {
    if constexpr (kIsInteger<T>) return x < 0 ? Sub::f(T{0}, x) : x;
    else return __builtin_fabs(x);
  }
};
struct Sign {
  static constexpr auto name = "sign";
  template <class T> static T f(T x) {
    if constexpr (kIsInteger<T>) return static_cast<T>((x > 0) - (x < 0));
    else return x > 0 ? 1 : x < 0 ? -1 : x;
  }
};
struct BitwiseNot {
  static constexpr auto name = "bitwise_not";
  template <class T> static T f(T x) { return static_cast<T>(~x); }
};

}  // namespace
}  // namespace dl
