#include "kernels/embedding/embedding.h"

#include "kernel_test.h"

namespace dl::test {
namespace {

struct Shape { int64_t n, vocabulary, cols; };
// Several ranges of words and several strips of columns, too, and a table that is cleared past the caches.
std::vector<Shape> shapes() {
  std::vector<Shape> all;
  for (int64_t cols : sizes_around_simd()) all.push_back({40, 11, cols});
  for (Shape s : {Shape{1, 1, 1}, {0, 5, 3}, {300, 100, 600}, {5000, 3, 33}, {50, 7001, 601}}) all.push_back(s);
  return all;
}

void fill_index(GuardedBuffer<int64_t>& index, int64_t vocabulary) {
  for (int64_t i = 0; i < index.size(); ++i) index[i] = i * i * 7 % vocabulary;
}

TEST(Embedding, Forward) {
  for_each_version<embedding_forward_fn>(
      "embedding_forward", [](embedding_forward_fn kernel, embedding_forward_fn reference) {
        for (const Shape& s : shapes()) {
          GuardedBuffer<int64_t> index(s.n);
          GuardedBuffer<float> w(s.vocabulary * s.cols, 1), y(s.n * s.cols, 1), expected(s.n * s.cols);
          fill_index(index, s.vocabulary);
          w.randomise(-1, 1);
          const int64_t row_bytes = s.cols * static_cast<int64_t>(sizeof(float));
          kernel(index.data(), w.data(), y.data(), s.n, row_bytes);
          reference(index.data(), w.data(), expected.data(), s.n, row_bytes);
          expect_same(y, expected);
        }
      });
}

// The order of the additions is part of the contract: the same bits.
template <class T> void check_backward(const char* name) {
  using Fn = embedding_backward_fn<T>;
  for_each_version<Fn>(name, [](Fn kernel, Fn reference) {
    for (const Shape& s : shapes())
      for (auto [padding, add] : {std::pair<int64_t, bool>{-1, false}, {0, false}, {-1, true}, {0, true}}) {
        GuardedBuffer<int64_t> index(s.n);
        GuardedBuffer<T> dy(s.n * s.cols, 1), dw(s.vocabulary * s.cols, 1), expected(s.vocabulary * s.cols);
        fill_index(index, s.vocabulary);
        dy.randomise(-1, 1);
        dw.randomise(-1, 1);
        for (int64_t i = 0; i < dw.size(); ++i) expected.data()[i] = dw.data()[i];
        kernel(index.data(), dy.data(), dw.data(), s.n, s.vocabulary, s.cols, padding, add);
        reference(index.data(), dy.data(), expected.data(), s.n, s.vocabulary, s.cols, padding, add);
        expect_same(dw, expected);
      }
  });
}

TEST(Embedding, Backward) {
  check_backward<float>("embedding_backward/float32");
  check_backward<double>("embedding_backward/float64");
}

}  // namespace
}  // namespace dl::test
