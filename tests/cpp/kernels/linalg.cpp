#include "kernels/linalg/linalg.h"

#include "kernel_test.h"

namespace dl::test {
namespace {

const std::vector<int64_t> kSizes = {1, 2, 5, 16, 17, 33, 63, 64, 65, 130, 200};

// Diagonally dominant: diagonal in [2, 3), the rest of a row adds up to less than 1. The condition is then small, and
// every error is below n units of the result's reach.
template <class T> void make_dominant(GuardedBuffer<T>& a, int64_t batch, int64_t n, uint64_t seed) {
  a.randomise(-0.5 / static_cast<double>(n), 0.5 / static_cast<double>(n), seed);
  for (int64_t i = 0; i < batch * n; ++i) {
    T& pivot = a[i / n * n * n + i % n * (n + 1)];
    pivot = from_double<T>(2.5 + as_double(pivot));
  }
}

template <class T> void check_cholesky(const char* name) {
  using Fn = cholesky_fn<T>;
  for_each_version<Fn>(name, [](Fn kernel, Fn reference) {
    for (int64_t n : kSizes) {
      const int64_t batch = n < 40 ? 3 : 1;
      GuardedBuffer<T> a(batch * n * n, 1), l(a.size(), 1), expected(a.size());
      make_dominant(a, batch, n, static_cast<uint64_t>(n));
      GuardedBuffer<int64_t> minors(batch), expected_minors(batch);
      kernel(a.data(), l.data(), batch, n, minors.data());
      reference(a.data(), expected.data(), batch, n, expected_minors.data());
      expect_same(minors, expected_minors);
      expect_close(l, expected, static_cast<double>(n), [](int64_t) { return 2.0; });
    }
  });
}

template <class T> void check_minors(const char* name) {
  using Fn = cholesky_fn<T>;
  for_each_version<Fn>(name, [](Fn kernel, Fn) {
    const int64_t n = 100;
    for (int64_t order : {1, 2, 64, 65, 100})
      for (double pivot : {-1.0, 0.0, static_cast<double>(NAN)}) {
        GuardedBuffer<T> a(2 * n * n), l(a.size());
        make_dominant(a, 2, n, 1);
        a[n * n + (order - 1) * (n + 1)] = from_double<T>(pivot);
        GuardedBuffer<int64_t> minors(2);
        kernel(a.data(), l.data(), 2, n, minors.data());
        EXPECT_EQ(minors[0], 0);
        EXPECT_EQ(minors[1], order);
      }
  });
}

template <class T> void check_solve(const char* name) {
  using Fn = solve_triangular_fn<T>;
  for_each_version<Fn>(name, [](Fn kernel, Fn reference) {
    for (int64_t n : kSizes)
      for (int64_t m : {1, 3, 16, 17, 64, 65, 150})
        for (bool upper : {false, true}) {
          if (n > 100 && m > 20) continue;
          GuardedBuffer<T> a(2 * n * n, 1), b(2 * n * m, 1), x(b.size(), 1), expected(b.size());
          make_dominant(a, 2, n, 1);
          b.randomise(-2, 2, 2);
          kernel(a.data(), b.data(), x.data(), 2, n, m, upper);
          reference(a.data(), b.data(), expected.data(), 2, n, m, upper);
          expect_close(x, expected, static_cast<double>(n), [](int64_t) { return 1.0; });
        }
  });
}

TEST(Linalg, Cholesky) {
  check_cholesky<float>("cholesky/float32");
  check_cholesky<double>("cholesky/float64");
  check_minors<float>("cholesky/float32");
  check_minors<double>("cholesky/float64");
}

TEST(Linalg, SolveTriangular) {
  check_solve<float>("solve_triangular/float32");
  check_solve<double>("solve_triangular/float64");
}

}  // namespace
}  // namespace dl::test
