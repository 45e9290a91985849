#include "kernels/loss/loss.h"

#include "kernel_test.h"

namespace dl::test {
namespace {

constexpr int64_t kRows = 7;

struct Variant {
  bool weighted;
  double smoothing, reach;
};
constexpr Variant kVariants[] = {{false, 0, 2},  {true, 0, 2},    {false, 0.1, 2},
                                 {true, 0.1, 2}, {false, 0, 1e4}, {false, 1, 2}};

template <class T> struct Inputs {
  using S = typename LossOf<T>::type;
  GuardedBuffer<T> x;
  GuardedBuffer<int64_t> target;
  GuardedBuffer<S> w, dloss;
  CrossEntropyOptions options;
  Inputs(int64_t cols, const Variant& v)
      : x(kRows * cols, 1), target(kRows), w(cols, 1), dloss(kRows), options{-100, v.smoothing} {
    x.randomise(-v.reach, v.reach);
    w.randomise(0.5, 1.5, 2);
    dloss.randomise(-1, 1, 3);
    for (int64_t r = 0; r < kRows; ++r) target[r] = (r * 31 + 5) % cols;
    target[3] = -100;
  }
};

template <class T, class Body> void for_inputs(const Body& body) {
  std::vector<int64_t> sizes = sizes_around_simd();
  sizes.push_back(9000);
  for (int64_t cols : sizes)
    for (const Variant& v : kVariants) {
      Inputs<T> in(cols, v);
      body(in, v.weighted ? in.w.data() : nullptr, cols, v);
    }
}

template <class T> void check_forward(const std::string& dtype) {
  using Fn = cross_entropy_forward_fn<T>;
  using S = typename LossOf<T>::type;
  const Fn reference = find_version<Fn>("cross_entropy_forward/" + dtype, Target::reference);
  for_inputs<T>([&](Inputs<T>& in, const S* w, int64_t cols, const Variant& v) {
    GuardedBuffer<S> expected(kRows), expected_norm(kRows), expected_statistics(2 * kRows);
    reference(in.x.data(), in.target.data(), w, expected.data(), expected_norm.data(), expected_statistics.data(),
              kRows, cols, &in.options);
    // max - x + log sum: at most 2 reach + log cols, under a weight of 1.5.
    const double largest = 1.5 * (2 * v.reach + std::log(static_cast<double>(cols)));
    for_each_fast_version<Fn>("cross_entropy_forward/" + dtype, [&](Fn kernel) {
      GuardedBuffer<S> loss(kRows, 1), norm(kRows, 1), statistics(2 * kRows, 1);
      kernel(in.x.data(), in.target.data(), w, loss.data(), norm.data(), statistics.data(), kRows, cols, &in.options);
      expect_close(loss, expected, 16, [&](int64_t) { return largest; });
      expect_same(norm, expected_norm);
      expect_close(statistics, expected_statistics, 16,
                   [&](int64_t i) { return i % 2 ? 1 + as_double(expected_statistics[i]) : 0.0; });
    });
  });
}

template <class T> void check_backward(const std::string& dtype) {
  using Fn = cross_entropy_backward_fn<T>;
  using S = typename LossOf<T>::type;
  const auto forward = find_version<cross_entropy_forward_fn<T>>("cross_entropy_forward/" + dtype, Target::reference);
  const Fn reference = find_version<Fn>("cross_entropy_backward/" + dtype, Target::reference);
  for_inputs<T>([&](Inputs<T>& in, const S* w, int64_t cols, const Variant&) {
    GuardedBuffer<S> loss(kRows), norm(kRows), statistics(2 * kRows);
    GuardedBuffer<T> expected(kRows * cols);
    forward(in.x.data(), in.target.data(), w, loss.data(), norm.data(), statistics.data(), kRows, cols, &in.options);
    // dloss * 1.5 * (p - 1 at the target, p + 1 / cols elsewhere); exponents up to 1e4 lose nothing: max is exact.
    GuardedBuffer<double> magnitude(kRows * cols);
    for (int64_t i = 0; i < magnitude.size(); ++i) {
      const int64_t r = i / cols;
      const double shifted = as_double(in.x[i]) - statistics[2 * r] - statistics[2 * r + 1];
      magnitude[i] = 2 * (std::exp(shifted) + in.options.smoothing / static_cast<double>(cols));
      if (in.target[r] == i % cols) magnitude[i] = 2;
    }
    for (int64_t step : {0, 1}) {
      const auto run = [&](Fn fn, GuardedBuffer<T>& dx) {
        fn(in.x.data(), in.target.data(), w, statistics.data(), in.dloss.data(), step, dx.data(), kRows, cols,
           &in.options);
      };
      run(reference, expected);
      for_each_fast_version<Fn>("cross_entropy_backward/" + dtype, [&](Fn kernel) {
        GuardedBuffer<T> dx(kRows * cols, 1);
        run(kernel, dx);
        expect_close(dx, expected, 32, [&](int64_t i) { return magnitude[i]; });
      });
    }
  });
}

TEST(CrossEntropy, Forward) {
  check_forward<float>("float32");
  check_forward<bfloat16>("bfloat16");
  check_forward<double>("float64");
}

TEST(CrossEntropy, Backward) {
  check_backward<float>("float32");
  check_backward<bfloat16>("bfloat16");
  check_backward<double>("float64");
}

}  // namespace
}  // namespace dl::test
