#include "kernels/group_norm/group_norm.h"

#include "kernel_test.h"

namespace dl::test {
namespace {

// Channels by themselves and in strips, groups of one channel and of all, in one piece and in several.
std::vector<GroupNormShape> shapes() {
  std::vector<GroupNormShape> all;
  for (int64_t n : sizes_around_simd()) {
    all.push_back({2, 6, n, 3});
    all.push_back({3, 2 * n, 1, 2});
  }
  for (GroupNormShape s :
       {GroupNormShape{2, 300, 3, 2}, {1, 4, 4900, 2}, {70, 8, 49, 8}, {5, 70, 40, 1}, {2, 3, 4097, 3}})
    all.push_back(s);
  return all;
}

template <class T> struct Inputs {
  using P = typename AffineOf<T>::type;
  GuardedBuffer<T> x, dy;
  GuardedBuffer<P> w, b;
  Inputs(const GroupNormShape& s, double centre) : x(s.N * s.C * s.S, 1), dy(x.size(), 1), w(s.C, 1), b(s.C, 1) {
    x.randomise(centre - 1, centre + 1);
    w.randomise(0.5, 1.5, 2);
    b.randomise(-1, 1, 3);
    dy.randomise(-1, 1, 4);
  }
};

template <class T, class Body> void for_inputs(const Body& body) {
  for (const GroupNormShape& s : shapes())
    for (double centre : {0.0, 1e4}) {
      if (std::is_same_v<T, bfloat16> && centre != 0) continue;
      SCOPED_TRACE("N " + std::to_string(s.N) + ", C " + std::to_string(s.C) + ", S " + std::to_string(s.S) + ", G " +
                   std::to_string(s.G) + ", about " + std::to_string(centre));
      Inputs<T> in(s, centre);
      for (bool affine : {false, true}) body(in, s, affine);
    }
}

template <class T> void check_forward(const std::string& dtype) {
  using Fn = group_norm_forward_fn<T>;
  for_each_version<Fn>("group_norm_forward/" + dtype, [](Fn kernel, Fn reference) {
    for_inputs<T>([&](Inputs<T>& in, const GroupNormShape& s, bool affine) {
      const int64_t n = in.x.size(), rows = s.N * s.G, len = n / rows;
      GuardedBuffer<T> y(n, 1), expected(n), in_place(n, 1);
      GuardedBuffer<double> mean(rows, 1), rstd(rows, 1), expected_mean(rows), expected_rstd(rows);
      const auto *w = affine ? in.w.data() : nullptr, *b = affine ? in.b.data() : nullptr;
      kernel(in.x.data(), w, b, y.data(), mean.data(), rstd.data(), &s, 1e-5);
      reference(in.x.data(), w, b, expected.data(), expected_mean.data(), expected_rstd.data(), &s, 1e-5);
      // |xhat| and, where few elements lie close together, the rounding of their mean times a large 1 / deviation.
      expect_close(y, expected, 16, [&](int64_t i) { return 3 + expected_rstd[i / len]; });
      // Sums of deviations of at most 2 are as exact as floats of their size, whatever the mean.
      const double unit = std::is_same_v<T, double> ? 1e4 * eps<double>() : eps<float>();
      for (int64_t r = 0; r < rows; ++r) {
        EXPECT_NEAR(mean[r], expected_mean[r], 8 * unit) << "row " << r;
        EXPECT_NEAR(rstd[r], expected_rstd[r], 16 * unit * expected_rstd[r]) << "row " << r;
      }
      in_place.copy_from(in.x);
      kernel(in_place.data(), w, b, in_place.data(), mean.data(), rstd.data(), &s, 1e-5);
      expect_same(in_place, y);
    });
  });
}

template <class T> void check_backward(const std::string& dtype) {
  using Fn = group_norm_backward_fn<T>;
  using P = typename AffineOf<T>::type;
  const auto forward = find_version<group_norm_forward_fn<T>>("group_norm_forward/" + dtype, Target::reference);
  for_each_version<Fn>("group_norm_backward/" + dtype, [&](Fn kernel, Fn reference) {
    for_inputs<T>([&](Inputs<T>& in, const GroupNormShape& s, bool affine) {
      const int64_t n = in.x.size(), rows = s.N * s.G, len = n / rows;
      GuardedBuffer<T> y(n), dx(n, 1), expected_dx(n);
      GuardedBuffer<P> dw(s.C, 1), db(s.C, 1), expected_dw(s.C), expected_db(s.C), alone(s.C, 1);
      GuardedBuffer<double> mean(rows), rstd(rows), workspace(2 * s.N * s.C, 1);
      forward(in.x.data(), nullptr, nullptr, y.data(), mean.data(), rstd.data(), &s, 1e-5);
      const auto* w = affine ? in.w.data() : nullptr;
      kernel(in.x.data(), w, mean.data(), rstd.data(), in.dy.data(), dx.data(), affine ? dw.data() : nullptr,
             affine ? db.data() : nullptr, workspace.data(), &s);
      reference(in.x.data(), w, mean.data(), rstd.data(), in.dy.data(), expected_dx.data(), expected_dw.data(),
                expected_db.data(), workspace.data(), &s);
      double largest = 0;
      for (double v : rstd) largest = std::max(largest, v);
      // |dy| <= 1, w <= 1.5, |xhat| about 1: terms of 5 rstd in a group, sums of N S such terms in a channel.
      expect_close(dx, expected_dx, 16, [&](int64_t i) { return 5 * rstd[i / len] * (1 + rstd[i / len]); });
      if (!affine) return;
      const double terms = static_cast<double>(s.N * s.S);
      expect_close(dw, expected_dw, 8, [&](int64_t) { return terms * (2 + largest); });
      expect_close(db, expected_db, 8, [&](int64_t) { return terms; });
      kernel(in.x.data(), w, mean.data(), rstd.data(), in.dy.data(), nullptr, alone.data(), nullptr, workspace.data(),
             &s);
      expect_same(alone, dw);
    });
  });
}

TEST(GroupNorm, Forward) {
  check_forward<float>("float32");
  check_forward<bfloat16>("bfloat16");
  check_forward<double>("float64");
}

TEST(GroupNorm, Backward) {
  check_backward<float>("float32");
  check_backward<bfloat16>("bfloat16");
  check_backward<double>("float64");
}

}  // namespace
}  // namespace dl::test
