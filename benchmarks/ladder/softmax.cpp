// The way to the shipped softmax over rows: softmax ROUNDS [ROWS COLUMNS]
#include "benchmarks/ladder/ladder.h"
#include "kernels/softmax/simd.cpp"  // the shipped kernel itself, not a copy

namespace {

// 1. The definition, in double.
void naive(int64_t rows, int64_t cols, const float* x, float* y) {
  for (int64_t r = 0; r < rows; ++r, x += cols, y += cols) {
    double most = x[0], sum = 0;
    for (int64_t i = 1; i < cols; ++i) most = std::max<double>(most, x[i]);
    for (int64_t i = 0; i < cols; ++i) sum += std::exp(x[i] - most);
    for (int64_t i = 0; i < cols; ++i) y[i] = static_cast<float>(std::exp(x[i] - most) / sum);
  }
}

// 2. One exponential for each element, of the library in single precision, kept in y until the sum is known.
// Predicted: 3, half the exponentials, each of them cheaper than in double.
void library_exp(int64_t rows, int64_t cols, const float* x, float* y) {
  for (int64_t r = 0; r < rows; ++r, x += cols, y += cols) {
    float most = x[0], sum = 0;
    for (int64_t i = 1; i < cols; ++i) most = std::max(most, x[i]);
    for (int64_t i = 0; i < cols; ++i) sum += y[i] = std::exp(x[i] - most);
    for (int64_t i = 0; i < cols; ++i) y[i] /= sum;
  }
}

dl::Vec largest(const float* x, int64_t cols) {
  Vec most = dl::broadcast(-dl::kInf);
  dl::for_each_vec(cols,
                   [&](int64_t i, auto lanes) DL_BODY { most = dl::max(most, keep(load(x + i, lanes), most, lanes)); });
  return dl::broadcast(dl::reduce_max(most));
}

// 3. A vector of exponentials at a time, by a polynomial, but one pass over all rows after the other, as array
// libraries do it: maxima, differences, exponentials, sums, quotients. Predicted: 5, as eight transfers of the memory
// now take longer than the 15 or so instructions of an exponential of 16 lanes.
void arrays(int64_t rows, int64_t cols, const float* x, float* y) {
  static std::vector<float> row;
  row.resize(static_cast<size_t>(rows));
  for (int64_t r = 0; r < rows; ++r) dl::store(&row[r], largest(x + r * cols, cols), 1);
  const auto each = [&](auto body) {
    for (int64_t r = 0; r < rows; ++r) {
      const Vec of_row = dl::broadcast(row[r]);
      dl::for_each_vec(cols, [&](int64_t i, auto lanes) DL_BODY { body(r * cols + i, of_row, lanes); });
    }
  };
  each([&](int64_t i, Vec most, auto lanes) DL_BODY { store(y + i, load(x + i, lanes) - most, lanes); });
  each([&](int64_t i, Vec, auto lanes) DL_BODY { store(y + i, dl::exp(load(y + i, lanes)), lanes); });
  for (int64_t r = 0; r < rows; ++r)
    row[r] = dl::sum_over(cols, [&](int64_t i, auto lanes) DL_BODY { return load(y + r * cols + i, lanes); });
  each([&](int64_t i, Vec sum, auto lanes) DL_BODY { store(y + i, load(y + i, lanes) / sum, lanes); });
}

// 4. Online (Milakov and Gimelshein 2018): the maximum and the sum in one pass, which rescales the sum as the maximum
// grows; the second pass computes the exponentials again. Each byte is read twice and written once. Predicted: 2, two
// and a half times less memory, but three exponentials for each element.
void online(int64_t rows, int64_t cols, const float* x, float* y) {
  for (int64_t r = 0; r < rows; ++r, x += cols, y += cols) {
    Vec most = dl::broadcast(-3e38f), sum = dl::zero();  // of each lane; not -inf, whose differences are NaN
    dl::for_each_vec(cols, [&](int64_t i, auto lanes) DL_BODY {
      const Vec v = keep(load(x + i, lanes), dl::broadcast(-3e38f), lanes), before = most;
      most = dl::fast_max(most, v);
      sum = dl::fma(sum, dl::exp(before - most), keep(dl::exp(v - most), dl::zero(), lanes));
    });
    const Vec top = dl::broadcast(dl::reduce_max(most));
    const Vec scale = dl::broadcast(1.0f / dl::reduce_add(sum * dl::exp(most - top)));
    dl::for_each_vec(
        cols, [&](int64_t i, auto lanes) DL_BODY { store(y + i, dl::exp(load(x + i, lanes) - top) * scale, lanes); });
  }
}

// 5. All passes over a row before the next one: it stays in L1, where passes cost little, so the exponentials, of which
// one is enough, are kept in y. Predicted: 1.5, as memory moves the same and there is a third of the arithmetic.
void in_cache(int64_t rows, int64_t cols, const float* x, float* y) {
  for (int64_t r = 0; r < rows; ++r, x += cols, y += cols) {
    const Vec most = largest(x, cols);
    Vec sum = dl::zero();
    dl::for_each_vec(cols, [&](int64_t i, auto lanes) DL_BODY {
      const Vec e = dl::exp(load(x + i, lanes) - most);
      store(y + i, e, lanes);
      sum += keep(e, dl::zero(), lanes);
    });
    const Vec scale = dl::broadcast(1.0f / dl::reduce_add(sum));
    dl::for_each_vec(cols, [&](int64_t i, auto lanes) DL_BODY { store(y + i, load(y + i, lanes) * scale, lanes); });
  }
}

// 6. Shipped: several maxima and sums, so that none waits for the one before, the next row fetched meanwhile, and an
// exponential that knows that its argument is not positive. Predicted: 1.3, the fetching above all.
void shipped(int64_t rows, int64_t cols, const float* x, float* y) { dl::forward<float, false>(x, y, rows, cols, 1); }

}  // namespace

int main(int argc, char** argv) {
  const Arguments given(argc, argv, {{"rows", 4096}, {"columns", 1024}});
  const int64_t rows = given[0], cols = given[1];
  constexpr float kRange = 8;  // differences are up to twice as large, and rounded before the exponential
  Floats x(rows * cols), y(rows * cols);
  x.fill_random(-kRange, kRange);
  const double units = 2 * kRange + static_cast<double>(cols) + 4;  // of half an eps: differences, the sum, the rest
  const auto rung = [&](auto run) { return [&, run] { run(rows, cols, x.data(), y.data()); }; };
  return climb({"softmax",
                0,
                4.0 * static_cast<double>(x.size() + y.size()),
                4 * (x.size() + y.size()),
                {{y, 0, units * std::numeric_limits<float>::epsilon() / 2}},
                {{"naive", 0, rung(naive)},
                 {"the library's exp, once", 3, rung(library_exp)},
                 {"exp of vectors, array by array", 5, rung(arrays)},
                 {"online: maximum and sum at once", 2, rung(online)},
                 {"row by row, in the cache", 1.5, rung(in_cache)},
                 {"shipped: streams, next row fetched", 1.3, rung(shipped)},
                 {"shipped, all cores", kAsTheLimits, rung(shipped), dl::available_cores()}}},
               given);
}
