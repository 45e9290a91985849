// Every version of gather, scatter and scatter_add against the reference: along the first, a middle and the last axis,
// around the vector widths, with negative indices and indices that name an element more than once.
#include "kernels/gather/gather.h"

#include "kernel_test.h"

namespace dl::test {
namespace {

TEST(Gather, CheckIndices) {
  for_each_version<check_indices_fn>("check_indices", [](check_indices_fn kernel, check_indices_fn) {
    for (int64_t n : {int64_t{1}, int64_t{17}, int64_t{130}, int64_t{100000}}) {
      GuardedBuffer<int64_t> index(n, 1);
      for (int64_t i = 0; i < n; ++i) index[i] = i % 18 - 9;
      int out_of_range = 0;
      kernel(index.data(), n, 9, &out_of_range);
      EXPECT_EQ(out_of_range, 0);
      for (int64_t wrong : {int64_t{-10}, int64_t{9}, INT64_MIN, INT64_MAX})
        for (int64_t at : {int64_t{0}, n / 2, n - 1}) {
          const int64_t before = index[at];
          index[at] = wrong;
          out_of_range = 0;
          kernel(index.data(), n, 9, &out_of_range);
          EXPECT_EQ(out_of_range, 1) << wrong << " at " << at << " of " << n;
          index[at] = before;
        }
    }
  });
}

struct Axis {
  GatherShape shape;
  int64_t x_size;

  int64_t picked() const {
    int64_t n = shape.count;
    for (const IndexDims& dims : {shape.outer, shape.inner})
      for (int d = 0; d < dims.ndim; ++d) n *= dims.sizes[d];
    return n;
  }
};

std::vector<Axis> axes() {
  std::vector<Axis> all;
  for (int64_t n : sizes_around_simd()) {
    all.push_back({{{1, {3}, {9}}, {0, {}, {}}, 9, 1, n}, 3 * 9});         // the last axis
    all.push_back({{{0, {}, {}}, {1, {n}, {1}}, 5, n, 7}, 5 * n});         // the first axis
    all.push_back({{{1, {2}, {5 * n}}, {1, {n}, {1}}, 5, n, 7}, 10 * n});  // a middle one
  }
  all.push_back({{{1, {2}, {60}}, {1, {3}, {2}}, 5, 12, 7}, 120});  // every other element
  all.push_back({{{2, {2, 2}, {120, 60}}, {2, {2, 3}, {4, 1}}, 5, 12, 7}, 240});
  all.push_back({{{1, {3}, {300}}, {0, {}, {}}, 300, 1, 40000}, 900});  // several blocks
  all.push_back({{{0, {}, {}}, {1, {700}, {1}}, 90, 700, 100}, 90 * 700});
  return all;
}

void pick(GuardedBuffer<int64_t>& index, int64_t size) {
  for (int64_t i = 0; i < index.size(); ++i) index[i] = (i * i * 7 + i) % (2 * size) - size;
}

template <class T> void check_gather(const char* name) {
  using Fn = gather_fn<T>;
  for_each_version<Fn>(name, [](Fn kernel, Fn reference) {
    for (const Axis& a : axes()) {
      GuardedBuffer<T> x(a.x_size, 1), y(a.picked(), 1), expected(a.picked());
      GuardedBuffer<int64_t> index(a.picked(), 1);
      x.randomise(0, 200);
      pick(index, a.shape.size);
      kernel(x.data(), index.data(), y.data(), &a.shape);
      reference(x.data(), index.data(), expected.data(), &a.shape);
      expect_same(y, expected);
    }
  });
}

// The order of writes and additions is part of the contract: the same bits.
template <class T> void check_scatter(const char* name) {
  using Fn = scatter_fn<T>;
  for_each_version<Fn>(name, [](Fn kernel, Fn reference) {
    for (const Axis& a : axes()) {
      GuardedBuffer<T> x(a.x_size, 1), y(a.picked(), 1), expected(a.x_size);
      GuardedBuffer<int64_t> index(a.picked(), 1);
      x.randomise(0, 200);
      y.randomise(0, 200, 2);
      expected.copy_from(x);
      pick(index, a.shape.size);
      kernel(x.data(), index.data(), y.data(), &a.shape);
      reference(expected.data(), index.data(), y.data(), &a.shape);
      expect_same(x, expected);
    }
  });
}

TEST(Gather, Gather) {
  check_gather<uint8_t>("gather/1");
  check_gather<uint16_t>("gather/2");
  check_gather<uint32_t>("gather/4");
  check_gather<uint64_t>("gather/8");
}

TEST(Gather, Scatter) {
  check_scatter<uint8_t>("scatter/1");
  check_scatter<uint16_t>("scatter/2");
  check_scatter<uint32_t>("scatter/4");
  check_scatter<uint64_t>("scatter/8");
}

TEST(Gather, ScatterAdd) {
  check_scatter<float>("scatter_add/float32");
  check_scatter<double>("scatter_add/float64");
  check_scatter<int64_t>("scatter_add/int64");
  check_scatter<int32_t>("scatter_add/int32");
  check_scatter<uint8_t>("scatter_add/uint8");
}

}  // namespace
}  // namespace dl::test
