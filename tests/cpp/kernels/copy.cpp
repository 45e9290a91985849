#include "kernels/copy/copy.h"

#include "kernel_test.h"

namespace dl::test {
namespace {

template <class T> void compare(copy_strided_fn<T> kernel, copy_strided_fn<T> reference, const CopyShape& s) {
  int64_t reach = 1, count = 1;
  for (int d = 0; d < s.ndim; ++d) {
    reach += (s.sizes[d] - 1) * s.x_strides[d];
    count *= s.sizes[d];
  }
  GuardedBuffer<T> x(reach, 1), y(count, 1), expected(count);
  x.randomise(0, 200);
  kernel(x.data(), y.data(), &s);
  reference(x.data(), expected.data(), &s);
  expect_same(y, expected);
}

template <class T> void check_copy(const char* name) {
  using Fn = copy_strided_fn<T>;
  for_each_version<Fn>(name, [](Fn kernel, Fn reference) {
    for (int64_t n : sizes_around_simd()) {
      compare<T>(kernel, reference, {1, {n}, {1}, {1}});                            // a row
      compare<T>(kernel, reference, {2, {n, 9}, {1, n}, {9, 1}});                   // a transposed matrix
      compare<T>(kernel, reference, {2, {5, n}, {2 * n, 2}, {n, 1}});               // every other element
      compare<T>(kernel, reference, {2, {5, n}, {0, 1}, {n, 1}});                   // a broadcast row
      compare<T>(kernel, reference, {3, {2, n, 3}, {3 * n, 1, n}, {3 * n, 3, 1}});  // a batch of transposes
    }
    compare<T>(kernel, reference, {2, {300, 130}, {1, 300}, {130, 1}});    // several blocks of tiles
    compare<T>(kernel, reference, {2, {70, 1000}, {1000, 1}, {1000, 1}});  // several blocks of rows
    const CopyShape backwards{1, {17}, {-1}, {1}};
    GuardedBuffer<T> x(17), y(17);
    x.randomise(0, 200);
    kernel(x.data() + 16, y.data(), &backwards);
    for (int i = 0; i < 17; ++i) EXPECT_EQ(y[i], x[16 - i]);
  });
}

TEST(Copy, Strided) {
  check_copy<uint8_t>("copy_strided/1");
  check_copy<uint16_t>("copy_strided/2");
  check_copy<uint32_t>("copy_strided/4");
  check_copy<uint64_t>("copy_strided/8");
}

template <class T> const char* dtype_name();
template <> const char* dtype_name<float>() { return "float32"; }
template <> const char* dtype_name<bfloat16>() { return "bfloat16"; }
template <> const char* dtype_name<double>() { return "float64"; }
template <> const char* dtype_name<int64_t>() { return "int64"; }
template <> const char* dtype_name<int32_t>() { return "int32"; }
template <> const char* dtype_name<uint8_t>() { return "uint8"; }
template <> const char* dtype_name<bool>() { return "bool"; }

template <class S, class D> void check_cast() {
  using Fn = cast_fn<S, D>;
  const std::string name = std::string("cast/") + dtype_name<S>() + "/" + dtype_name<D>();
  if (!find_version<Fn>(name, Target::reference)) return;  // to the same dtype: not a cast
  for_each_version<Fn>(name, [](Fn kernel, Fn reference) {
    std::vector<int64_t> sizes = sizes_around_simd();
    sizes.push_back(100000);
    for (int64_t n : sizes) {
      GuardedBuffer<S> x(n, 1);
      GuardedBuffer<D> y(n, 1), expected(n);
      const double most = std::is_same_v<S, bool> ? 2 : std::is_same_v<S, uint8_t> ? 256 : 400;
      x.randomise(std::is_signed_v<S> || std::is_same_v<S, bfloat16> ? -most : 0, most);
      if constexpr (std::is_floating_point_v<S>) {
        const double edges[] = {INFINITY, -INFINITY, NAN, 1e30, -1e30, 0.5, -0.5, 0x1p31, -0x1p31, 255.9, 1.00390625};
        for (int i = 0; i < 11 && i < n; ++i) x[n - 1 - i] = static_cast<S>(edges[i]);
      }
      kernel(x.data(), y.data(), n);
      reference(x.data(), expected.data(), n);
      expect_close(y, expected, 0);
    }
  });
}

template <class S> void check_casts_from() {
  check_cast<S, float>();
  check_cast<S, bfloat16>();
  check_cast<S, double>();
  check_cast<S, int64_t>();
  check_cast<S, int32_t>();
  check_cast<S, uint8_t>();
  check_cast<S, bool>();
}

TEST(Copy, Casts) {
  check_casts_from<float>();
  check_casts_from<bfloat16>();
  check_casts_from<double>();
  check_casts_from<int64_t>();
  check_casts_from<int32_t>();
  check_casts_from<uint8_t>();
  check_casts_from<bool>();
}

}  // namespace
}  // namespace dl::test
