// Sorts, the k best and searches against the reference: ties, signed zeros, infinities and NaN, short rows of every
// algorithm, many rows at once, and rows of several blocks.
#include "kernels/sort/sort.h"

#include <algorithm>

#include "kernel_test.h"

namespace dl::test {
namespace {

template <class T> const char* dtype_name();
template <> const char* dtype_name<float>() { return "/float32"; }
template <> const char* dtype_name<bfloat16>() { return "/bfloat16"; }
template <> const char* dtype_name<double>() { return "/float64"; }
template <> const char* dtype_name<int64_t>() { return "/int64"; }
template <> const char* dtype_name<int32_t>() { return "/int32"; }
template <> const char* dtype_name<uint8_t>() { return "/uint8"; }

enum class Values { random, ties, special, rising, falling };
constexpr Values kValues[] = {Values::random, Values::ties, Values::special, Values::rising, Values::falling};

template <class T> void fill_special(GuardedBuffer<T>& x) {
  using Limits = std::numeric_limits<T>;
  for (int64_t i = 0; i < x.size(); ++i) {
    const int64_t kind = i * i % 11;
    if constexpr (std::is_integral_v<T>) {
      if (kind == 1) x[i] = Limits::min();
      if (kind == 4) x[i] = Limits::max();
    } else {
      constexpr double kSpecial[] = {NAN, -NAN, INFINITY, -INFINITY, 0.0, -0.0, 1e-40, -1e-40, 3e38, -3e38};
      if (kind % 2 == 1 || kind == 4) x[i] = from_double<T>(kSpecial[i % 10]);
    }
  }
}

template <class T> void fill(GuardedBuffer<T>& x, Values values) {
  x.randomise(std::is_unsigned_v<T> ? 0 : -200, 200);
  const double n = static_cast<double>(x.size());
  for (int64_t i = 0; i < x.size(); ++i) {
    const double at = static_cast<double>(i);
    if (values == Values::ties) x[i] = from_double<T>(std::trunc(as_double(x[i]) / 50));
    if (values == Values::rising) x[i] = from_double<T>(at * 250 / n);
    if (values == Values::falling) x[i] = from_double<T>((n - at) * 250 / n);
  }
  if (values == Values::special) fill_special(x);
}

// One output with `k` elements a row.
template <class T> struct Sorted {
  GuardedBuffer<T> values;
  GuardedBuffer<int64_t> indices;
  Sorted(int64_t rows, int64_t k) : values(rows * k, 1), indices(rows * k, 1) {}
};
template <class T> void expect_same(const Sorted<T>& actual, const Sorted<T>& expected) {
  expect_same(actual.values, expected.values);
  expect_same(actual.indices, expected.indices);
}

struct Rows { int64_t rows, cols; };

template <class T> void check_sort(Rows s, Values values, bool descending) {
  using Fn = sort_fn<T>;
  const std::string name = std::string("sort") + dtype_name<T>();
  SCOPED_TRACE(::testing::Message() << s.rows << "x" << s.cols << " values " << static_cast<int>(values)
                                    << (descending ? " descending" : ""));
  GuardedBuffer<T> x(s.rows * s.cols, 1);
  fill(x, values);
  Sorted<T> expected(s.rows, s.cols);
  find_version<Fn>(name, Target::reference)(x.data(), expected.values.data(), expected.indices.data(), s.rows, s.cols,
                                            descending, nullptr);
  for_each_fast_version<Fn>(name, [&](Fn kernel) {
    Sorted<T> actual(s.rows, s.cols);
    GuardedBuffer<unsigned char> workspace(sort_workspace(s.cols, sizeof(T)));
    kernel(x.data(), actual.values.data(), actual.indices.data(), s.rows, s.cols, descending, workspace.data());
    expect_same(actual, expected);
    GuardedBuffer<int64_t> alone(actual.indices.size());
    kernel(x.data(), nullptr, alone.data(), s.rows, s.cols, descending, workspace.data());
    expect_same(alone, expected.indices);
  });
}

// Around vectors, around the sizes where another algorithm takes over, and with several blocks of rows.
std::vector<Rows> short_rows() {
  std::vector<Rows> all;
  for (int64_t n : sizes_around_simd()) all.push_back({3, n});
  for (Rows s : {Rows{2, 128}, {2, 129}, {2, 2047}, {2, 2048}, {300, 30}, {9, 1000}, {0, 5}}) all.push_back(s);
  return all;
}

template <class T> void check_sorts() {
  for (bool descending : {false, true}) {
    for (const Rows& s : short_rows())
      for (Values values : kValues) check_sort<T>(s, values, descending);
    check_sort<T>({2, kSortBlock + 1}, Values::special, descending);
  }
  check_sort<T>({1, kSortBlock}, Values::random, true);
  check_sort<T>({1, 2 * kSortBlock + 7}, Values::ties, true);
}

TEST(Sort, Float32) { check_sorts<float>(); }
TEST(Sort, BFloat16) { check_sorts<bfloat16>(); }
TEST(Sort, Float64) { check_sorts<double>(); }
TEST(Sort, Int64) { check_sorts<int64_t>(); }
TEST(Sort, Int32) { check_sorts<int32_t>(); }
TEST(Sort, Uint8) { check_sorts<uint8_t>(); }

template <class T> void check_topk(Rows s, int64_t k, Values values, bool largest) {
  using Fn = topk_fn<T>;
  const std::string name = std::string("topk") + dtype_name<T>();
  SCOPED_TRACE(::testing::Message() << k << " of " << s.rows << "x" << s.cols << " values " << static_cast<int>(values)
                                    << (largest ? " largest" : " smallest"));
  ASSERT_LE(k, most_scanned(s.cols));
  GuardedBuffer<T> x(s.rows * s.cols, 1);
  fill(x, values);
  Sorted<T> expected(s.rows, k);
  find_version<Fn>(name, Target::reference)(x.data(), expected.values.data(), expected.indices.data(), s.rows, s.cols,
                                            k, largest, nullptr);
  for_each_fast_version<Fn>(name, [&](Fn kernel) {
    Sorted<T> actual(s.rows, k);
    GuardedBuffer<unsigned char> workspace(topk_workspace(s.rows, s.cols, k, sizeof(T)));
    kernel(x.data(), actual.values.data(), actual.indices.data(), s.rows, s.cols, k, largest, workspace.data());
    expect_same(actual, expected);
  });
}

template <class T> void check_topks() {
  struct Case {
    Rows s;
    int64_t k;
  };
  for (bool largest : {false, true}) {
    for (const Case& c : {Case{{3, 8}, 1},
                          {{3, 17}, 2},
                          {{5, 63}, 7},
                          {{5, 64}, 8},
                          {{5, 65}, 1},
                          {{3, 130}, 16},
                          {{60, 700}, 43},
                          {{2, 5000}, 625},
                          {{0, 9}, 1}})
      for (Values values : kValues) check_topk<T>(c.s, c.k, values, largest);
    check_topk<T>({2, kSortBlock + 1}, 4096, Values::special, largest);
  }
  check_topk<T>({1, kSortBlock}, 4096, Values::rising, true);
  check_topk<T>({1, 2 * kSortBlock + 9}, 5, Values::ties, true);
}

TEST(Topk, Float32) { check_topks<float>(); }
TEST(Topk, BFloat16) { check_topks<bfloat16>(); }
TEST(Topk, Float64) { check_topks<double>(); }
TEST(Topk, Int64) { check_topks<int64_t>(); }
TEST(Topk, Int32) { check_topks<int32_t>(); }
TEST(Topk, Uint8) { check_topks<uint8_t>(); }

template <class T> void check_searches() {
  using Fn = searchsorted_fn<T>;
  struct Case { int64_t rows, n, m; };
  std::vector<Case> cases;
  for (int64_t n : sizes_around_simd()) cases.push_back({3, n, 9});
  for (const Case& c : {Case{2, 0, 5}, {2, 7, 0}, {1, 1, 1}, {7, 40, 700}, {1, 3, 5000}}) cases.push_back(c);
  for_each_version<Fn>(std::string("searchsorted") + dtype_name<T>(), [&](Fn kernel, Fn reference) {
    for (const Case& c : cases)
      for (bool shared : {false, true})
        for (Values values : {Values::ties, Values::special}) {
          GuardedBuffer<T> sorted((shared ? 1 : c.rows) * c.n, 1), wanted(c.rows * c.m, 1);
          fill(sorted, values);
          fill(wanted, values);
          for (int64_t at = 0; at < sorted.size(); at += c.n)  // NaN last
            std::sort(sorted.data() + at, sorted.data() + at + c.n,
                      [](T a, T b) { return a < b || (b != b && a == a); });
          for (bool right : {false, true}) {
            GuardedBuffer<int64_t> y(wanted.size(), 1), expected(wanted.size());
            kernel(sorted.data(), wanted.data(), y.data(), c.rows, c.n, c.m, shared, right);
            reference(sorted.data(), wanted.data(), expected.data(), c.rows, c.n, c.m, shared, right);
            expect_same(y, expected);
          }
        }
  });
}

TEST(Searchsorted, EveryDtype) {
  check_searches<float>();
  check_searches<double>();
  check_searches<int64_t>();
  check_searches<int32_t>();
}

}  // namespace
}  // namespace dl::test
