// Every version of index reads, writes and additions against the reference: whole rows, single elements, strided and
// several inner dimensions, dimensions before the indexed ones, and indices that name an element more than once.
#include "kernels/index/index.h"

#include "kernel_test.h"

namespace dl::test {
namespace {

TEST(Index, Offsets) {
  for_each_version<index_offsets_fn>("index_offsets", [](index_offsets_fn kernel, index_offsets_fn reference) {
    for (int64_t count : sizes_around_simd())
      for (int dims : {1, 2, 3}) {
        IndexArrays arrays{dims, {}, {5, 9, 2}, {63, 7, -3}};
        std::vector<std::vector<int64_t>> index(static_cast<size_t>(dims), std::vector<int64_t>(count));
        for (int k = 0; k < dims; ++k) {
          for (int64_t b = 0; b < count; ++b) index[k][b] = (b * 7 + k) % (2 * arrays.sizes[k]) - arrays.sizes[k];
          arrays.index[k] = index[k].data();
        }
        GuardedBuffer<int64_t> offsets(count, 1), expected(count);
        int out_of_range = 0;
        kernel(&arrays, count, offsets.data(), &out_of_range);
        EXPECT_EQ(out_of_range, 0);
        reference(&arrays, count, expected.data(), &out_of_range);
        expect_same(offsets, expected);
        for (int64_t wrong : {-arrays.sizes[0] - 1, arrays.sizes[0], INT64_MIN, INT64_MAX}) {
          index[0][count - 1] = wrong;
          out_of_range = 0;
          kernel(&arrays, count, offsets.data(), &out_of_range);
          EXPECT_EQ(out_of_range, 1);
          reference(&arrays, count, expected.data(), &out_of_range);
          expect_same(offsets, expected);
        }
      }
  });
}

// x is contiguous of some shape, of which one dimension is indexed.
struct Selection {
  IndexShape shape;
  int64_t x_size, indexed, stride;

  int64_t selected() const {
    int64_t n = shape.count;
    for (const IndexDims& dims : {shape.outer, shape.inner})
      for (int d = 0; d < dims.ndim; ++d) n *= dims.sizes[d];
    return n;
  }
};

std::vector<Selection> selections() {
  std::vector<Selection> all;
  for (int64_t n : sizes_around_simd()) all.push_back({{{0, {}, {}}, {1, {n}, {1}}, 12}, 5 * n, 5, n});  // rows
  all.push_back({{{0, {}, {}}, {0, {}, {}}, 40}, 17, 17, 1});               // elements of a vector
  all.push_back({{{1, {3}, {17}}, {0, {}, {}}, 40}, 3 * 17, 17, 1});        // along the last of two
  all.push_back({{{1, {4}, {5 * 7}}, {1, {7}, {1}}, 9}, 4 * 5 * 7, 5, 7});  // along the middle of three
  all.push_back({{{2, {2, 3}, {3 * 5 * 7, 5 * 7}}, {1, {4}, {2}}, 6}, 2 * 3 * 5 * 7, 5, 7});  // every other of a row
  all.push_back({{{0, {}, {}}, {2, {3, 9}, {11, 1}}, 6}, 5 * 40, 5, 40});                     // rows of rows
  all.push_back({{{0, {}, {}}, {1, {1000}, {1}}, 90}, 7 * 1000, 7, 1000});                    // several blocks
  all.push_back({{{1, {2}, {50000}}, {0, {}, {}}, 70000}, 2 * 50000, 50000, 1});
  return all;
}

void pick(GuardedBuffer<int64_t>& offsets, const Selection& s) {
  for (int64_t b = 0; b < offsets.size(); ++b) offsets[b] = (b * b * 7 + b) % s.indexed * s.stride;
}

template <class T> void check_read(const char* name) {
  using Fn = index_read_fn<T>;
  for_each_version<Fn>(name, [](Fn kernel, Fn reference) {
    for (const Selection& s : selections()) {
      GuardedBuffer<T> x(s.x_size, 1), y(s.selected(), 1), expected(s.selected());
      GuardedBuffer<int64_t> offsets(s.shape.count);
      x.randomise(0, 200);
      pick(offsets, s);
      kernel(x.data(), offsets.data(), y.data(), &s.shape);
      reference(x.data(), offsets.data(), expected.data(), &s.shape);
      expect_same(y, expected);
    }
  });
}

// Writing and adding in the order of the selection is part of the contract: the same bits.
template <class T> void check_write(const std::string& name) {
  using Fn = index_write_fn<T>;
  for_each_version<Fn>(name, [](Fn kernel, Fn reference) {
    for (const Selection& s : selections()) {
      GuardedBuffer<T> x(s.x_size, 1), y(s.selected(), 1), expected(s.x_size);
      GuardedBuffer<int64_t> offsets(s.shape.count);
      x.randomise(0, 200);
      y.randomise(0, 200, 2);
      expected.copy_from(x);
      pick(offsets, s);
      kernel(x.data(), offsets.data(), y.data(), &s.shape);
      reference(expected.data(), offsets.data(), y.data(), &s.shape);
      expect_same(x, expected);
    }
  });
}

TEST(Index, Read) {
  check_read<uint8_t>("index_read/1");
  check_read<uint16_t>("index_read/2");
  check_read<uint32_t>("index_read/4");
  check_read<uint64_t>("index_read/8");
}

TEST(Index, Write) {
  check_write<uint8_t>("index_write/1");
  check_write<uint16_t>("index_write/2");
  check_write<uint32_t>("index_write/4");
  check_write<uint64_t>("index_write/8");
}

TEST(Index, Add) {
  check_write<float>("index_add/float32");
  check_write<double>("index_add/float64");
  check_write<int64_t>("index_add/int64");
  check_write<int32_t>("index_add/int32");
  check_write<uint8_t>("index_add/uint8");
}

}  // namespace
}  // namespace dl::test
