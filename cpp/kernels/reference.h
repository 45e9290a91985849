// What references share: a number of any dtype in double, and back.
#pragma once
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

}  // namespace
}  // namespace dl
