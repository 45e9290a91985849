// Every version of the convolution and its gradients against the reference: each way to run (direct, implicit, unfolded
// from planes and straight from x, weights in place), register-tile remainders, and every option.
#include "kernels/conv/conv.h"

#include <algorithm>

#include "kernel_test.h"

namespace dl::test {
namespace {

struct Options {
  int64_t stride_h = 1, stride_w = 1, top = 0, bottom = 0, left = 0, right = 0, dilation_h = 1, dilation_w = 1;
};

Conv2dShape shape_of(int64_t N, int64_t C, int64_t H, int64_t W, int64_t O, int64_t KH, int64_t KW, int64_t groups = 1,
                     Options o = {}) {
  return {N,
          C,
          H,
          W,
          O,
          KH,
          KW,
          (H + o.top + o.bottom - (KH - 1) * o.dilation_h - 1) / o.stride_h + 1,
          (W + o.left + o.right - (KW - 1) * o.dilation_w - 1) / o.stride_w + 1,
          o.stride_h,
          o.stride_w,
          o.top,
          o.left,
          o.dilation_h,
          o.dilation_w,
          groups};
}

Options padded(int64_t p, int64_t stride = 1, int64_t dilation = 1) {
  return {stride, stride, p, p, p, p, dilation, dilation};
}

std::vector<Conv2dShape> shapes() {
  std::vector<Conv2dShape> all = {
      shape_of(1, 1, 1, 1, 1, 1, 1),
      shape_of(2, 3, 5, 7, 17, 1, 1),    // pointwise, in place
      shape_of(3, 40, 9, 9, 70, 1, 1),   // pointwise, packed
      shape_of(1, 300, 4, 6, 40, 1, 1),  // two steps of the sum
      shape_of(2, 5, 6, 33, 15, 3, 3, 1, padded(1)),
      shape_of(3, 33, 7, 7, 36, 3, 3, 1, padded(1)),                  // pixels counted through images
      shape_of(1, 2, 3, 300, 37, 3, 2, 1, {1, 1, 1, 0, 0, 1, 1, 1}),  // long rows, uneven padding
      shape_of(2, 4, 13, 12, 35, 3, 3, 1, padded(1, 2)),
      shape_of(1, 4, 12, 9, 34, 3, 4, 1, {3, 2, 2, 1, 0, 2, 1, 1}),
      shape_of(1, 9, 14, 10, 33, 3, 2, 1, {1, 1, 3, 3, 1, 1, 2, 3}),
      shape_of(1, 3, 15, 15, 40, 3, 3, 1, padded(2, 2, 2)),
      shape_of(1, 2, 12, 12, 3, 2, 2, 1, {2, 4, 1, 1, 1, 1, 4, 6}),  // stride and dilation share a factor
      shape_of(1, 20, 9, 9, 40, 1, 1, 1, padded(0, 2)),              // residues without a tap
      shape_of(2, 3, 9, 10, 8, 3, 3, 1, padded(1)),                  // few channels made: direct
      shape_of(1, 65, 6, 6, 24, 3, 3, 1, padded(1)),                 // direct, channels in pieces
      shape_of(2, 6, 7, 18, 6, 3, 3, 6, padded(1)),                  // depthwise
      shape_of(1, 3, 11, 8, 6, 5, 3, 3, {2, 2, 2, 2, 1, 1, 1, 1}),
      shape_of(2, 8, 6, 6, 12, 3, 3, 2, padded(1)),
      shape_of(1, 40, 5, 6, 90, 3, 3, 2, padded(1)),
      // Planes too large to keep: of all channels together, and of one alone; tiled and direct.
      shape_of(1, 3, 4, 5, 34, 2, 2, 1, {1, 1, 600, 0, 600, 0, 600, 600}),
      shape_of(1, 34, 4, 5, 3, 2, 2, 1, {1, 1, 600, 0, 600, 0, 600, 600}),
      shape_of(1, 2, 3, 4, 34, 2, 2, 1, {1, 1, 1000, 0, 1000, 0, 1000, 1000}),
      shape_of(1, 1, 4, 4, 33, 66, 65, 1, padded(32)),  // a kernel too large for planes
      shape_of(1, 2, 1, 1, 3, 3, 3, 1, padded(1)),
      shape_of(2, 3, 4, 5, 4, 2, 2, 1, padded(0, 40)),
      // So many channels made from a short row that their sums would not fit into the scratch memory.
      shape_of(1, 1, 1, 15, 30000, 3, 1, 1, {1, 1, 1, 1, 0, 0, 1, 1}),
      shape_of(1, 1, 1, 7, 60000, 3, 1, 1, {1, 1, 1, 1, 0, 0, 1, 1}),
      shape_of(0, 3, 4, 5, 4, 2, 2),
      shape_of(2, 0, 4, 5, 4, 2, 2),
      shape_of(2, 3, 4, 5, 0, 2, 2),
  };
  // Columns and channels around the vectors and the rows of a register tile.
  for (int64_t n : {3, 4, 5, 15, 16, 17, 31, 33, 64, 65}) all.push_back(shape_of(1, 2, 2, n, 33, 1, 2, 1, padded(1)));
  // Taps of one register tile of weight gradients, channels made directly.
  for (int64_t taps = 1; taps <= 12; ++taps) all.push_back(shape_of(2, 1, 3, 25, 2, 1, taps));
  // One channel read or made a group: strips of columns for each square kernel and stride.
  for (int64_t k : {3, 5, 7})
    for (int64_t stride : {1, 2})
      for (int64_t n : {7, 15, 16, 17, 31, 33, 64, 65, 66, 97}) {
        all.push_back(shape_of(2, 3, 9, n, 3, k, k, 3, padded(k / 2, stride)));
        all.push_back(shape_of(2, 1, 8, n, 5, k, k, 1, padded(k / 2, stride)));
      }
  all.push_back(shape_of(1, 3, 12, 20, 1, 3, 3));
  // Tiles of pixels: in place and from planes, pieces of rows, images together, bands of one, channels in pieces.
  for (int64_t n : {1, 6, 7, 13, 14, 15, 29, 43}) all.push_back(shape_of(2, 5, 3, n, 33, 3, 3, 1, padded(1)));
  for (int64_t stride : {1, 2, 3}) {
    all.push_back(shape_of(3, 37, 15, 15, 47, 3, 3, 1, padded(0, stride)));
    all.push_back(shape_of(2, 20, 9, 12, 50, 3, 2, 2, {stride, 2, 1, 0, 1, 1, 1, 1}));
    all.push_back(shape_of(1, 21, 33, 34, 32, 1, 1, 1, padded(0, stride)));
    all.push_back(shape_of(1, 6, 20, 21, 36, 3, 3, 1, padded(2, stride, 2)));
  }
  all.push_back(shape_of(1, 6, 5, 1023, 33, 3, 3, 1, padded(1)));
  all.push_back(shape_of(5, 130, 3, 5, 131, 1, 1));
  // Few channels read, many made, long rows.
  for (int64_t n : {65, 71, 97}) all.push_back(shape_of(2, 3, 11, n, 43, 7, 7, 1, padded(3, 2)));
  for (int64_t m : {1, 2, 3, 4, 6, 7, 12, 13, 14, 15, 28, 29, 43}) all.push_back(shape_of(1, 3, 5, 9, m, 2, 3));
  return all;
}

// The arrays of one shape.
template <class T> struct Problem {
  Conv2dShape s;
  GuardedBuffer<T> x, w, y, bias_o, bias_c;

  explicit Problem(const Conv2dShape& shape, int misalign = 0)
      : s(shape),
        x(s.N * s.C * s.H * s.W, misalign),
        w(s.O * (s.C / s.groups) * s.KH * s.KW, misalign),
        y(s.N * s.O * s.OH * s.OW, misalign),
        bias_o(s.O, misalign),
        bias_c(s.C, misalign) {}

  void randomise() {
    x.randomise(-1, 1, 1);
    w.randomise(-1, 1, 2);
    y.randomise(-1, 1, 3);
    bias_o.randomise(-1, 1, 4);
    bias_c.randomise(-1, 1, 5);
  }
  // Sums of small integers are exact in any order.
  void fill_whole() {
    uint32_t state = 1;
    for (GuardedBuffer<T>* buffer : {&x, &w, &y, &bias_o, &bias_c})
      for (T& v : *buffer) v = static_cast<T>((state = state * 1664525u + 1013904223u) >> 29) - T{4};
  }
  void make_absolute() {
    for (GuardedBuffer<T>* buffer : {&x, &w, &y, &bias_o, &bias_c})
      for (T& v : *buffer) v = std::abs(v);
  }
};

// Each is run(problem, kernel, output). `terms`: of a sum. `size`: of the output.
template <class T> struct Forward {
  using Fn = conv2d_forward_fn<T>;
  static constexpr const char* name = "conv2d_forward/";
  static int64_t terms(const Conv2dShape& s) { return s.C / s.groups * s.KH * s.KW; }
  static int64_t size(const Problem<T>& p) { return p.y.size(); }
  static void run(const Problem<T>& p, Fn kernel, bool bias, GuardedBuffer<T>& out) {
    GuardedBuffer<T> workspace(conv2d_workspace(p.s));
    const Conv2dEpilogue<T> end{bias ? p.bias_o.data() : nullptr, nullptr, false};
    kernel(p.x.data(), p.w.data(), nullptr, &end, out.data(), workspace.data(), &p.s);
  }
};
// With what the epilogue adds and cuts off.
template <class T, bool residual> struct Finished {
  using Fn = conv2d_forward_fn<T>;
  static constexpr const char* name = "conv2d_forward/";
  static int64_t terms(const Conv2dShape& s) { return Forward<T>::terms(s) + 2; }
  static int64_t size(const Problem<T>& p) { return p.y.size(); }
  static void run(const Problem<T>& p, Fn kernel, bool bias, GuardedBuffer<T>& out) {
    GuardedBuffer<T> workspace(conv2d_workspace(p.s));
    const Conv2dEpilogue<T> end{bias ? p.bias_o.data() : nullptr, residual ? p.y.data() : nullptr, true};
    kernel(p.x.data(), p.w.data(), nullptr, &end, out.data(), workspace.data(), &p.s);
  }
};
template <class T> struct InputGradient {
  using Fn = conv2d_input_gradient_fn<T>;
  static constexpr const char* name = "conv2d_input_gradient/";
  static int64_t terms(const Conv2dShape& s) { return s.O / s.groups * s.KH * s.KW; }
  static int64_t size(const Problem<T>& p) { return p.x.size(); }
  static void run(const Problem<T>& p, Fn kernel, bool bias, GuardedBuffer<T>& out) {
    GuardedBuffer<T> workspace(conv2d_workspace(p.s));
    kernel(p.y.data(), p.w.data(), bias ? p.bias_c.data() : nullptr, out.data(), workspace.data(), &p.s);
  }
};
template <class T> struct WeightGradient {
  using Fn = conv2d_weight_gradient_fn<T>;
  static constexpr const char* name = "conv2d_weight_gradient/";
  static int64_t terms(const Conv2dShape& s) { return s.N * s.OH * s.OW; }
  static int64_t size(const Problem<T>& p) { return p.w.size(); }
  static void run(const Problem<T>& p, Fn kernel, bool, GuardedBuffer<T>& out) {
    GuardedBuffer<T> workspace(conv2d_weight_workspace(p.s));
    kernel(p.y.data(), p.x.data(), out.data(), workspace.data(), &p.s);
  }
};

template <class T> const char* dtype() { return sizeof(T) == 4 ? "float32" : "float64"; }

std::string text_of(const Conv2dShape& s) {
  return "x " + std::to_string(s.N) + "x" + std::to_string(s.C) + "x" + std::to_string(s.H) + "x" +
         std::to_string(s.W) + " w " + std::to_string(s.O) + "x" + std::to_string(s.KH) + "x" + std::to_string(s.KW) +
         " groups " + std::to_string(s.groups) + " stride " + std::to_string(s.stride_h) + "," +
         std::to_string(s.stride_w);
}

// A running sum of K terms of one size rounds by at most K / 2 of their magnitude: 4 units up to K = 8.
// In float64 the reference rounds as often.
template <class Op, class T> double units(const Conv2dShape& s) {
  return (sizeof(T) == 8 ? 8 : 4) * std::max(1.0, static_cast<double>(Op::terms(s)) / 8);
}

// The sums of the magnitudes of the terms of a randomise()d problem.
template <class Op, class T> void sum_magnitudes(const Conv2dShape& s, bool bias, GuardedBuffer<T>& out) {
  Problem<T> absolute(s);
  absolute.randomise();
  absolute.make_absolute();
  Op::run(absolute, find_version<typename Op::Fn>(Op::name + std::string(dtype<T>()), Target::reference), bias, out);
}

template <class Op, class T> void compare() {
  const std::string name = Op::name + std::string(dtype<T>());
  const auto reference = find_version<typename Op::Fn>(name, Target::reference);
  int round = 0;
  for (const Conv2dShape& s : shapes()) {
    SCOPED_TRACE(text_of(s));
    const bool bias = ++round % 2 == 0;
    Problem<T> p(s, round % 3 == 0 ? 1 : 0), whole(s);
    p.randomise();
    whole.fill_whole();
    GuardedBuffer<T> expected(Op::size(p)), exact(Op::size(p)), magnitude(Op::size(p));
    Op::run(p, reference, bias, expected);
    Op::run(whole, reference, bias, exact);
    sum_magnitudes<Op>(s, bias, magnitude);
    for_each_fast_version<typename Op::Fn>(name, [&](auto kernel) {
      GuardedBuffer<T> out(Op::size(p), round % 3);
      Op::run(p, kernel, bias, out);
      expect_close(out, expected, units<Op, T>(s), [&](int64_t i) { return as_double(magnitude[i]); });
      Op::run(whole, kernel, bias, out);
      expect_same(out, exact);
    });
  }
}

// Packed weights change where they are read from and nothing else.
template <class T> void same_from_packed() {
  const std::string type = dtype<T>();
  int packed_shapes = 0;
  for (const Conv2dShape& s : shapes()) {
    if (conv2d_packed(s) == 0) continue;
    SCOPED_TRACE(text_of(s));
    ++packed_shapes;
    Problem<T> p(s);
    p.randomise();
    compared_kernels().insert("conv2d_pack/" + type);
    for (int t = static_cast<int>(Target::baseline); t < static_cast<int>(Target::cuda); ++t) {
      const auto pack = find_version<conv2d_pack_fn<T>>("conv2d_pack/" + type, Target(t));
      const auto kernel = find_version<conv2d_forward_fn<T>>("conv2d_forward/" + type, Target(t));
      if (!pack || !cpu_supports(Target(t))) continue;
      SCOPED_TRACE(target_name(Target(t)));
      GuardedBuffer<T> packed(conv2d_packed(s)), workspace(conv2d_workspace(s)), plain(p.y.size()), out(p.y.size());
      pack(p.w.data(), packed.data(), &s);
      const Conv2dEpilogue<T> end{p.bias_o.data(), nullptr, false};
      kernel(p.x.data(), p.w.data(), nullptr, &end, plain.data(), workspace.data(), &s);
      kernel(p.x.data(), p.w.data(), packed.data(), &end, out.data(), workspace.data(), &s);
      expect_same(out, plain);
    }
  }
  EXPECT_GT(packed_shapes, 20);
}

TEST(Conv, Packed) {
  same_from_packed<float>();
  same_from_packed<double>();
}

TEST(Conv, Forward) {
  compare<Forward<float>, float>();
  compare<Forward<double>, double>();
}

TEST(Conv, Epilogue) {
  compare<Finished<float, false>, float>();
  compare<Finished<float, true>, float>();
  compare<Finished<double, true>, double>();
}

TEST(Conv, InputGradient) {
  compare<InputGradient<float>, float>();
  compare<InputGradient<double>, double>();
}

TEST(Conv, WeightGradient) {
  compare<WeightGradient<float>, float>();
  compare<WeightGradient<double>, double>();
}

// Large enough for several blocks of every kind; blocks may not depend on the threads.
template <class Op> void same_bits() {
  for (const Conv2dShape& s :
       {shape_of(2, 24, 30, 31, 40, 3, 3, 1, padded(1)), shape_of(3, 16, 40, 40, 16, 3, 3, 16, padded(1)),
        shape_of(8, 3, 33, 33, 40, 5, 5, 1, padded(2, 2)), shape_of(1, 300, 7, 7, 300, 1, 1),
        shape_of(1, 130, 7, 7, 200, 3, 3, 1, padded(1)), shape_of(1, 20, 90, 30, 128, 3, 3, 1, padded(1, 2))})
    for_each_fast_version<typename Op::Fn>(Op::name + std::string("float32"), [&](auto kernel) {
      SCOPED_TRACE(text_of(s));
      Problem<float> p(s);
      p.randomise();
      GuardedBuffer<float> one(Op::size(p)), many(one.size());
      const int threads = num_threads();
      set_num_threads(1);
      Op::run(p, kernel, true, one);
      set_num_threads(threads == 1 ? 5 : 2);
      Op::run(p, kernel, true, many);
      set_num_threads(threads);
      expect_same(many, one);
    });
}

TEST(Conv, SameBitsForAnyThreads) {
  same_bits<Forward<float>>();
  same_bits<InputGradient<float>>();
  same_bits<WeightGradient<float>>();
}

// What a tile computes for positions between the rows must not reach the result: infinities there would.
TEST(Conv, InfinitiesStayWhereTheyAre) {
  const Conv2dShape s = shape_of(1, 1, 6, 20, 1, 2, 3);
  Problem<float> p(s);
  GuardedBuffer<float> magnitude(p.w.size());
  p.randomise();
  sum_magnitudes<WeightGradient<float>>(s, false, magnitude);
  p.x[2 * 20 + 19] = std::numeric_limits<float>::infinity();  // the last column: only the last taps meet it
  for_each_version<conv2d_weight_gradient_fn<float>>(
      "conv2d_weight_gradient/float32", [&](auto kernel, auto reference) {
        GuardedBuffer<float> out(p.w.size()), expected(p.w.size());
        WeightGradient<float>::run(p, kernel, false, out);
        WeightGradient<float>::run(p, reference, false, expected);
        EXPECT_TRUE(std::isfinite(expected[0]) && !std::isfinite(expected[2]));
        expect_close(out, expected, units<WeightGradient<float>, float>(s),
                     [&](int64_t i) { return as_double(magnitude[i]); });
      });
}

}  // namespace
}  // namespace dl::test
