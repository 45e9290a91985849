// The way to the shipped layer norm: norm ROUNDS [ROWS COLUMNS]
#include "benchmarks/ladder/ladder.h"
#include "kernels/norm/simd.cpp"  // the shipped kernel itself, not a copy

namespace {

constexpr double kEps = 1e-5;

struct Operands {
  int64_t rows, cols;
  const float *x, *w, *b;
  float* y;
};

// 1. The definition: a pass for the mean, one for the variance, one for the result, in double.
void naive(const Operands& p) {
  for (int64_t r = 0; r < p.rows; ++r) {
    const float* x = p.x + r * p.cols;
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < p.cols; ++i) sum += x[i];
    const double mean = sum / static_cast<double>(p.cols);
    for (int64_t i = 0; i < p.cols; ++i) squares += (x[i] - mean) * (x[i] - mean);
    const double rstd = 1 / std::sqrt(squares / static_cast<double>(p.cols) + kEps);
    for (int64_t i = 0; i < p.cols; ++i)
      p.y[r * p.cols + i] = static_cast<float>((x[i] - mean) * rstd * p.w[i] + p.b[i]);
  }
}

void normalise(const Operands& p, int64_t r, float mean, float var) {
  const Vec m = dl::broadcast(mean),
            scale = dl::broadcast(1 / std::sqrt(std::max(var, 0.0f) + static_cast<float>(kEps)));
  dl::for_each_vec(p.cols, [&](int64_t i, auto lanes) DL_BODY {
    const Vec xhat = (load(p.x + r * p.cols + i, lanes) - m) * scale;
    store(p.y + r * p.cols + i, dl::fma(xhat, load(p.w + i, lanes), load(p.b + i, lanes)), lanes);
  });
}

// The sum of the terms, one vector of them after the other.
template <class Term> float chain(int64_t n, const Term& term) {
  Vec sum = dl::zero();
  dl::for_each_vec(n, [&](int64_t i, auto lanes) DL_BODY { sum += keep(term(i, lanes), dl::zero(), lanes); });
  return dl::reduce_add(sum);
}

// 2. Vectors of float: as many additions at once as there are lanes. Predicted: half as many as lanes, since the row's
// way through memory, which did not count before, now takes as long as the sums.
void vectors(const Operands& p) {
  for (int64_t r = 0; r < p.rows; ++r) {
    const float *const x = p.x + r * p.cols, n = static_cast<float>(p.cols);
    const float mean = chain(p.cols, [&](int64_t i, auto lanes) DL_BODY { return load(x + i, lanes); }) / n;
    const Vec m = dl::broadcast(mean);
    const float squares = chain(p.cols, [&](int64_t i, auto lanes) DL_BODY {
      const Vec d = load(x + i, lanes) - m;
      return d * d;
    });
    normalise(p, r, mean, squares / n);
  }
}

// 3. One read for both sums: of the deviations from the row's first element and of their squares. Predicted: 1.3, as
// one of two passes of dependent additions is gone. (Where the first element is far from all others digits are lost.)
void one_read(const Operands& p) {
  for (int64_t r = 0; r < p.rows; ++r) {
    const float *const x = p.x + r * p.cols, n = static_cast<float>(p.cols);
    const Vec shift = dl::broadcast(x[0]);
    Vec sum = dl::zero(), squares = dl::zero();
    dl::for_each_vec(p.cols, [&](int64_t i, auto lanes) DL_BODY {
      const Vec d = keep(load(x + i, lanes) - shift, dl::zero(), lanes);
      sum += d;
      squares = dl::fma(d, d, squares);
    });
    const float mean = dl::reduce_add(sum) / n;
    normalise(p, r, x[0] + mean, dl::reduce_add(squares) / n - mean * mean);
  }
}

// 4. Four chains of additions, none of which waits for another, added in pairs: an addition takes four cycles, and two
// can begin in each. Predicted: 1.3, as nothing but memory is left to wait for.
void four_chains(const Operands& p) {
  for (int64_t r = 0; r < p.rows; ++r) {
    const float *const x = p.x + r * p.cols, n = static_cast<float>(p.cols);
    const Vec shift = dl::broadcast(x[0]);
    const dl::Sums<2> s = dl::sums_over<2>(p.cols, [&](int64_t i, auto lanes, auto add) DL_BODY {
      const Vec d = load(x + i, lanes) - shift;
      add(0, d);
      add(1, d * d);
    });
    const float mean = s.of[0] / n;
    normalise(p, r, x[0] + mean, s.of[1] / n - mean * mean);
  }
}

// 5. Shipped: two passes again, with four chains, about the mean, which no element can lead astray. The row is in L1
// when it is read again. Predicted: 0.95, the price of the digits.
void shipped(const Operands& p) {
  static Floats mean(p.rows), rstd(p.rows);
  dl::forward<float>(p.x, nullptr, p.w, p.b, nullptr, p.y, mean.data(), rstd.data(), p.rows, p.cols, kEps);
}

}  // namespace

int main(int argc, char** argv) {
  const Arguments given(argc, argv, {{"rows", 8192}, {"columns", 768}});
  const int64_t rows = given[0], cols = given[1];
  Floats x(rows * cols), w(cols), b(cols), y(rows * cols);
  x.fill_random(-1, 3), w.fill_random(-1, 1), b.fill_random(-1, 1);
  const Operands p = {rows, cols, x.data(), w.data(), b.data(), y.data()};
  // In half an eps: the sums round `cols` times, at up to 4 and 16; rung 4's variance also twice the mean, up to 4,
  // times what the mean is off. rstd of so even a spread is about 0.87. A result is at most 4 rstd, moves by rstd with
  // the mean and by half of its size with the variance, relative to that.
  const double rstd = 1.3, of_mean = 4, of_variance = 16 + 2 * 4 * of_mean;
  const double units = static_cast<double>(cols) * (of_mean * rstd + 4 * rstd * of_variance * rstd * rstd / 2) + 16;
  const auto rung = [&](auto run) { return [&, run] { run(p); }; };
  return climb({"layer norm",
                0,
                2 * 4 * static_cast<double>(rows * cols),
                2 * 4 * rows * cols,
                {{y, units * std::numeric_limits<float>::epsilon() / 2}},
                {{"naive", 0, rung(naive)},
                 {"vectors", kLanes / 2.0, rung(vectors)},
                 {"one read for both sums", 1.3, rung(one_read)},
                 {"four chains of additions", 1.3, rung(four_chains)},
                 {"shipped: about the mean", 0.95, rung(shipped)},
                 {"shipped, all cores", kAsTheLimits, rung(shipped), dl::available_cores()}}},
               given);
}
