#include "kernels/softmax/softmax.h"

#include "kernel_test.h"

namespace dl::test {
namespace {

struct Shape { int64_t outer, n, inner; };
std::vector<Shape> shapes() {
  std::vector<Shape> all;
  for (int64_t n : sizes_around_simd()) {
    all.push_back({3, n, 1});
    all.push_back({2, 9, n});
  }
  for (Shape s : {Shape{2, 5000, 1}, {1, 7, 600}, {200, 65, 1}, {3, 1, 1}, {70, 50, 3}}) all.push_back(s);
  return all;
}

constexpr double kReaches[] = {2, 1e4};

// Errors: the exponential 2, the sum 8, the scale and the product 2; a logarithm is absolute in the terms it takes
// away.
template <class T> void check_forward(const std::string& name, bool is_log) {
  using Fn = softmax_forward_fn<T>;
  for_each_version<Fn>(name, [&](Fn kernel, Fn reference) {
    for (const Shape& s : shapes())
      for (double reach : kReaches) {
        const int64_t size = s.outer * s.n * s.inner;
        GuardedBuffer<T> x(size, 1), y(size, 1), in_place(size, 1), expected(size);
        x.randomise(-reach, reach);
        in_place.copy_from(x);
        kernel(x.data(), y.data(), s.outer, s.n, s.inner);
        kernel(in_place.data(), in_place.data(), s.outer, s.n, s.inner);
        reference(x.data(), expected.data(), s.outer, s.n, s.inner);
        expect_close(y, expected, 12, [&](int64_t i) {
          const double e = std::abs(as_double(expected[i]));
          return is_log ? e + std::log(static_cast<double>(s.n)) + 1 : e;
        });
        expect_same(in_place, y);
      }
  });
}

template <class T> void check_backward(const std::string& name, bool is_log) {
  using Fn = softmax_backward_fn<T>;
  for_each_version<Fn>(name, [&](Fn kernel, Fn reference) {
    for (const Shape& s : shapes()) {
      const int64_t size = s.outer * s.n * s.inner;
      GuardedBuffer<T> y(size, 1), dy(size, 1), dx(size, 1), expected(size);
      if (is_log) y.randomise(-5, 0);
      else y.randomise(0, 2.0 / static_cast<double>(s.n));
      dy.randomise(-1, 1, 2);
      kernel(y.data(), dy.data(), dx.data(), s.outer, s.n, s.inner);
      reference(y.data(), dy.data(), expected.data(), s.outer, s.n, s.inner);
      // |dy| <= 1, so the sum's magnitude is at most 2, or n for the logarithm.
      const double sum = is_log ? static_cast<double>(s.n) : 2;
      expect_close(dx, expected, 16, [&](int64_t i) {
        const double v = as_double(y[i]);
        return is_log ? 1 + std::exp(v) * sum : v * (1 + sum);
      });
      kernel(y.data(), dy.data(), dy.data(), s.outer, s.n, s.inner);
      expect_same(dy, dx);
    }
  });
}

template <class T> void check(const std::string& dtype) {
  check_forward<T>("softmax_forward/" + dtype, false);
  check_forward<T>("log_softmax_forward/" + dtype, true);
  check_backward<T>("softmax_backward/" + dtype, false);
  check_backward<T>("log_softmax_backward/" + dtype, true);
}

TEST(Softmax, MatchesReference) {
  check<float>("float32");
  check<bfloat16>("bfloat16");
  check<double>("float64");
}

TEST(Softmax, RowsOfMinusInfinityAreNan) {
  using Fn = softmax_forward_fn<float>;
  for (const char* name : {"softmax_forward/float32", "log_softmax_forward/float32"})
    for_each_version<Fn>(name, [](Fn kernel, Fn) {
      for (int64_t inner : {1, 3}) {
        GuardedBuffer<float> x(2 * 20 * inner), y(2 * 20 * inner);
        x.randomise(-1, 1);
        for (int64_t i = 0; i < 20 * inner; ++i) x[i] = -INFINITY;
        kernel(x.data(), y.data(), 2, 20, inner);
        for (int64_t i = 0; i < y.size(); ++i) EXPECT_EQ(std::isnan(y[i]), i < 20 * inner);
      }
    });
}

}  // namespace
}  // namespace dl::test
