#include "kernels/reduce/reduce.h"

#include <algorithm>

#include "kernel_test.h"

namespace dl::test {
namespace {

template <class T> const char* dtype_name();
template <> const char* dtype_name<float>() { return "float32"; }
template <> const char* dtype_name<bfloat16>() { return "bfloat16"; }
template <> const char* dtype_name<double>() { return "float64"; }
template <> const char* dtype_name<int64_t>() { return "int64"; }
template <> const char* dtype_name<int32_t>() { return "int32"; }
template <> const char* dtype_name<uint8_t>() { return "uint8"; }
template <> const char* dtype_name<bool>() { return "bool"; }

template <class T> std::string kernel_name(const char* op) { return std::string(op) + "/" + dtype_name<T>(); }

struct Shape { int64_t outer, n, inner; };
// Runs and columns around vector widths, in one chunk and in several, with narrow rows taken several at once.
std::vector<Shape> shapes() {
  std::vector<Shape> all;
  for (int64_t n : sizes_around_simd()) {
    all.push_back({3, n, 1});
    all.push_back({2, 9, n});
    all.push_back({1, n, 5});
  }
  for (Shape s : {Shape{2, 1023, 1},
                  {1, 2 * kReduceRun + 7, 1},
                  {2, kReduceRun + 1, 1},
                  {1, 150, 1025},
                  {2, 11000, 3},
                  {1, 600, 64},
                  {1, 9, 2051}})
    all.push_back(s);
  return all;
}

template <class T> void fill(GuardedBuffer<T>& x) {
  if (std::is_same_v<T, bool> || std::is_same_v<T, uint8_t>) x.randomise(0, std::is_same_v<T, bool> ? 2 : 256);
  else x.randomise(-100, 100);
}

// The sum of magnitudes behind each output.
template <class T> std::vector<double> magnitudes(const GuardedBuffer<T>& x, const Shape& s) {
  std::vector<double> m(static_cast<size_t>(s.outer * s.inner));
  for (int64_t i = 0; i < x.size(); ++i)
    m[static_cast<size_t>(i / (s.n * s.inner) * s.inner + i % s.inner)] += std::abs(as_double(x[i]));
  return m;
}

template <class T, class Y, class Check> void each_reduction(const char* op, double low, double high, Check check) {
  using Fn = reduce_fn<T, Y>;
  using W = typename PartialOf<Y>::type;
  const Fn reference = find_version<Fn>(kernel_name<T>(op), Target::reference);
  for (const Shape& s : shapes()) {
    GuardedBuffer<T> x(s.outer * s.n * s.inner, 1);
    GuardedBuffer<Y> expected(s.outer * s.inner);
    if (low < high) x.randomise(low, high);
    else fill(x);
    reference(x.data(), expected.data(), s.outer, s.n, s.inner, nullptr);
    for_each_fast_version<Fn>(kernel_name<T>(op), [&](Fn kernel) {
      GuardedBuffer<Y> y(s.outer * s.inner, 1);
      GuardedBuffer<W> workspace(reduce_workspace(s.outer, s.n, s.inner), 1);
      kernel(x.data(), y.data(), s.outer, s.n, s.inner, workspace.data());
      check(x, y, expected, s);
    });
  }
}

// The tree of a float sum is about 16 + log deep in the cases here; bfloat16 adds one rounding of the result. Doubles
// are added one after another, by the reference as well: n terms of one size round by at most n / 2 of their magnitude
// each.
template <class T> double units_of_sum(const Shape& s) {
  return 16 + (std::is_same_v<T, double> ? static_cast<double>(s.n) : 0);
}

template <class T> void check_sums() {
  for (const char* op : {"sum", "mean", "norm1"})
    each_reduction<T, T>(op, 0, 0, [&](auto& x, auto& y, auto& expected, const Shape& s) {
      const std::vector<double> m = magnitudes(x, s);
      const double n = std::string(op) == "mean" ? static_cast<double>(s.n) : 1;
      expect_close(y, expected, units_of_sum<T>(s), [&](int64_t i) { return m[static_cast<size_t>(i)] / n; });
    });
  // The root halves the relative error of the sum of squares.
  each_reduction<T, T>("norm2", 0, 0, [](auto&, auto& y, auto& expected, const Shape& s) {
    expect_close(y, expected, units_of_sum<T>(s) / 2 + 2);
  });
}

TEST(Reduce, Sums) {
  check_sums<float>();
  check_sums<bfloat16>();
  check_sums<double>();
}

TEST(Reduce, Products) {
  // Factors near 1: the product of n factors has n roundings.
  auto check = [](auto&, auto& y, auto& expected, const Shape& s) {
    expect_close(y, expected, 2.0 * static_cast<double>(s.n));
  };
  each_reduction<float, float>("prod", 0.9999, 1.0001, check);
  each_reduction<bfloat16, bfloat16>("prod", 0.99, 1.01, check);
  each_reduction<double, double>("prod", 0.9999, 1.0001, check);
}

template <class T> void check_exact(const char* op) {
  each_reduction<T, T>(op, 0, 0, [](auto&, auto& y, auto& expected, const Shape&) { expect_same(y, expected); });
}
template <class T> void check_integers() {
  for (const char* op : {"sum", "prod"})
    each_reduction<T, int64_t>(op, 0, 0,
                               [](auto&, auto& y, auto& expected, const Shape&) { expect_same(y, expected); });
  check_exact<T>("max");
  check_exact<T>("min");
}

TEST(Reduce, Integers) {
  check_integers<int64_t>();
  check_integers<int32_t>();
  check_integers<uint8_t>();
  check_integers<bool>();
}

TEST(Reduce, Extremes) {
  for (const char* op : {"max", "min"}) {
    check_exact<float>(op);
    check_exact<bfloat16>(op);
    check_exact<double>(op);
  }
}

TEST(Reduce, ExtremesPassNanOn) {
  using Fn = reduce_fn<float, float>;
  for (const char* name : {"max/float32", "min/float32", "sum/float32"})
    for_each_version<Fn>(name, [](Fn kernel, Fn) {
      for (const Shape& s : shapes()) {
        GuardedBuffer<float> x(s.outer * s.n * s.inner), y(s.outer * s.inner),
            w(reduce_workspace(s.outer, s.n, s.inner));
        fill(x);
        const int64_t place = s.n * 2 / 3;
        for (int64_t o = 0; o < s.outer; ++o) x[(o * s.n + place) * s.inner] = NAN;
        kernel(x.data(), y.data(), s.outer, s.n, s.inner, w.data());
        for (int64_t i = 0; i < y.size(); ++i) EXPECT_EQ(std::isnan(y[i]), i % s.inner == 0) << i;
      }
    });
}

template <class T> void check_arg(const char* op) {
  using Fn = arg_reduce_fn<T>;
  const Fn reference = find_version<Fn>(kernel_name<T>(op), Target::reference);
  for (const Shape& s : shapes())
    for (bool with_nan : {false, true}) {
      const int64_t outputs = s.outer * s.inner;
      GuardedBuffer<T> x(outputs * s.n, 1), expected_value(outputs);
      GuardedBuffer<int64_t> expected_index(outputs);
      if (with_nan) fill(x);
      else x.randomise(0, 2.99);  // many equal elements in the integer dtypes
      if (!std::is_integral_v<T> && with_nan)
        for (int64_t i = s.inner / 2; i < x.size(); i += 3 * s.inner + 1) x[i] = from_double<T>(NAN);
      if (!std::is_integral_v<T> && !with_nan)
        for (T& v : x) v = from_double<T>(std::floor(as_double(v)));
      reference(x.data(), expected_value.data(), expected_index.data(), s.outer, s.n, s.inner, nullptr);
      for_each_fast_version<Fn>(kernel_name<T>(op), [&](Fn kernel) {
        GuardedBuffer<T> value(outputs, 1);
        GuardedBuffer<int64_t> index(outputs, 1), workspace(reduce_workspace(s.outer, s.n, s.inner));
        kernel(x.data(), value.data(), index.data(), s.outer, s.n, s.inner, workspace.data());
        expect_same(index, expected_index);
        expect_close(value, expected_value, 0);
      });
    }
}

template <class T> void check_args() {
  check_arg<T>("argmax");
  check_arg<T>("argmin");
}

TEST(Reduce, ArgExtremes) {
  check_args<float>();
  check_args<bfloat16>();
  check_args<double>();
  check_args<int64_t>();
  check_args<int32_t>();
  check_args<uint8_t>();
  check_args<bool>();
}

template <class T> void check_moments(double centre) {
  using Fn = moments_fn<T>;
  for_each_version<Fn>(kernel_name<T>("moments"), [&](Fn kernel, Fn reference) {
    for (const Shape& s : shapes()) {
      if (s.inner != 1) continue;
      GuardedBuffer<T> x(s.outer * s.n, 1), mean(s.outer, 1), var(s.outer, 1), expected_mean(s.outer),
          expected_var(s.outer);
      GuardedBuffer<double> workspace(2 * reduce_workspace(s.outer, s.n, 1));
      x.randomise(centre - 100, centre + 100);
      kernel(x.data(), mean.data(), var.data(), s.outer, s.n, static_cast<double>(s.n), workspace.data());
      reference(x.data(), expected_mean.data(), expected_var.data(), s.outer, s.n, static_cast<double>(s.n), nullptr);
      expect_close(mean, expected_mean, 16, [&](int64_t) { return std::abs(centre) + 100; });
      expect_close(var, expected_var, 32);
    }
  });
}

TEST(Reduce, Moments) {
  for (double centre : {0.0, 1e4, 1e8}) {
    check_moments<float>(centre);
    check_moments<double>(centre);
  }
  check_moments<bfloat16>(0);
}

template <class T, class Y> void check_cumsum() {
  using Fn = cumsum_fn<T, Y>;
  const std::string name = kernel_name<T>("cumsum");
  const Fn reference = find_version<Fn>(name, Target::reference);
  for (const Shape& s : shapes())
    for (bool reverse : {false, true}) {
      const int64_t size = s.outer * s.n * s.inner;
      GuardedBuffer<T> x(size, 1), absolute(size);
      GuardedBuffer<Y> expected(size), magnitude(size);
      fill(x);
      reference(x.data(), expected.data(), s.outer, s.n, s.inner, reverse, nullptr);
      // Both add up in double, which errs by at most n / 2 of its eps each, and then round to T. Integers are exact.
      for (int64_t i = 0; i < size; ++i) absolute[i] = from_double<T>(std::abs(as_double(x[i])));
      reference(absolute.data(), magnitude.data(), s.outer, s.n, s.inner, reverse, nullptr);
      const double in_double = static_cast<double>(s.n) / 2 * eps<double>() / eps<T>();
      for_each_fast_version<Fn>(name, [&](Fn kernel) {
        GuardedBuffer<Y> y(size, 1);
        GuardedBuffer<double> workspace(reduce_workspace(s.outer, s.n, 1));
        kernel(x.data(), y.data(), s.outer, s.n, s.inner, reverse, workspace.data());
        if (std::is_integral_v<Y>) return expect_same(y, expected);
        expect_close(y, expected, 2,
                     [&](int64_t i) { return std::abs(as_double(expected[i])) + in_double * as_double(magnitude[i]); });
      });
    }
}

TEST(Reduce, RunningSums) {
  check_cumsum<float, float>();
  check_cumsum<bfloat16, bfloat16>();
  check_cumsum<double, double>();
  check_cumsum<int64_t, int64_t>();
  check_cumsum<int32_t, int64_t>();
  check_cumsum<uint8_t, int64_t>();
  check_cumsum<bool, int64_t>();
}

template <class T> void check_logsumexp() {
  using Fn = logsumexp_fn<T>;
  for_each_version<Fn>(kernel_name<T>("logsumexp"), [](Fn kernel, Fn reference) {
    for (const Shape& s : shapes())
      for (double reach : {2.0, 1e4}) {
        if (s.inner != 1) continue;
        GuardedBuffer<T> x(s.outer * s.n, 1), y(s.outer, 1), expected(s.outer);
        x.randomise(-reach, reach);
        if (s.outer == 3) x.fill(-INFINITY);
        kernel(x.data(), y.data(), s.outer, s.n);
        reference(x.data(), expected.data(), s.outer, s.n);
        // The sum's error is relative to it, the logarithm makes it absolute.
        expect_close(y, expected, 16, [&](int64_t i) { return std::abs(as_double(expected[i])) + 1; });
      }
  });
}

TEST(Reduce, LogSumExp) {
  check_logsumexp<float>();
  check_logsumexp<bfloat16>();
  check_logsumexp<double>();
}

}  // namespace
}  // namespace dl::test
