// Every version of the pools against the reference: rows around the vector widths, every option, infinities and NaN.
#include "kernels/pool/pool.h"

#include <functional>

#include "kernel_test.h"

namespace dl::test {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

PoolAxis axis(int64_t in, int64_t kernel, int64_t stride, int64_t pad = 0, int64_t dilation = 1, int64_t extra = 0) {
  return {in, (in + 2 * pad - (kernel - 1) * dilation - 1 + extra) / stride + 1, kernel, stride, pad, dilation};
}

std::vector<Pool2dShape> shapes(bool dilated) {
  std::vector<Pool2dShape> all = {
      {1, axis(1, 1, 1), axis(1, 1, 1)},
      {3, axis(7, 2, 2), axis(9, 2, 2)},
      {2, axis(9, 3, 2, 1), axis(37, 3, 2, 1)},
      {2, axis(6, 2, 2, 1), axis(70, 3, 1, 1)},
      {1, axis(10, 5, 4, 2), axis(41, 4, 3, 1)},
      {1, axis(5, 5, 1, 2), axis(5, 5, 1, 2)},
      {2, axis(8, 3, 2, 0, 1, 1), axis(8, 3, 2, 0, 1, 1)},  // ceil_mode: the last windows end outside
      {1, axis(5, 2, 4, 0, 1, 3), axis(6, 3, 5, 0, 1, 4)},
      {1, axis(3, 2, 1), axis(20000, 3, 1, 1)},  // several strips
      {1, axis(700, 3, 2, 1), axis(101, 2, 2)},  // several bands
      {0, axis(4, 2, 2), axis(4, 2, 2)},
  };
  for (int64_t n : sizes_around_simd()) all.push_back({2, axis(4, 2, 1), axis(n + 1, 2, 1)});
  if (dilated) {
    all.push_back({2, axis(12, 3, 1, 1, 2), axis(40, 3, 1, 1, 2)});
    all.push_back({1, axis(12, 2, 2, 1, 3), axis(20, 3, 2, 2, 2)});
    all.push_back({1, axis(1, 2, 1, 1, 2), axis(9, 2, 1, 1, 2)});  // both rows of each window lie outside
  }
  return all;
}

int64_t in_size(const Pool2dShape& s) { return s.planes * s.h.in * s.w.in; }
int64_t out_size(const Pool2dShape& s) { return s.planes * s.h.out * s.w.out; }

// Random numbers; numbers with many ties; ties of infinities and NaN.
template <class T> void fill(GuardedBuffer<T>& x, int kind) {
  x.randomise(-3, 3);
  if (kind == 0) return;
  for (T& v : x) v = std::round(v);
  if (kind == 1) return;
  for (int64_t i = 0; i < x.size(); ++i) {
    if (x[i] < -1) x[i] = static_cast<T>(-kInf);
    else if (x[i] == 2) x[i] = static_cast<T>(kInf);
    else if (i % 11 == 0) x[i] = std::numeric_limits<T>::quiet_NaN();
  }
}

template <class T> void compare_max(const char* dtype) {
  for_each_version<max_pool2d_forward_fn<T>>(
      std::string("max_pool2d_forward/") + dtype, [](auto kernel, auto reference) {
        for (const Pool2dShape& s : shapes(true))
          for (int kind : {0, 1, 2}) {
            GuardedBuffer<T> x(in_size(s), kind), y(out_size(s), kind), expected(y.size());
            GuardedBuffer<int64_t> index(y.size()), expected_index(y.size());
            fill(x, kind);
            kernel(x.data(), y.data(), index.data(), &s);
            reference(x.data(), expected.data(), expected_index.data(), &s);
            expect_close(y, expected, 0);
            expect_same(index, expected_index);
            GuardedBuffer<T> alone(y.size());
            kernel(x.data(), alone.data(), nullptr, &s);
            expect_close(alone, expected, 0);
          }
      });
  const auto forward =
      find_version<max_pool2d_forward_fn<T>>(std::string("max_pool2d_forward/") + dtype, Target::reference);
  for_each_version<max_pool2d_backward_fn<T>>(
      std::string("max_pool2d_backward/") + dtype, [&](auto kernel, auto reference) {
        for (const Pool2dShape& s : shapes(true)) {
          GuardedBuffer<T> x(in_size(s)), y(out_size(s)), dy(y.size(), 1), dx(x.size(), 1), expected(x.size());
          GuardedBuffer<int64_t> index(y.size());
          fill(x, 1);
          forward(x.data(), y.data(), index.data(), &s);
          dy.randomise(-1, 1, 2);
          kernel(dy.data(), index.data(), dx.data(), &s);
          reference(dy.data(), index.data(), expected.data(), &s);
          expect_same(dx, expected);  // the same order of additions
        }
      });
}

TEST(Pool, Max) {
  compare_max<float>("float32");
  compare_max<double>("float64");
}

// For an averaging map from `in` to `out` elements that sums at most `terms` terms. Kernel and reference both add up
// one after another in T, which errs by at most terms / 2 of their magnitudes each; each also rounds quotient and
// result.
template <class T, class Run>
void compare_averages(const Run& run, const Run& reference, int64_t in, int64_t out, int64_t terms, int misalign) {
  GuardedBuffer<T> x(in, misalign), y(out, misalign), expected(out), magnitude(out);
  x.randomise(-1, 1);
  run(x.data(), y.data());
  reference(x.data(), expected.data());
  for (T& v : x) v = std::abs(v);
  reference(x.data(), magnitude.data());
  expect_close(y, expected, static_cast<double>(terms) + 4,
               [&](int64_t i) { return std::abs(as_double(magnitude[i])); });
}

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

template <class T> void compare_avg(const char* dtype) {
  for (const bool backward : {false, true}) {
    const auto name = std::string(backward ? "avg_pool2d_backward/" : "avg_pool2d_forward/") + dtype;
    for_each_version<avg_pool2d_forward_fn<T>>(name, [&](auto kernel, auto reference) {
      for (const Pool2dShape& s : shapes(false))
        for (const PoolDivisor& d : {PoolDivisor{true, 0}, PoolDivisor{false, 0}, PoolDivisor{true, -7}}) {
          using Run = std::function<void(const T*, T*)>;
          const int64_t in = in_size(s), out = out_size(s);
          // An element lies in as many windows as strides fit into one.
          const int64_t terms =
              backward ? ceil_div(s.h.kernel, s.h.stride) * ceil_div(s.w.kernel, s.w.stride) : s.h.kernel * s.w.kernel;
          compare_averages<T, Run>([&](const T* x, T* y) { kernel(x, y, &s, &d); },
                                   [&](const T* x, T* y) { reference(x, y, &s, &d); }, backward ? out : in,
                                   backward ? in : out, terms, 1);
        }
    });
  }
}

TEST(Pool, Average) {
  compare_avg<float>("float32");
  compare_avg<double>("float64");
}

template <class T> void compare_adaptive(const char* dtype) {
  for (const bool backward : {false, true}) {
    const auto name = std::string(backward ? "adaptive_avg_pool2d_backward/" : "adaptive_avg_pool2d_forward/") + dtype;
    for_each_version<adaptive_avg_pool2d_forward_fn<T>>(name, [&](auto kernel, auto reference) {
      for (const auto& [h, w] : std::vector<std::pair<int64_t, int64_t>>{{1, 1}, {7, 7}, {5, 33}, {2, 17}, {3, 20000}})
        for (const auto& [oh, ow] : std::vector<std::pair<int64_t, int64_t>>{{1, 1}, {2, 3}, {1, 4}, {3, 1}, {9, 40}}) {
          using Run = std::function<void(const T*, T*)>;
          const Pool2dShape s{2, {h, oh, 1, 1, 0, 1}, {w, ow, 1, 1, 0, 1}};
          const int64_t in = in_size(s), out = out_size(s);
          // The elements of a tile; backward, the tiles that meet in an element.
          const int64_t terms = backward ? (oh / h + 2) * (ow / w + 2) : (h / oh + 2) * (w / ow + 2);
          compare_averages<T, Run>([&](const T* x, T* y) { kernel(x, y, &s); },
                                   [&](const T* x, T* y) { reference(x, y, &s); }, backward ? out : in,
                                   backward ? in : out, terms, 0);
        }
    });
  }
}

TEST(Pool, AdaptiveAverage) {
  compare_adaptive<float>("float32");
  compare_adaptive<double>("float64");
}

}  // namespace
}  // namespace dl::test
