#include "kernels/unary/unary.h"

#include "kernel_test.h"

namespace dl::test {
namespace {

template <class T> std::string dtype_name() {
  if constexpr (std::is_same_v<T, float>) return "/float32";
  else if constexpr (std::is_same_v<T, bfloat16>) return "/bfloat16";
  else if constexpr (std::is_same_v<T, double>) return "/float64";
  else if constexpr (std::is_same_v<T, int64_t>) return "/int64";
  else if constexpr (std::is_same_v<T, int32_t>) return "/int32";
  else return "/uint8";
}

template <class T, class Y>
void compare(unary_fn<T, Y> kernel, unary_fn<T, Y> reference, GuardedBuffer<T>& x, double units) {
  GuardedBuffer<Y> y(x.size(), 1), expected(x.size());
  kernel(x.data(), y.data(), x.size());
  reference(x.data(), expected.data(), x.size());
  if constexpr (std::is_integral_v<Y>) expect_same(y, expected);
  else expect_close(y, expected, units);
}

template <class T, class Y> void check(const std::string& op, double low, double high, double units) {
  using Fn = unary_fn<T, Y>;
  for_each_version<Fn>(op + dtype_name<T>(), [&](Fn kernel, Fn reference) {
    for (int64_t n : sizes_around_simd())
      for (int misalign : {0, 1}) {
        GuardedBuffer<T> x(n, misalign);
        x.randomise(low, high, static_cast<uint64_t>(n));
        compare<T, Y>(kernel, reference, x, units);
      }
    GuardedBuffer<T> large(70001), special(18);  // several blocks; every kind of number
    large.randomise(low, high);
    compare<T, Y>(kernel, reference, large, units);
    const double values[18] = {0.0,  -0.0,  1,    -1,   0.5,      1.5,       -2.5, 1e-40,     -1e-40,
                               3e38, -3e38, 1e-5, 1e10, INFINITY, -INFINITY, NAN,  -8388609., 127};
    for (int i = 0; i < 18; ++i) special[i] = from_double<T>(std::is_integral_v<T> ? i * 13 : values[i]);
    compare<T, Y>(kernel, reference, special, units);
    if constexpr (std::is_same_v<T, Y>) {  // in place
      GuardedBuffer<T> x(70), expected(70);
      x.randomise(low, high);
      reference(x.data(), expected.data(), 70);
      kernel(x.data(), x.data(), 70);
      if constexpr (std::is_integral_v<T>) expect_same(x, expected);
      else expect_close(x, expected, units);
    }
  });
}

// Units: twice the ulps that simd/math.h and simd/wide.h state, one for the reference's own rounding, a half for the
// second rounding of bfloat16.
template <class T> void check_floating() {
  for (const char* op : {"neg", "abs", "sign", "floor", "ceil", "round", "trunc"}) check<T, T>(op, -100, 100, 0);
  check<T, T>("exp", -100, 90, 2 + 1.5);
  check<T, T>("expm1", -20, 90, 3.2 + 1.5);
  check<T, T>("log", 0, 10, 2 + 1.5);
  check<T, T>("log1p", -1, 10, 3 + 1.5);
  check<T, T>("log2", 0, 10, 4.4 + 1.5);
  check<T, T>("sqrt", 0, 10, 1 + 1.5);
  check<T, T>("rsqrt", 0, 10, 2 + 1.5);
  check<T, T>("reciprocal", -10, 10, 1 + 1.5);
  check<T, T>("erf", -4, 4, 2.4 + 1.5);
  check<T, T>("sin", -100, 100, 3.2 + 1.5);
  check<T, T>("cos", -100, 100, 3.2 + 1.5);
  for (const char* op : {"isnan", "isinf", "isfinite"}) check<T, bool>(op, -1, 1, 0);
}

TEST(Unary, Float32) { check_floating<float>(); }
TEST(Unary, BFloat16) { check_floating<bfloat16>(); }
TEST(Unary, Float64) { check_floating<double>(); }

template <class T> void check_integers() {
  for (const char* op : {"neg", "abs", "sign", "bitwise_not"}) check<T, T>(op, std::is_signed_v<T> ? -100 : 0, 100, 0);
}
TEST(Unary, Integers) {
  check_integers<int64_t>();
  check_integers<int32_t>();
  check_integers<uint8_t>();
}

template <class T> void check_clamp() {
  using Fn = unary_param_fn<T>;
  for_each_version<Fn>("clamp" + dtype_name<T>(), [](Fn kernel, Fn reference) {
    for (int64_t n : {1, 17, 33, 130, 70001}) {
      GuardedBuffer<T> x(n, 1), y(n), expected(n);
      x.randomise(-3, 3);
      if (n > 2) x[1] = from_double<T>(NAN), x[2] = from_double<T>(-INFINITY);
      kernel(x.data(), y.data(), n, -1, 0.75);
      reference(x.data(), expected.data(), n, -1, 0.75);
      expect_close(y, expected, 0);
    }
  });
}
TEST(Unary, Clamp) {
  check_clamp<float>();
  check_clamp<bfloat16>();
  check_clamp<double>();
}

}  // namespace
}  // namespace dl::test
