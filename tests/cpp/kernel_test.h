// What a kernel's test needs: guarded and misaligned buffers, the versions of a kernel, comparison in derived units.
//
//   TEST(Softmax, Forward) {
//     using Fn = softmax_forward_fn<float>;
//     for_each_version<Fn>("softmax_forward/float32", [](Fn kernel, Fn reference) {
//       for (int64_t cols : sizes_around_simd())
//         for (int misalign : {0, 1}) {
//           GuardedBuffer<float> x(3 * cols, misalign), y(3 * cols, misalign), expected(3 * cols);
//           x.randomise(-4, 4);
//           kernel(x.data(), y.data(), 3, cols);
//           reference(x.data(), expected.data(), 3, cols);
//           expect_close(y, expected, 8);  // |y - expected| <= 8 eps |expected|
//         }
//     });
//   }
#pragma once
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#ifdef DLCORE_POISON_GUARDS
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(begin, size)
#define ASAN_UNPOISON_MEMORY_REGION(begin, size)
#endif

#include "core/bfloat16.h"
#include "core/parallel.h"
#include "dispatch/kernel.h"

namespace dl::test {

// Sizes just under, at and over the vector widths and their multiples.
inline std::vector<int64_t> sizes_around_simd() {
  return {1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 130};
}

template <class T> double as_double(T v) {
  if constexpr (std::is_same_v<T, bfloat16>) return to_float(v);
  else return static_cast<double>(v);
}

template <class T> T from_double(double v) {
  if constexpr (std::is_same_v<T, bfloat16>) return to_bfloat16(static_cast<float>(v));
  else if constexpr (std::is_same_v<T, bool>) return v >= 1;  // a draw from [0, 2) is either
  else return static_cast<T>(v);
}

// Half a unit in the last place of 1.
template <class T> constexpr double eps() {
  if constexpr (std::is_same_v<T, bfloat16>) return 0x1p-9;
  else if constexpr (std::is_same_v<T, float>) return 0x1p-24;
  else return 0x1p-53;
}

// n elements that start `misalign` elements after a 64-byte boundary, between guard bytes that are checked at the end;
// under AddressSanitizer they must not be read either. The elements start out as quiet NaN patterns, so that reading
// what was never written shows.
template <class T> class GuardedBuffer {
 public:
  explicit GuardedBuffer(int64_t n, int misalign = 0)
      : n_(n), offset_(kGuard + static_cast<size_t>(misalign) * sizeof(T)), bytes_(offset_ + n * sizeof(T) + kGuard) {
    memory_.reset(static_cast<unsigned char*>(std::aligned_alloc(64, (bytes_ + 63) / 64 * 64)));
    std::memset(memory_.get(), kPattern, bytes_);
    std::memset(data(), 0xff, n * sizeof(T));
    ASAN_POISON_MEMORY_REGION(memory_.get(), offset_);
    ASAN_POISON_MEMORY_REGION(memory_.get() + (bytes_ - kGuard), kGuard);
  }
  GuardedBuffer(const GuardedBuffer&) = delete;
  ~GuardedBuffer() {
    ASAN_UNPOISON_MEMORY_REGION(memory_.get(), bytes_);
    expect_pattern(0, offset_);
    expect_pattern(bytes_ - kGuard, bytes_);
  }

  T* data() { return reinterpret_cast<T*>(memory_.get() + offset_); }
  const T* data() const { return reinterpret_cast<const T*>(memory_.get() + offset_); }
  int64_t size() const { return n_; }
  T& operator[](int64_t i) { return data()[i]; }
  const T& operator[](int64_t i) const { return data()[i]; }
  T* begin() { return data(); }
  T* end() { return data() + n_; }

  void fill(double v) {
    for (T& e : *this) e = from_double<T>(v);
  }

  // Uniform in [low, high); the same numbers for the same seed. SplitMix64: it is quick under an emulator, too.
  void randomise(double low, double high, uint64_t seed = 1) {
    uint64_t state = seed * 0xd1342543de82ef95u;
    for (T& e : *this) {
      uint64_t z = state += 0x9e3779b97f4a7c15u;
      z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
      z = (z ^ z >> 27) * 0x94d049bb133111ebu;
      e = from_double<T>(low + (high - low) * (static_cast<double>((z ^ z >> 31) >> 11) * 0x1p-53));
    }
  }

  void copy_from(const GuardedBuffer& o) { std::memcpy(data(), o.data(), static_cast<size_t>(n_) * sizeof(T)); }

 private:
  static constexpr size_t kGuard = 128;
  static constexpr unsigned char kPattern = 0xa5;
  void expect_pattern(size_t begin, size_t end) const {
    for (size_t i = begin; i < end; ++i)
      if (memory_.get()[i] != kPattern) {
        ADD_FAILURE() << "written out of bounds: byte " << static_cast<int64_t>(i) - static_cast<int64_t>(offset_)
                      << " of a buffer of " << n_ << " elements of " << sizeof(T) << " bytes";
        return;
      }
  }
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  int64_t n_;
  size_t offset_, bytes_;
  std::unique_ptr<unsigned char, Free> memory_;
};

std::set<std::string>& compared_kernels();

// Worst errors that expect_close() has seen, by kernel and target, in units of the last place: 1 is the distance
// between neighbouring numbers of the kernel's type at the magnitude of what was computed.
std::map<std::pair<std::string, Target>, double>& worst_errors();

// Errors belong to this version for as long as it lives. The reference is what others are measured by.
class Measured {
 public:
  Measured(const std::string& name, Target target) { current() = &worst_errors()[{name, target}]; }
  Measured(const Measured&) = delete;
  ~Measured() { current() = nullptr; }
  static void error(double units) {
    if (current() && units > *current()) *current() = units;
  }

 private:
  static double*& current() {
    static double* worst = nullptr;
    return worst;
  }
};

template <class Fn> Fn find_version(const std::string& name, Target target) {
  return reinterpret_cast<Fn>(find_kernel(name.c_str(), target));
}

// Calls body(version) for every version of a kernel but the reference that this CPU runs, with 1 and with 3 threads.
// Failures name the kernel, the target and the threads. For tests that run the reference themselves, once.
template <class Fn, class Body> void for_each_fast_version(const std::string& name, Body&& body) {
  compared_kernels().insert(name);
  const int before = num_threads();
  for (int t = static_cast<int>(Target::baseline); t < static_cast<int>(Target::cuda); ++t) {
    const Target target = Target(t);
    const Fn version = find_version<Fn>(name, target);
    if (!version || !cpu_supports(target)) continue;
    const Measured measured(name, target);
    for (int threads : {1, 3}) {
      SCOPED_TRACE(name + " on " + target_name(target) + " with " + std::to_string(threads) + " threads");
      set_num_threads(threads);
      body(version);
    }
  }
  set_num_threads(before);
}

// Calls body(version, reference) for every version, the reference itself included: it must keep its guards as well.
template <class Fn, class Body> void for_each_version(const std::string& name, Body&& body) {
  const Fn reference = find_version<Fn>(name, Target::reference);
  ASSERT_NE(reference, nullptr) << "kernel " << name << " has no reference";
  {
    SCOPED_TRACE(name + " on reference");
    body(reference, reference);
  }
  for_each_fast_version<Fn>(name, [&](Fn version) { body(version, reference); });
}

// How many representable numbers lie between a and b; a large number when only one is NaN.
inline int64_t ulp_distance(float a, float b) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b) ? 0 : std::numeric_limits<int64_t>::max();
  auto ordered = [](float v) {
    int32_t bits;
    std::memcpy(&bits, &v, sizeof bits);
    return bits < 0 ? -static_cast<int64_t>(bits & 0x7fffffff) : static_cast<int64_t>(bits);
  };
  return std::abs(ordered(a) - ordered(b));
}

// |actual[i] - expected[i]| <= units * eps(T) * magnitude(i); NaN where NaN is expected, infinities alike.
template <class T, class E, class Magnitude>
void expect_close(const GuardedBuffer<T>& actual, const GuardedBuffer<E>& expected, double units, Magnitude magnitude) {
  ASSERT_EQ(actual.size(), expected.size());
  for (int64_t i = 0; i < actual.size(); ++i) {
    const double a = as_double(actual[i]), e = as_double(expected[i]);
    if (a == e || (std::isnan(a) && std::isnan(e))) continue;
    const double bound = units * eps<T>() * magnitude(i) + std::numeric_limits<float>::min();
    if (!std::isfinite(a) || !std::isfinite(e) || !(std::abs(a - e) <= bound)) {
      ADD_FAILURE() << "element " << i << " of " << actual.size() << ": got " << a << ", expected " << e << ", error "
                    << std::abs(a - e) << ", allowed " << bound;
      return;
    }
    Measured::error((std::abs(a - e) - std::numeric_limits<float>::min()) / (2 * eps<T>() * magnitude(i)));
  }
}

template <class T, class E>
void expect_close(const GuardedBuffer<T>& actual, const GuardedBuffer<E>& expected, double units) {
  expect_close(actual, expected, units, [&](int64_t i) { return std::abs(as_double(expected[i])); });
}

// The same bits.
template <class T> void expect_same(const GuardedBuffer<T>& actual, const GuardedBuffer<T>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (int64_t i = 0; i < actual.size(); ++i) {
    if (std::memcmp(&actual[i], &expected[i], sizeof(T)) == 0) continue;
    ADD_FAILURE() << "element " << i << " of " << actual.size() << ": got " << as_double(actual[i]) << ", expected "
                  << as_double(expected[i]);
    return;
  }
}

}  // namespace dl::test
