#include "kernels/activation/activation.h"

#include "kernel_test.h"

namespace dl::test {
namespace {

template <class T> std::string dtype_name() {
  return std::is_same_v<T, float> ? "/float32" : std::is_same_v<T, bfloat16> ? "/bfloat16" : "/float64";
}

template <class T> void fill(GuardedBuffer<T>& x, double bound) {
  x.randomise(-bound, bound, static_cast<uint64_t>(x.size()));
  const double special[] = {0.0, -0.0, INFINITY, -INFINITY, NAN, 1e-40, 3e38, -3e38, -14, -19, 100, -120};
  for (int64_t i = 0; i < 12 && 2 * i + 1 < x.size(); ++i) x[2 * i + 1] = from_double<T>(special[i]);
}

const std::vector<int64_t> kSizes = {1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 130, 70001};

// The magnitude of the reference; `per_x` more of it for each unit of |x|: what the rounding of an exponent costs.
template <class T> void check(const std::string& op, double units, double per_x = 0) {
  using Fn = activation_fn<T>;
  for_each_version<Fn>(op + dtype_name<T>(), [&](Fn kernel, Fn reference) {
    for (int64_t n : kSizes) {
      GuardedBuffer<T> x(n, 1), y(n), expected(n);
      fill(x, 12);
      kernel(x.data(), y.data(), n);
      reference(x.data(), expected.data(), n);
      expect_close(y, expected, units, [&](int64_t i) {
        return std::abs(as_double(expected[i])) *
               (1 + per_x * std::min(400.0, std::pow(std::abs(as_double(x[i])), 3.0)));
      });
    }
  });
}

// Gradients are differences of terms as large as 1 + |x|: their rounding counts against those.
template <class T> void check_backward(const std::string& op, bool of_output, double units) {
  using Fn = activation_backward_fn<T>;
  for_each_version<Fn>(op + dtype_name<T>(), [&](Fn kernel, Fn reference) {
    for (int64_t n : kSizes) {
      const ElementwiseShape s{1, {n}, {{1}, {1}, {1}}};
      GuardedBuffer<T> a(n, 1), dy(n), dx(n, 1), expected(n);
      if (of_output) a.randomise(-1, 1);
      else fill(a, 12);
      dy.randomise(-2, 2, 3);
      kernel(a.data(), dy.data(), dx.data(), &s);
      reference(a.data(), dy.data(), expected.data(), &s);
      expect_close(dx, expected, units, [&](int64_t i) { return std::abs(as_double(dy[i])); });
    }
    // dy broadcast, as the gradient of a sum is.
    const ElementwiseShape s{2, {50, 3}, {{3, 1}, {0, 0}, {0, 0}}};
    GuardedBuffer<T> a(150), dy(1), dx(150), expected(150);
    a.randomise(-1, 1);
    dy.fill(0.5);
    kernel(a.data(), dy.data(), dx.data(), &s);
    reference(a.data(), dy.data(), expected.data(), &s);
    expect_close(dx, expected, units, [&](int64_t) { return 0.5; });
  });
}

template <class T> void check_params(const std::string& op, double units) {
  using Fn = activation_param_fn<T>;
  for_each_version<Fn>(op + dtype_name<T>(), [&](Fn kernel, Fn reference) {
    for (int64_t n : kSizes) {
      GuardedBuffer<T> x(n, 1), y(n), expected(n);
      fill(x, 12);
      kernel(x.data(), y.data(), n, 0.3, 0);
      reference(x.data(), expected.data(), n, 0.3, 0);
      expect_close(y, expected, units);
    }
  });
}

// Units: twice the ulps stated in simd/math.h, one for the reference's rounding, a half for bfloat16's second one.
template <class T> void check_all() {
  check<T>("relu", 0);
  check<T>("tanh", 2.6 + 1.5);
  check<T>("sigmoid", 4.4 + 1.5);
  check<T>("softplus", 3.6 + 1.5);
  check<T>("silu", 4.4 + 1 + 1.5);
  check<T>("gelu", 13 + 1 + 1.5);
  // The argument of the sigmoid, 1.6 x + 0.07 x^3, takes four roundings: they count against its size.
  check<T>("gelu_tanh", 4.4 + 1 + 1.5, 1);
  check_params<T>("leaky_relu", 3.5);
  check_params<T>("elu", 3.2 + 2 + 1.5);
  check_backward<T>("relu_backward", true, 0);
  check_backward<T>("tanh_backward", true, 4);
  check_backward<T>("sigmoid_backward", true, 8);
  // The terms stay under 1.2 in sum; the largest slope of the sigmoid's argument times x, 12, carries its roundings.
  check_backward<T>("silu_backward", false, 16);
  check_backward<T>("gelu_backward", false, 16);
  check_backward<T>("gelu_tanh_backward", false, 32);
}

TEST(Activation, Float32) { check_all<float>(); }
TEST(Activation, BFloat16) { check_all<bfloat16>(); }
TEST(Activation, Float64) { check_all<double>(); }

}  // namespace
}  // namespace dl::test
