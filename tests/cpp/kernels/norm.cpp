#include "kernels/norm/norm.h"

#include <algorithm>

#include "kernel_test.h"

namespace dl::test {
namespace {

constexpr int64_t kRows[] = {1, 3, 17, 600};  // 600 rows of 130 are two blocks of the parameters' gradients

template <class T> struct Inputs {
  GuardedBuffer<T> x, w, b, dy;
  Inputs(int64_t rows, int64_t cols, double centre) : x(rows * cols, 1), w(cols, 1), b(cols, 1), dy(rows * cols, 1) {
    x.randomise(centre - 1, centre + 1);
    w.randomise(0.5, 1.5, 2);
    b.randomise(-1, 1, 3);
    dy.randomise(-1, 1, 4);
  }
};

template <class T, class Body> void for_inputs(const Body& body) {
  for (int64_t cols : sizes_around_simd())
    for (int64_t rows : kRows)
      for (double centre : {0.0, 1e4}) {
        if (rows > 100 && cols != 17 && cols != 130) continue;
        if (std::is_same_v<T, bfloat16> && centre != 0) continue;
        Inputs<T> in(rows, cols, centre);
        for (bool affine : {false, true})
          for (bool added : {false, true}) body(in, rows, cols, affine, added);
      }
}

// Results have magnitude 1; a single column, or few, give deviations near zero, whose rstd is large.
template <class T> void check_forward(const std::string& dtype) {
  using Fn = layer_norm_forward_fn<T>;
  using S = typename StatisticOf<T>::type;
  for_each_version<Fn>("layer_norm_forward/" + dtype, [](Fn kernel, Fn reference) {
    for_inputs<T>([&](Inputs<T>& in, int64_t rows, int64_t cols, bool affine, bool added) {
      GuardedBuffer<T> y(rows * cols, 1), expected(rows * cols), sum(rows * cols, 1), expected_sum(rows * cols);
      GuardedBuffer<S> mean(rows, 1), rstd(rows, 1), expected_mean(rows), expected_rstd(rows);
      const T *w = affine ? in.w.data() : nullptr, *b = affine ? in.b.data() : nullptr;
      const T* residual = added ? in.dy.data() : nullptr;
      kernel(in.x.data(), residual, w, b, added ? sum.data() : nullptr, y.data(), mean.data(), rstd.data(), rows, cols,
             1e-5);
      reference(in.x.data(), residual, w, b, added ? expected_sum.data() : nullptr, expected.data(),
                expected_mean.data(), expected_rstd.data(), rows, cols, 1e-5);
      if (added) expect_same(sum, expected_sum);
      expect_close(y, expected, 16, [&](int64_t i) { return 3 + expected_rstd[i / cols]; });
      expect_close(mean, expected_mean, 4, [&](int64_t i) { return std::abs(expected_mean[i]) + 1; });
      expect_close(rstd, expected_rstd, 16, [&](int64_t i) { return expected_rstd[i] * (1 + expected_rstd[i]); });
    });
  });
}

template <class T> void check_backward(const std::string& dtype) {
  using Fn = layer_norm_backward_fn<T>;
  using S = typename StatisticOf<T>::type;
  const auto forward = find_version<layer_norm_forward_fn<T>>("layer_norm_forward/" + dtype, Target::reference);
  for_each_version<Fn>("layer_norm_backward/" + dtype, [&](Fn kernel, Fn reference) {
    for_inputs<T>([&](Inputs<T>& in, int64_t rows, int64_t cols, bool affine, bool added) {
      GuardedBuffer<T> y(rows * cols), dx(rows * cols, 1), dw(cols, 1), db(cols, 1);
      GuardedBuffer<T> expected_dx(rows * cols), expected_dw(cols), expected_db(cols);
      GuardedBuffer<S> mean(rows), rstd(rows);
      const int64_t block = layer_norm_block(cols);
      GuardedBuffer<S> workspace(2 * cols * ((rows + block - 1) / block), 1);
      forward(in.x.data(), nullptr, nullptr, nullptr, nullptr, y.data(), mean.data(), rstd.data(), rows, cols, 1e-5);
      const T* w = affine ? in.w.data() : nullptr;
      T *to_dw = affine ? dw.data() : nullptr, *to_db = affine ? db.data() : nullptr;
      const T* dsum = added ? in.x.data() : nullptr;
      kernel(in.x.data(), w, mean.data(), rstd.data(), in.dy.data(), dsum, dx.data(), to_dw, to_db, workspace.data(),
             rows, cols);
      reference(in.x.data(), w, mean.data(), rstd.data(), in.dy.data(), dsum, expected_dx.data(),
                affine ? expected_dw.data() : nullptr, affine ? expected_db.data() : nullptr, nullptr, rows, cols);
      // |dy| <= 1, w <= 1.5, |xhat| about 1: terms of 5 rstd in a row, sums of `rows` such terms in a column.
      expect_close(dx, expected_dx, 16, [&](int64_t i) {
        return 5 * rstd[i / cols] * (1 + rstd[i / cols]) + (added ? std::abs(as_double(in.x[i])) : 0);
      });
      if (!affine) return;
      double largest = 0;
      for (S v : rstd) largest = std::max(largest, static_cast<double>(v));
      expect_close(dw, expected_dw, 16, [&](int64_t) { return static_cast<double>(rows) * (2 + largest); });
      expect_close(db, expected_db, 16, [&](int64_t) { return static_cast<double>(rows); });
    });
  });
}

TEST(LayerNorm, Forward) {
  check_forward<float>("float32");
  check_forward<bfloat16>("bfloat16");
  check_forward<double>("float64");
}

TEST(LayerNorm, Backward) {
  check_backward<float>("float32");
  check_backward<bfloat16>("bfloat16");
  check_backward<double>("float64");
}

}  // namespace
}  // namespace dl::test
