// Registration of whole lists of functors: `register_all<Add, Sub>(...)` needs names made of an op and a dtype.
#pragma once
#include <cstdio>

#include "core/bfloat16.h"
#include "dispatch/kernel.h"

namespace dl {
namespace {

template <class T> constexpr const char* kDTypeName = nullptr;
template <> constexpr const char* kDTypeName<float> = "float32";
template <> constexpr const char* kDTypeName<bfloat16> = "bfloat16";
template <> constexpr const char* kDTypeName<double> = "float64";
template <> constexpr const char* kDTypeName<int64_t> = "int64";
template <> constexpr const char* kDTypeName<int32_t> = "int32";
template <> constexpr const char* kDTypeName<uint8_t> = "uint8";

// "op/dtype" for the target this file is compiled for. Contract is spelled out by the caller: a function of another
// signature does not convert to it.
template <class Contract> bool register_for_dtype(const char* op, const char* dtype, Contract fn) {
  char name[64];
  std::snprintf(name, sizeof name, "%s/%s", op, dtype);
  return register_kernel(name, Target::DL_TARGET, reinterpret_cast<AnyFn>(fn));
}

}  // namespace
}  // namespace dl
