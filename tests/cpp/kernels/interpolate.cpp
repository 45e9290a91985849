#include "kernels/interpolate/interpolate.h"

#include <algorithm>

#include "kernel_test.h"

namespace dl::test {
namespace {

// Places that grow from the first element to the last, and shares between them.
template <class T> struct Places {
  std::vector<int32_t> first, second;
  std::vector<T> share;
  ResampleAxis<T> axis;
  Places(int64_t in, int64_t out, bool linear) {
    for (int64_t i = 0; i < out; ++i) {
      const double at = static_cast<double>(i * in) / static_cast<double>(out);
      first.push_back(static_cast<int32_t>(at));
      second.push_back(static_cast<int32_t>(std::min<int64_t>(first.back() + 1, in - 1)));
      share.push_back(static_cast<T>(at - static_cast<double>(first.back())));
    }
    axis = {in, out, first.data(), second.data(), linear ? share.data() : nullptr};
  }
};

struct Sizes { int64_t planes, H, W, OH, OW; };

template <class T, class Body> void for_inputs(const Body& body) {
  std::vector<Sizes> all;
  for (int64_t n : sizes_around_simd()) all.push_back({2, 3, n, 7, 2 * n + 1});
  for (Sizes s : {Sizes{1, 1, 9, 1, 4}, {3, 9, 8, 4, 3}, {40, 16, 16, 32, 32}, {2, 5, 40, 200, 130}}) all.push_back(s);
  for (const Sizes& s : all)
    for (bool linear : {false, true}) {
      SCOPED_TRACE("planes of " + std::to_string(s.H) + " x " + std::to_string(s.W));
      body(s, Places<T>(s.H, s.OH, linear), Places<T>(s.W, s.OW, linear), linear);
    }
}

template <class T> void check_forward(const std::string& dtype) {
  using Fn = interpolate_forward_fn<T>;
  for_each_version<Fn>("interpolate_forward/" + dtype, [](Fn kernel, Fn reference) {
    for_inputs<T>([&](const Sizes& s, const Places<T>& h, const Places<T>& w, bool linear) {
      GuardedBuffer<T> x(s.planes * s.H * s.W, 1), y(s.planes * s.OH * s.OW, 1), expected(y.size());
      x.randomise(-1, 1);
      kernel(x.data(), y.data(), s.planes, &h.axis, &w.axis);
      reference(x.data(), expected.data(), s.planes, &h.axis, &w.axis);
      if (linear) expect_close(y, expected, 8, [](int64_t) { return 1; });
      else expect_same(y, expected);
    });
  });
}

template <class T> void check_backward(const std::string& dtype) {
  using Fn = interpolate_backward_fn<T>;
  for_each_version<Fn>("interpolate_backward/" + dtype, [](Fn kernel, Fn reference) {
    for_inputs<T>([&](const Sizes& s, const Places<T>& h, const Places<T>& w, bool) {
      GuardedBuffer<T> dy(s.planes * s.OH * s.OW, 1), dx(s.planes * s.H * s.W, 1), expected(dx.size());
      dy.randomise(-1, 1);
      kernel(dy.data(), dx.data(), s.planes, &h.axis, &w.axis);
      reference(dy.data(), expected.data(), s.planes, &h.axis, &w.axis);
      // Each place is given to by at most as many elements of dy as lie within two of x.
      const double terms = static_cast<double>((2 * s.OH / s.H + 2) * (2 * s.OW / s.W + 2));
      expect_close(dx, expected, 4, [&](int64_t) { return terms; });
    });
  });
}

TEST(Interpolate, Forward) {
  check_forward<float>("float32");
  check_forward<double>("float64");
}

TEST(Interpolate, Backward) {
  check_backward<float>("float32");
  check_backward<double>("float64");
}

}  // namespace
}  // namespace dl::test
