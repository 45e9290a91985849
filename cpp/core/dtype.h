// Element types, their sizes and names. No kernel depends on this header; contracts use plain C types.
#pragma once
#include <cstddef>
#include <cstdint>

#include "core/bfloat16.h"
#include "core/device.h"

namespace dl {

enum class DType : uint8_t { float32, bfloat16, float64, int64, int32, uint8, boolean };
constexpr int kNumDTypes = 7;

constexpr size_t itemsize(DType t) {
  constexpr size_t sizes[kNumDTypes] = {4, 2, 8, 8, 4, 1, 1};
  return sizes[static_cast<int>(t)];
}

constexpr const char* name(DType t) {
  constexpr const char* names[kNumDTypes] = {"float32", "bfloat16", "float64", "int64", "int32", "uint8", "bool"};
  return names[static_cast<int>(t)];
}

constexpr bool is_floating(DType t) { return t == DType::float32 || t == DType::bfloat16 || t == DType::float64; }
constexpr bool is_integral(DType t) { return t == DType::int64 || t == DType::int32 || t == DType::uint8; }

// The dtype of a binary operation, by PyTorch's lattice: bool < uint8 < int32 < int64 < bfloat16 < float32 < float64.
constexpr int promotion_rank(DType t) {
  constexpr int rank[kNumDTypes] = {5, 4, 6, 3, 2, 1, 0};
  return rank[static_cast<int>(t)];
}
constexpr DType promote(DType a, DType b) { return promotion_rank(a) >= promotion_rank(b) ? a : b; }

template <class T> constexpr DType dtype_of();
template <> constexpr DType dtype_of<float>() { return DType::float32; }
template <> constexpr DType dtype_of<bfloat16>() { return DType::bfloat16; }
template <> constexpr DType dtype_of<double>() { return DType::float64; }
template <> constexpr DType dtype_of<int64_t>() { return DType::int64; }
template <> constexpr DType dtype_of<int32_t>() { return DType::int32; }
template <> constexpr DType dtype_of<uint8_t>() { return DType::uint8; }
template <> constexpr DType dtype_of<bool>() { return DType::boolean; }

template <class T> struct Type { using type = T; };

// Calls f(Type<T>{}) with the C++ type of a dtype:
// visit(t, [&](auto type) { using T = typename decltype(type)::type; ... }).
template <class F> auto visit(DType t, F&& f) {
  switch (t) {
    case DType::float32: return f(Type<float>{});
    case DType::bfloat16: return f(Type<bfloat16>{});
    case DType::float64: return f(Type<double>{});
    case DType::int64: return f(Type<int64_t>{});
    case DType::int32: return f(Type<int32_t>{});
    case DType::uint8: return f(Type<uint8_t>{});
    default: return f(Type<bool>{});
  }
}

// The same for floating dtypes only; anything else is taken for float64, so check first.
template <class F> auto visit_floating(DType t, F&& f) {
  switch (t) {
    case DType::float32: return f(Type<float>{});
    case DType::bfloat16: return f(Type<bfloat16>{});
    default: return f(Type<double>{});
  }
}

}  // namespace dl
