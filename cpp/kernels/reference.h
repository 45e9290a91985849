// What references share: a number of any dtype in double, and back; and sums.
#pragma once
#include <cmath>
#include <type_traits>

#include "core/bfloat16.h"

namespace dl {
namespace {

template <class T> double value_of(T x) { return static_cast<double>(x); }
inline double value_of(bfloat16 x) { return to_float(x); }

template <class T> T rounded(double a) {
  if constexpr (std::is_same_v<T, bfloat16>) return to_bfloat16(static_cast<float>(a));
  else return static_cast<T>(a);
}

// Kahan's sum: of a million elements it is as good as one rounding.
struct Sum {
  double value = 0, lost = 0;
  void add(double x) {
    const double rest = x - lost, next = value + rest;
    lost = std::isfinite(next) ? (next - value) - rest : 0;
    value = next;
  }
};

}  // namespace
}  // namespace dl
