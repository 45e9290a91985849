// One element from S to D by the rules of the contract. `static`: every per-ISA object keeps its own copy.
#pragma once
#include <cstdint>
#include <type_traits>

#include "core/bfloat16.h"

namespace dl {

// The range a floating value is saturated to before truncation; both ends are exact in double.
template <class D> struct IntegerRange;
template <> struct IntegerRange<int64_t> {
  static constexpr double low = -0x1p63, high = 0x1p63;
  static constexpr int64_t least = INT64_MIN, most = INT64_MAX;
};
template <> struct IntegerRange<int32_t> {
  static constexpr double low = -0x1p31, high = 0x1p31;
  static constexpr int32_t least = INT32_MIN, most = INT32_MAX;
};

template <class S, class D> static inline D convert(S v) {
  if constexpr (std::is_same_v<S, bfloat16>) {
    return convert<float, D>(to_float(v));
  } else if constexpr (std::is_same_v<D, bfloat16>) {
    return to_bfloat16(static_cast<float>(v));
  } else if constexpr (std::is_same_v<D, bool>) {
    return v != S(0);
  } else if constexpr (std::is_floating_point_v<S> && std::is_same_v<D, uint8_t>) {
    // Minimum and maximum instead of branches, so that vectors can do it; NaN is not above 0.
    const S above = v > S(0) ? v : S(0), bounded = above < S(255) ? above : S(255);
    return static_cast<uint8_t>(static_cast<int32_t>(bounded));
  } else if constexpr (std::is_floating_point_v<S> && std::is_integral_v<D>) {
    using Range = IntegerRange<D>;
    if (v != v) return 0;
    if (static_cast<double>(v) <= Range::low) return Range::least;
    if (static_cast<double>(v) >= Range::high) return Range::most;
    return static_cast<D>(v);
  } else {
    return static_cast<D>(v);
  }
}

}  // namespace dl
