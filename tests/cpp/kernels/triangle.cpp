#include "kernels/triangle/triangle.h"

#include "kernel_test.h"

namespace dl::test {
namespace {

struct Shape { int64_t batch, rows, cols; };
// Rows around the vectors, square, tall and wide matrices, and several blocks of rows.
std::vector<Shape> shapes() {
  std::vector<Shape> all;
  for (int64_t cols : sizes_around_simd()) all.push_back({2, 5, cols});
  for (Shape s : {Shape{1, 1, 1}, {3, 70, 2}, {2, 40, 40}, {0, 3, 3}, {5, 90, 80}}) all.push_back(s);
  return all;
}

template <class T> void check(const char* name) {
  using Fn = triangle_fn<T>;
  for_each_version<Fn>(name, [](Fn kernel, Fn reference) {
    for (const Shape& s : shapes())
      for (int64_t diagonal :
           {int64_t{0}, int64_t{-1}, int64_t{2}, int64_t{-4}, s.cols - 1, s.cols, -s.rows, s.cols + 1, -s.rows - 1})
        for (bool upper : {false, true}) {
          GuardedBuffer<T> x(s.batch * s.rows * s.cols, 1), y(x.size(), 1), expected(x.size());
          x.randomise(1, 200);
          kernel(x.data(), y.data(), s.batch, s.rows, s.cols, diagonal, upper);
          reference(x.data(), expected.data(), s.batch, s.rows, s.cols, diagonal, upper);
          expect_same(y, expected);
        }
  });
}

TEST(Triangle, EveryElementSize) {
  check<uint8_t>("triangle/1");
  check<uint16_t>("triangle/2");
  check<uint32_t>("triangle/4");
  check<uint64_t>("triangle/8");
}

}  // namespace
}  // namespace dl::test
