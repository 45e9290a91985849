#include "kernels/elementwise/elementwise.h"

#include "kernel_test.h"

namespace dl::test {
namespace {

template <class T> const char* dtype_name() {
  if constexpr (std::is_same_v<T, float>) return "float32";
  else if constexpr (std::is_same_v<T, bfloat16>) return "bfloat16";
  else if constexpr (std::is_same_v<T, double>) return "float64";
  else if constexpr (std::is_same_v<T, int64_t>) return "int64";
  else if constexpr (std::is_same_v<T, int32_t>) return "int32";
  else return "uint8";
}

// Elements that input k reaches from its start.
int64_t reach(const ElementwiseShape& s, int k) {
  int64_t last = 0;
  for (int d = 0; d < s.ndim; ++d) last += (s.sizes[d] - 1) * s.strides[k][d];
  return last + 1;
}

int64_t count(const ElementwiseShape& s) {
  int64_t n = 1;
  for (int d = 0; d < s.ndim; ++d) n *= s.sizes[d];
  return n;
}

// Every way of walking: contiguous, broadcast along rows and columns, inner sizes under and over a vector and a chunk,
// strided. `several_blocks`: more than one block for the threads as well; one operation of each type is enough there,
// as operations share their loops.
std::vector<ElementwiseShape> shapes(bool several_blocks) {
  std::vector<ElementwiseShape> all;
  for (int64_t n : sizes_around_simd()) {
    all.push_back({1, {n}, {{1}, {1}, {1}}});
    all.push_back({1, {n}, {{1}, {0}, {1}}});
    all.push_back({1, {n}, {{0}, {1}, {0}}});
    all.push_back({2, {3, n}, {{n, 1}, {0, 1}, {1, 0}}});
    all.push_back({2, {n, 3}, {{3, 1}, {0, 1}, {1, 0}}});
    all.push_back({2, {5, n}, {{1, 5}, {n, 1}, {2 * n, 2}}});
  }
  all.push_back({1, {7}, {{0}, {0}, {0}}});
  all.push_back({2, {7, 300}, {{0, 1}, {1, 0}, {300, 1}}});
  all.push_back({2, {3, 2500}, {{2600, 1}, {0, 1}, {1, 3}}});
  all.push_back({4, {3, 4, 5, 6}, {{20, 5, 1, 0}, {0, 30, 6, 1}, {4, 1, 0, 12}}});
  all.push_back({8,
                 {2, 1, 2, 3, 1, 2, 1, 2},
                 {{12, 0, 6, 2, 0, 1, 0, 0}, {24, 24, 12, 4, 4, 2, 2, 1}, {0, 0, 0, 0, 0, 0, 0, 1}}});
  if (!several_blocks) return all;
  all.push_back({1, {70001}, {{1}, {1}, {1}}});
  all.push_back({2, {30000, 3}, {{3, 1}, {0, 1}, {1, 0}}});
  all.push_back({2, {300, 400}, {{1, 300}, {1, 0}, {0, 1}}});
  return all;
}

struct Range { double low, high; };

template <class T, class Y> void check_binary(const std::string& op, Range a_range, Range b_range, double units) {
  using Fn = binary_fn<T, Y>;
  for_each_version<Fn>(op + "/" + dtype_name<T>(), [&](Fn kernel, Fn reference) {
    for (const ElementwiseShape& s : shapes(op == "sub" || op == "lt")) {
      GuardedBuffer<T> a(reach(s, 0), 1), b(reach(s, 1));
      GuardedBuffer<Y> y(count(s), 1), expected(count(s));
      a.randomise(a_range.low, a_range.high, 1);
      b.randomise(b_range.low, b_range.high, 2);
      kernel(a.data(), b.data(), y.data(), &s);
      reference(a.data(), b.data(), expected.data(), &s);
      if constexpr (std::is_floating_point_v<Y> || std::is_same_v<Y, bfloat16>) expect_close(y, expected, units);
      else expect_same(y, expected);
    }
    // In place over a.
    const ElementwiseShape s{1, {70}, {{1}, {1}, {1}}};
    if constexpr (std::is_same_v<T, Y>) {
      GuardedBuffer<T> a(70), b(70), expected(70);
      a.randomise(a_range.low, a_range.high, 1);
      b.randomise(b_range.low, b_range.high, 2);
      reference(a.data(), b.data(), expected.data(), &s);
      kernel(a.data(), b.data(), a.data(), &s);
      if constexpr (std::is_integral_v<T>) expect_same(a, expected);
      else expect_close(a, expected, units);
    }
  });
}

// Every pair of special values. The values' own edge cases are judged in Python; here the versions must agree.
template <class T, class Y> void check_specials(const std::string& op, double units) {
  using Fn = binary_fn<T, Y>;
  const float inf = INFINITY;
  const std::vector<float> special = {0.0f,    -0.0f, 1.0f,   -1.0f, 0.5f, 1.5f, -2.0f, 3.0f, 1e-40f,
                                      -1e-30f, 3e38f, -3e38f, 1e10f, inf,  -inf, NAN,   7.0f, 16777216.0f};
  const int64_t n = static_cast<int64_t>(special.size()) * static_cast<int64_t>(special.size());
  for_each_version<Fn>(op + "/" + dtype_name<T>(), [&](Fn kernel, Fn reference) {
    GuardedBuffer<T> a(n), b(n);
    for (int64_t i = 0; i < n; ++i) {
      a[i] = from_double<T>(special[static_cast<size_t>(i) / special.size()]);
      b[i] = from_double<T>(special[static_cast<size_t>(i) % special.size()]);
    }
    GuardedBuffer<Y> y(n), expected(n);
    const ElementwiseShape s{1, {n}, {{1}, {1}, {1}}};
    kernel(a.data(), b.data(), y.data(), &s);
    reference(a.data(), b.data(), expected.data(), &s);
    if constexpr (std::is_same_v<Y, bool>) expect_same(y, expected);
    else expect_close(y, expected, units);
  });
}

// One rounding against one rounding; bfloat16 rounds twice.
constexpr double kRounded = 2.5;

template <class T> void check_floating() {
  for (const char* op : {"add", "sub", "mul", "maximum", "minimum"}) check_binary<T, T>(op, {-4, 4}, {-4, 4}, kRounded);
  check_binary<T, T>("div", {-4, 4}, {0.5, 2}, kRounded);
  check_binary<T, T>("floor_divide", {-40, 40}, {0.5, 2}, kRounded);
  check_binary<T, T>("floor_divide", {-40, 40}, {-2, -0.5}, kRounded);
  check_binary<T, T>("remainder", {-40, 40}, {0.5, 2}, kRounded);
  check_binary<T, T>("remainder", {-40, 40}, {-2, -0.5}, kRounded);
  check_binary<T, T>("pow", {0.01, 4}, {-4, 4}, kRounded);
  for (const char* op : {"add", "sub", "mul", "div", "maximum", "minimum", "floor_divide", "remainder", "pow"})
    check_specials<T, T>(op, kRounded);
  for (const char* op : {"eq", "ne", "lt", "le", "gt", "ge"}) {
    check_binary<T, bool>(op, {-2, 2}, {-2, 2}, 0);
    check_specials<T, bool>(op, 0);
  }
}

TEST(Elementwise, Float32) { check_floating<float>(); }
TEST(Elementwise, BFloat16) { check_floating<bfloat16>(); }
TEST(Elementwise, Float64) { check_floating<double>(); }

template <class T> void check_integers() {
  const Range any = {std::is_signed_v<T> ? -100.0 : 0.0, 100};
  const Range divisor = {std::is_signed_v<T> ? -9.0 : 0.0, 9};
  for (const char* op : {"add", "sub", "mul", "maximum", "minimum", "bitwise_and", "bitwise_or", "bitwise_xor"})
    check_binary<T, T>(op, any, any, 0);
  for (const char* op : {"floor_divide", "remainder"}) check_binary<T, T>(op, any, divisor, 0);
  check_binary<T, T>("pow", divisor, {0, 9}, 0);
  for (const char* op : {"eq", "ne", "lt", "le", "gt", "ge"}) check_binary<T, bool>(op, divisor, divisor, 0);
}

TEST(Elementwise, Int64) { check_integers<int64_t>(); }
TEST(Elementwise, Int32) { check_integers<int32_t>(); }
TEST(Elementwise, UInt8) { check_integers<uint8_t>(); }

// Division of the least number by -1 and by 0 traps in hardware.
template <class T> void check_trapping_division(T quotient_by_minus_one) {
  using Fn = binary_fn<T, T>;
  const T least = std::numeric_limits<T>::min();
  const ElementwiseShape s{1, {3}, {{1}, {1}, {1}}};
  for (const char* op : {"floor_divide", "remainder"})
    for_each_version<Fn>(std::string(op) + "/" + dtype_name<T>(), [&](Fn kernel, Fn) {
      const T a[3] = {least, least, 7}, b[3] = {static_cast<T>(-1), 0, 0};
      T y[3];
      kernel(a, b, y, &s);
      EXPECT_EQ(y[0], std::string(op) == "remainder" ? 0 : quotient_by_minus_one);
      EXPECT_EQ(y[1], 0);
      EXPECT_EQ(y[2], 0);
    });
}
TEST(Elementwise, TrappingDivision) {
  check_trapping_division<int64_t>(std::numeric_limits<int64_t>::min());
  check_trapping_division<int32_t>(std::numeric_limits<int32_t>::min());
}

template <class T> void check_where(const std::string& name) {
  using Fn = where_fn<T>;
  for_each_version<Fn>(name, [](Fn kernel, Fn reference) {
    for (const ElementwiseShape& s : shapes(true)) {
      GuardedBuffer<bool> condition(reach(s, 0), 1);
      GuardedBuffer<T> a(reach(s, 1), 1), b(reach(s, 2)), y(count(s), 1), expected(count(s));
      for (int64_t i = 0; i < condition.size(); ++i) condition[i] = i * 7 % 3 == 0;
      a.randomise(0, 250, 1);
      b.randomise(0, 250, 2);
      kernel(condition.data(), a.data(), b.data(), y.data(), &s);
      reference(condition.data(), a.data(), b.data(), expected.data(), &s);
      expect_same(y, expected);
    }
  });
}

TEST(Elementwise, Where) {
  check_where<uint8_t>("where/1");
  check_where<uint16_t>("where/2");
  check_where<uint32_t>("where/4");
  check_where<uint64_t>("where/8");
}

}  // namespace
}  // namespace dl::test
