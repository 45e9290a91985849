#include "kernels/batch_norm/batch_norm.h"

#include <algorithm>

#include "kernel_test.h"

namespace dl::test {
namespace {

// Every way to cut the work: across channels and along runs, in one part and in several, by units and shared out.
std::vector<BatchNormShape> shapes() {
  std::vector<BatchNormShape> all;
  for (int64_t n : sizes_around_simd()) {
    all.push_back({5, n, 1});
    all.push_back({3, 3, n});
  }
  for (BatchNormShape s : {BatchNormShape{70, 300, 1},
                           {67, 90, 3},
                           {2100, 3, 1},
                           {700, 9, 7},
                           {65, 2, 15},
                           {70, 2, 25},
                           {300, 8, 49},
                           {2, 2, 4097},
                           {9, 9, 4500},
                           {33, 8, 4000},
                           {1, 1, 140000}})
    all.push_back(s);
  return all;
}

template <class T> struct Inputs {
  using P = typename ChannelOf<T>::type;
  GuardedBuffer<T> x, dy;
  GuardedBuffer<P> w, b;
  GuardedBuffer<double> mean, var, workspace;
  Inputs(const BatchNormShape& s, double centre)
      : x(s.N * s.C * s.S, 1),
        dy(x.size(), 1),
        w(s.C, 1),
        b(s.C, 1),
        mean(s.C, 1),
        var(s.C, 1),
        workspace(batch_norm_workspace(s), 1) {
    x.randomise(centre - 1, centre + 1);
    w.randomise(0.5, 1.5, 2);
    b.randomise(-1, 1, 3);
    dy.randomise(-1, 1, 4);
    mean.randomise(centre - 1, centre + 1, 5);
    var.randomise(0.5, 2, 6);
  }
};

template <class T, class Body> void for_inputs(const Body& body) {
  for (const BatchNormShape& s : shapes())
    for (double centre : {0.0, 1e4}) {
      if (std::is_same_v<T, bfloat16> && centre != 0) continue;
      SCOPED_TRACE("N " + std::to_string(s.N) + ", C " + std::to_string(s.C) + ", S " + std::to_string(s.S) +
                   ", about " + std::to_string(centre));
      Inputs<T> in(s, centre);
      for (bool affine : {false, true}) body(in, s, affine);
    }
}

template <class T> void check_forward(const std::string& dtype) {
  using Fn = batch_norm_forward_fn<T>;
  for_each_version<Fn>("batch_norm_forward/" + dtype, [](Fn kernel, Fn reference) {
    for_inputs<T>([&](Inputs<T>& in, const BatchNormShape& s, bool affine) {
      const int64_t n = in.x.size();
      GuardedBuffer<T> y(n, 1), expected(n);
      GuardedBuffer<double> mean(s.C, 1), var(s.C, 1), expected_mean(s.C), expected_var(s.C);
      const auto *w = affine ? in.w.data() : nullptr, *b = affine ? in.b.data() : nullptr;
      kernel(in.x.data(), w, b, y.data(), mean.data(), var.data(), in.workspace.data(), &s, 1e-5);
      reference(in.x.data(), w, b, expected.data(), expected_mean.data(), expected_var.data(), nullptr, &s, 1e-5);
      // |xhat| and, where few elements lie close together, the rounding of their mean times a large 1 / deviation.
      auto rstd = [&](int64_t c) { return 1 / std::sqrt(expected_var[c] + 1e-5); };
      expect_close(y, expected, 16, [&](int64_t i) { return 3 + rstd(i / s.S % s.C); });
      // Sums of deviations of at most 2 are as exact as floats of their size, whatever the mean.
      for (int64_t c = 0; c < s.C; ++c) {
        const double unit = std::is_same_v<T, double> ? 1e4 * eps<double>() : eps<float>();
        EXPECT_NEAR(mean[c], expected_mean[c], 8 * unit) << "channel " << c;
        EXPECT_NEAR(var[c], expected_var[c], 16 * unit * (expected_var[c] + 1e-5)) << "channel " << c;
      }
      kernel(in.x.data(), w, b, y.data(), mean.data(), var.data(), in.workspace.data(), &s, 1e-5);
      GuardedBuffer<T> in_place(n, 1);
      in_place.copy_from(in.x);
      kernel(in_place.data(), w, b, in_place.data(), mean.data(), var.data(), in.workspace.data(), &s, 1e-5);
      expect_same(in_place, y);
    });
  });
}

template <class T> void check_apply(const std::string& dtype) {
  using Fn = batch_norm_apply_fn<T>;
  for_each_version<Fn>("batch_norm_apply/" + dtype, [](Fn kernel, Fn reference) {
    for_inputs<T>([&](Inputs<T>& in, const BatchNormShape& s, bool affine) {
      const int64_t n = in.x.size();
      GuardedBuffer<T> y(n, 1), expected(n);
      const auto *w = affine ? in.w.data() : nullptr, *b = affine ? in.b.data() : nullptr;
      kernel(in.x.data(), w, b, in.mean.data(), in.var.data(), y.data(), in.workspace.data(), &s, 1e-5);
      reference(in.x.data(), w, b, in.mean.data(), in.var.data(), expected.data(), nullptr, &s, 1e-5);
      expect_close(y, expected, 8, [&](int64_t) { return 5; });  // |x - mean| <= 2, 1 / deviation <= 1.5, w <= 1.5
    });
  });
}

template <class T> void check_backward(const std::string& dtype) {
  using Fn = batch_norm_backward_fn<T>;
  using P = typename ChannelOf<T>::type;
  for_each_version<Fn>("batch_norm_backward/" + dtype, [&](Fn kernel, Fn reference) {
    for_inputs<T>([&](Inputs<T>& in, const BatchNormShape& s, bool affine) {
      const int64_t n = in.x.size();
      const auto* w = affine ? in.w.data() : nullptr;
      for (bool own : {false, true}) {
        GuardedBuffer<T> dx(n, 1), expected_dx(n);
        GuardedBuffer<P> dw(s.C, 1), db(s.C, 1), expected_dw(s.C), expected_db(s.C);
        kernel(in.x.data(), w, in.mean.data(), in.var.data(), in.dy.data(), dx.data(), affine ? dw.data() : nullptr,
               affine ? db.data() : nullptr, in.workspace.data(), &s, 1e-5, own);
        reference(in.x.data(), w, in.mean.data(), in.var.data(), in.dy.data(), expected_dx.data(), expected_dw.data(),
                  expected_db.data(), nullptr, &s, 1e-5, own);
        // Terms of dx: dy, its mean, and xhat times the mean of dy * xhat, each times 1 / deviation * w.
        expect_close(dx, expected_dx, 16, [&](int64_t) { return 2 * (1 + 1 + 9); });
        if (!affine) continue;
        const double terms = static_cast<double>(s.N * s.S);
        expect_close(dw, expected_dw, 8, [&](int64_t) { return 3 * terms; });
        expect_close(db, expected_db, 8, [&](int64_t) { return terms; });
        GuardedBuffer<P> alone(s.C, 1);
        kernel(in.x.data(), w, in.mean.data(), in.var.data(), in.dy.data(), nullptr, alone.data(), nullptr,
               in.workspace.data(), &s, 1e-5, own);
        expect_same(alone, dw);
      }
    });
  });
}

TEST(BatchNorm, Forward) {
  check_forward<float>("float32");
  check_forward<bfloat16>("bfloat16");
  check_forward<double>("float64");
}

TEST(BatchNorm, Apply) {
  check_apply<float>("float32");
  check_apply<bfloat16>("bfloat16");
  check_apply<double>("float64");
}

TEST(BatchNorm, Backward) {
  check_backward<float>("float32");
  check_backward<bfloat16>("bfloat16");
  check_backward<double>("float64");
}

// The units and parts of a plan cover every channel and element, within what the kernels keep on the stack.
TEST(BatchNorm, Plan) {
  for (int64_t N : {1, 2, 31, 33, 5000})
    for (int64_t C : {1, 7, 300})
      for (int64_t S : {1, 2, 15, 16, 17, 49, 4096, 4097, 64 * 4096 + 1, 300001}) {
        const BatchNormShape s = {N, C, S};
        const BatchNormPlan p = batch_norm_plan(s);
        EXPECT_LE(p.channels, kBatchNormStrip);
        EXPECT_LT((p.units - 1) * p.channels, C);
        EXPECT_GE(p.units * p.channels, C);
        const int64_t groups = p.parts / p.parts_of_run;
        EXPECT_LT((groups - 1) * p.rows, N);
        EXPECT_GE(groups * p.rows, N);
        if (p.narrow) {
          EXPECT_LE(p.channels * S, kBatchNormStrip);
        } else {
          EXPECT_LT((p.parts_of_run - 1) * p.span, S);
          EXPECT_GE(p.parts_of_run * p.span, S);
          EXPECT_LE(p.span, kBatchNormPart);
        }
      }
}

}  // namespace
}  // namespace dl::test
