#include "kernels/rms_norm/rms_norm.h"

#include <algorithm>

#include "kernel_test.h"

namespace dl::test {
namespace {

constexpr int64_t kRows[] = {1, 3, 17, 600};  // 600 rows of 130 are two blocks of the weight's gradient

template <class T> struct Inputs {
  GuardedBuffer<T> x, w, dy;
  Inputs(int64_t rows, int64_t cols, double centre) : x(rows * cols, 1), w(cols, 1), dy(rows * cols, 1) {
    x.randomise(centre - 1, centre + 1);
    w.randomise(0.5, 1.5, 2);
    dy.randomise(-1, 1, 4);
  }
};

template <class T, class Body> void for_inputs(const Body& body) {
  for (int64_t cols : sizes_around_simd())
    for (int64_t rows : kRows)
      for (double centre : {0.0, 1e4}) {
        if (rows > 100 && cols != 17 && cols != 130) continue;
        Inputs<T> in(rows, cols, centre);
        for (bool weighted : {false, true}) body(in, rows, cols, weighted);
      }
}

template <class T> void check_forward(const std::string& dtype) {
  using Fn = rms_norm_forward_fn<T>;
  using S = typename RootOf<T>::type;
  for_each_version<Fn>("rms_norm_forward/" + dtype, [](Fn kernel, Fn reference) {
    for_inputs<T>([&](Inputs<T>& in, int64_t rows, int64_t cols, bool weighted) {
      GuardedBuffer<T> y(rows * cols, 1), expected(rows * cols), in_place(rows * cols, 1);
      GuardedBuffer<S> rrms(rows, 1), expected_rrms(rows);
      const T* w = weighted ? in.w.data() : nullptr;
      kernel(in.x.data(), w, y.data(), rrms.data(), rows, cols, 1e-5);
      reference(in.x.data(), w, expected.data(), expected_rrms.data(), rows, cols, 1e-5);
      expect_close(y, expected, 8);
      expect_close(rrms, expected_rrms, 8);
      in_place.copy_from(in.x);
      kernel(in_place.data(), w, in_place.data(), rrms.data(), rows, cols, 1e-5);
      expect_same(in_place, y);
    });
  });
}

template <class T> void check_backward(const std::string& dtype) {
  using Fn = rms_norm_backward_fn<T>;
  using S = typename RootOf<T>::type;
  const auto forward = find_version<rms_norm_forward_fn<T>>("rms_norm_forward/" + dtype, Target::reference);
  for_each_version<Fn>("rms_norm_backward/" + dtype, [&](Fn kernel, Fn reference) {
    for_inputs<T>([&](Inputs<T>& in, int64_t rows, int64_t cols, bool weighted) {
      GuardedBuffer<T> y(rows * cols), dx(rows * cols, 1), dw(cols, 1), expected_dx(rows * cols), expected_dw(cols);
      GuardedBuffer<S> rrms(rows);
      const int64_t block = rms_norm_block(cols);
      GuardedBuffer<S> workspace(cols * ((rows + block - 1) / block), 1);
      forward(in.x.data(), nullptr, y.data(), rrms.data(), rows, cols, 1e-5);
      const T* w = weighted ? in.w.data() : nullptr;
      kernel(in.x.data(), w, rrms.data(), in.dy.data(), dx.data(), weighted ? dw.data() : nullptr, workspace.data(),
             rows, cols);
      reference(in.x.data(), w, rrms.data(), in.dy.data(), expected_dx.data(), expected_dw.data(), nullptr, rows, cols);
      // |dy| <= 1, w <= 1.5, |xhat| <= √cols: a row's mean of dy * w * xhat is at most 1.5.
      expect_close(dx, expected_dx, 16, [&](int64_t i) {
        return rrms[i / cols] * (1.5 + 1.5 * std::abs(as_double(in.x[i])) * rrms[i / cols]);
      });
      if (!weighted) return;
      double largest = 0;
      for (int64_t i = 0; i < rows * cols; ++i)
        largest = std::max(largest, std::abs(as_double(in.x[i])) * rrms[i / cols]);
      expect_close(dw, expected_dw, 16, [&](int64_t) { return static_cast<double>(rows) * largest; });
    });
  });
}

TEST(RMSNorm, Forward) {
  check_forward<float>("float32");
  check_forward<bfloat16>("bfloat16");
  check_forward<double>("float64");
}

TEST(RMSNorm, Backward) {
  check_backward<float>("float32");
  check_backward<bfloat16>("bfloat16");
  check_backward<double>("float64");
}

}  // namespace
}  // namespace dl::test
