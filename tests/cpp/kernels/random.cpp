#include "kernels/random/random.h"

#include <algorithm>

#include "core/random.h"
#include "kernel_test.h"
#include "simd/philox.h"

namespace dl::test {
namespace {

constexpr uint64_t kSeed = 0x123456789abcdefull, kStream = (uint64_t{1} << 40) + 3;

// Tails of a chunk (64 words, 32 draws), and several blocks of work.
std::vector<int64_t> sizes() {
  std::vector<int64_t> n = sizes_around_simd();
  n.push_back(70001);
  return n;
}

TEST(Random, BitsFollowTheDocumentedOrder) {
  for_each_version<random_bits_fn>("random_bits", [](random_bits_fn kernel, random_bits_fn) {
    for (int64_t n : sizes()) {
      GuardedBuffer<uint32_t> y(n, 1);
      kernel(y.data(), n, kSeed, kStream);
      for (int64_t i = 0; i < n; ++i)
        ASSERT_EQ(y[i], philox(kSeed, kStream, static_cast<uint64_t>(i / 64 * 16 + i % 16)).v[i % 64 / 16]) << i;
    }
  });
}

// Around block 2^32 the lanes' counters pass from one word to two.
TEST(Random, LanesPass32Bits) {
  for (uint64_t first : {(uint64_t{1} << 32) - Vec::size, uint64_t{1} << 32}) {
    const PhiloxLanes lanes = philox_lanes(kSeed, kStream, first);
    for (int k = 0; k < 4; ++k) {
      int32_t words[Vec::size];
      store(words, lanes.v[k]);
      for (int l = 0; l < Vec::size; ++l)
        EXPECT_EQ(static_cast<uint32_t>(words[l]), philox(kSeed, kStream, first + static_cast<uint64_t>(l)).v[k]);
    }
  }
}

template <class T> void check_uniform(const char* name) {
  using Fn = random_uniform_fn<T>;
  for_each_version<Fn>(name, [](Fn kernel, Fn reference) {
    for (int64_t n : sizes()) {
      GuardedBuffer<T> y(n, 1), expected(n);
      kernel(y.data(), n, kSeed, kStream, 0, 1, 1 - 2 * eps<T>());
      reference(expected.data(), n, kSeed, kStream, 0, 1, 1 - 2 * eps<T>());
      expect_same(y, expected);
      kernel(y.data(), n, kSeed, kStream, -3, 5, 2 - 4 * eps<T>());
      reference(expected.data(), n, kSeed, kStream, -3, 5, 2 - 4 * eps<T>());
      expect_close(y, expected, 2, [](int64_t) { return 3; });
      for (const T& v : y) ASSERT_TRUE(as_double(v) >= -3 && as_double(v) < 2);
    }
  });
}

TEST(Random, Uniform) {
  check_uniform<float>("random_uniform/float32");
  check_uniform<bfloat16>("random_uniform/bfloat16");
  check_uniform<double>("random_uniform/float64");
}

template <class T> void check_normal(const char* name) {
  using Fn = random_normal_fn<T>;
  for_each_version<Fn>(name, [](Fn kernel, Fn reference) {
    for (int64_t n : sizes()) {
      GuardedBuffer<T> y(n, 1), expected(n);
      kernel(y.data(), n, kSeed, kStream, 0.5, 2);
      reference(expected.data(), n, kSeed, kStream, 0.5, 2);
      // The rounding error is measured by the radius 2 sqrt(-2 ln u) <= 14, also where the sine or cosine is small.
      expect_close(y, expected, 8, [&](int64_t) { return 14.5; });
    }
  });
}

TEST(Random, Normal) {
  check_normal<float>("random_normal/float32");
  check_normal<bfloat16>("random_normal/bfloat16");
  check_normal<double>("random_normal/float64");
}

TEST(Random, Integers) {
  for_each_version<random_integers_fn>("random_integers", [](random_integers_fn kernel, random_integers_fn reference) {
    for (int64_t n : sizes())
      for (uint64_t range : {uint64_t{1}, uint64_t{7}, uint64_t{1} << 40, ~uint64_t{0}}) {
        const int64_t low = range == ~uint64_t{0} ? std::numeric_limits<int64_t>::min() : -5;
        GuardedBuffer<int64_t> y(n, 1), expected(n);
        kernel(y.data(), n, kSeed, kStream, low, range);
        reference(expected.data(), n, kSeed, kStream, low, range);
        expect_same(y, expected);
      }
  });
}

TEST(Random, Permutation) {
  using Fn = random_permutation_fn;
  for_each_version<Fn>("random_permutation", [](Fn kernel, Fn reference) {
    for (int64_t n : sizes()) {
      GuardedBuffer<int64_t> y(n, 1), expected(n);
      kernel(y.data(), n, kSeed, kStream);
      reference(expected.data(), n, kSeed, kStream);
      expect_same(y, expected);
      std::sort(y.begin(), y.end());
      for (int64_t i = 0; i < n; ++i) ASSERT_EQ(y[i], i);
    }
  });
}

template <class T> void check_bernoulli(const char* name) {
  using Fn = random_bernoulli_fn<T>;
  for_each_version<Fn>(name, [](Fn kernel, Fn reference) {
    for (int64_t n : sizes()) {
      GuardedBuffer<T> p(n, 1), y(n, 1), expected(n);
      p.randomise(0, 1);
      for (int64_t i = 0; i < n; i += 5) p[i] = from_double<T>(i % 2);
      kernel(p.data(), y.data(), n, kSeed, kStream);
      reference(p.data(), expected.data(), n, kSeed, kStream);
      expect_same(y, expected);
      for (int64_t i = 0; i < n; i += 5) ASSERT_EQ(as_double(y[i]), i % 2);
      kernel(p.data(), p.data(), n, kSeed, kStream);
      expect_same(p, expected);
    }
  });
}

TEST(Random, Bernoulli) {
  check_bernoulli<float>("random_bernoulli/float32");
  check_bernoulli<bfloat16>("random_bernoulli/bfloat16");
  check_bernoulli<double>("random_bernoulli/float64");
}

template <class T> void check_multinomial(const char* name) {
  using Fn = random_multinomial_fn<T>;
  for_each_version<Fn>(name, [](Fn kernel, Fn) {
    const int64_t rows = 400, cols = 9;
    GuardedBuffer<T> p(rows * cols);
    GuardedBuffer<double> work(cols);
    GuardedBuffer<int64_t> order(cols), y(rows * cols);
    p.randomise(0.25, 1);
    for (int64_t r = 0; r < rows; ++r) p[r * cols + r % cols] = from_double<T>(0);
    kernel(p.data(), y.data(), rows, cols, cols, true, kSeed, kStream, work.data(), order.data());
    for (int64_t i = 0; i < y.size(); ++i) ASSERT_TRUE(0 <= y[i] && y[i] < cols && y[i] != i / cols % cols);
    kernel(p.data(), y.data(), rows, cols, cols, false, kSeed, kStream, work.data(), order.data());
    for (int64_t r = 0; r < rows; ++r) {
      ASSERT_EQ(y[r * cols + cols - 1], r % cols) << "the column without weight comes last";
      std::sort(y.data() + r * cols, y.data() + (r + 1) * cols);
      for (int64_t c = 0; c < cols; ++c) ASSERT_EQ(y[r * cols + c], c);
    }
  });
}

TEST(Random, Multinomial) {
  check_multinomial<float>("random_multinomial/float32");
  check_multinomial<bfloat16>("random_multinomial/bfloat16");
  check_multinomial<double>("random_multinomial/float64");
}

template <class T> void check_dropout(const char* name) {
  using Fn = dropout_fn<T>;
  for_each_version<Fn>(name, [](Fn kernel, Fn reference) {
    for (int64_t n : sizes())
      for (uint32_t threshold : {0u, 1u << 30, 1u << 31, 3u << 30, ~0u}) {
        GuardedBuffer<T> x(n, 1), y(n, 1), expected(n);
        x.randomise(-4, 4);
        kernel(x.data(), y.data(), n, kSeed, kStream, threshold, 1.25);
        reference(x.data(), expected.data(), n, kSeed, kStream, threshold, 1.25);
        expect_close(y, expected, 1);
        for (int64_t i = 0; i < n; ++i) ASSERT_EQ(as_double(y[i]) != 0, random_word(kSeed, kStream, i) >= threshold);
        kernel(x.data(), x.data(), n, kSeed, kStream, threshold, 1.25);
        expect_same(x, y);
      }
  });
}

TEST(Random, Dropout) {
  check_dropout<float>("dropout/float32");
  check_dropout<bfloat16>("dropout/bfloat16");
  check_dropout<double>("dropout/float64");
}

}  // namespace
}  // namespace dl::test
