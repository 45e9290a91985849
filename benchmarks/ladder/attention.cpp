// The way to the shipped causal attention: attention ROUNDS [HEADS POSITIONS FEATURES]
#include "benchmarks/ladder/ladder.h"
#include "kernels/attention/simd.cpp"  // the shipped kernel itself, not a copy
#include "simd/rows.h"

namespace {

using dl::TileStart;
constexpr int64_t kQueries = dl::kTile;

struct Shape { int64_t heads, T, D; };

// 1. The definition: query i sees the keys j <= i. The sums are in double.
void naive(const Shape& s, const float* q, const float* k, const float* v, float* y) {
  std::vector<double> p(static_cast<size_t>(s.T)), out(static_cast<size_t>(s.D));
  for (int64_t h = 0; h < s.heads; ++h, q += s.T * s.D, k += s.T * s.D, v += s.T * s.D, y += s.T * s.D)
    for (int64_t i = 0; i < s.T; ++i) {
      double most = -HUGE_VAL, sum = 0;
      for (int64_t j = 0; j <= i; ++j) {
        p[j] = 0;
        for (int64_t d = 0; d < s.D; ++d) p[j] += static_cast<double>(q[i * s.D + d]) * k[j * s.D + d];
        p[j] /= std::sqrt(static_cast<double>(s.D));
        most = std::max(most, p[j]);
      }
      std::fill(out.begin(), out.end(), 0.0);
      for (int64_t j = 0; j <= i; ++j) {
        sum += p[j] = std::exp(p[j] - most);
        for (int64_t d = 0; d < s.D; ++d) out[d] += p[j] * v[j * s.D + d];
      }
      for (int64_t d = 0; d < s.D; ++d) y[i * s.D + d] = static_cast<float>(out[d] / sum);
    }
}

// k of one head, transposed: (D, T).
const float* transposed(const Shape& s, const float* k) {
  static std::vector<float> to;
  to.resize(static_cast<size_t>(s.T * s.D));
  for (int64_t j = 0; j < s.T; ++j)
    for (int64_t d = 0; d < s.D; ++d) to[d * s.T + j] = k[j * s.D + d];
  return to.data();
}

// Scores of `rows` queries from i0 on against n keys become exponentials; keys after a query count 0. Returns the sums.
void softmax_rows(float* p, int64_t rows, int64_t stride, int64_t i0, int64_t n, float scale, float* sums) {
  for (int64_t r = 0; r < rows; ++r, p += stride) {
    const int64_t seen = std::min(n, i0 + r + 1);
    const Vec most =
        dl::broadcast(dl::max_over(seen, [&](int64_t j, auto lanes) DL_BODY { return load(p + j, lanes); }));
    sums[r] = dl::sum_over(seen, [&](int64_t j, auto lanes) DL_BODY {
      const Vec e = dl::exp((load(p + j, lanes) - most) * dl::broadcast(scale));
      store(p + j, e, lanes);
      return e;
    });
    std::memset(p + seen, 0, sizeof(float) * (n - seen));
  }
}

void divide_rows(float* y, int64_t rows, int64_t D, const float* sums) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t d = 0; d < D; ++d) y[r * D + d] /= sums[r];
}

// `rows` queries at a time, each block against the keys up to `keys(i0)`: two products with a softmax between them.
template <class Keys> void by_blocks(const Shape& s, const float* q, const float* k, const float* v, float* y,
                                     int64_t block, const Keys& keys) {
  static std::vector<float> scores, sums;
  scores.resize(static_cast<size_t>(block * s.T)), sums.resize(static_cast<size_t>(block));
  const float scale = 1 / std::sqrt(static_cast<float>(s.D));
  for (int64_t h = 0; h < s.heads; ++h, q += s.T * s.D, k += s.T * s.D, v += s.T * s.D, y += s.T * s.D) {
    const float* kt = transposed(s, k);
    for (int64_t i0 = 0; i0 < s.T; i0 += block) {
      const int64_t rows = std::min(block, s.T - i0), n = keys(i0 + rows);
      float* p = scores.data();
      dl::tile_gemm({q + i0 * s.D, s.D, 1}, {kt, s.T}, {p, s.T, TileStart::zero, nullptr}, rows, n, s.D);
      softmax_rows(p, rows, s.T, i0, n, scale, sums.data());
      dl::tile_gemm({p, s.T, 1}, {v, s.D}, {y + i0 * s.D, s.D, TileStart::zero, nullptr}, rows, s.D, n);
      divide_rows(y + i0 * s.D, rows, s.D, sums.data());
    }
  }
}

// 2. Whole matrices: the scores of all queries and keys, their softmax, and the product with v, with register tiles and
// vectors of exponentials. Predicted: 2 x lanes, the additions of the definition waiting four cycles for each other,
// although twice the scores are computed.
void matrices(const Shape& s, const float* q, const float* k, const float* v, float* y) {
  by_blocks(s, q, k, v, y, s.T, [&](int64_t) { return s.T; });
}

// 3. Some queries at a time, so that their scores stay in the second-level cache from the first product to the last.
// Predicted: 1.2. The scores pass four times; against 64 features, 256 operations for each, that is a small part.
void query_blocks(const Shape& s, const float* q, const float* k, const float* v, float* y) {
  by_blocks(s, q, k, v, y, kQueries, [&](int64_t) { return s.T; });
}

// 4. Keys after the last query of a block are left out. Predicted: 1.9, half the work and the rest of the diagonal.
void causal_blocks(const Shape& s, const float* q, const float* k, const float* v, float* y) {
  by_blocks(s, q, k, v, y, kQueries, [](int64_t end) { return end; });
}

// 5. Some keys at a time as well, with a running maximum by which what was summed is put right as it grows (Rabe and
// Staats 2021; Dao et al. 2022): 64 x 64 scores, 16 KiB, stay in L1. Predicted: 1.05 at 1024 keys, as L2 served well
// enough; it is what keeps the next rung's memory small at any length.
void running_maximum(const Shape& s, const float* q, const float* k, const float* v, float* y) {
  alignas(64) float p[kQueries * dl::kTile], most[kQueries], sum[kQueries];
  const float scale = 1 / std::sqrt(static_cast<float>(s.D));
  for (int64_t h = 0; h < s.heads; ++h, q += s.T * s.D, k += s.T * s.D, v += s.T * s.D, y += s.T * s.D) {
    const float* kt = transposed(s, k);
    for (int64_t i0 = 0; i0 < s.T; i0 += kQueries) {
      const int64_t rows = std::min(kQueries, s.T - i0), keys = i0 + rows;
      for (int64_t r = 0; r < rows; ++r) most[r] = -HUGE_VALF, sum[r] = 0;
      for (int64_t j0 = 0; j0 < keys; j0 += dl::kTile) {
        const int64_t n = std::min(dl::kTile, keys - j0);
        dl::tile_gemm({q + i0 * s.D, s.D, 1}, {kt + j0, s.T}, {p, dl::kTile, TileStart::zero, nullptr}, rows, n, s.D);
        for (int64_t r = 0; r < rows; ++r) {
          float* const row = p + r * dl::kTile;
          const int64_t seen = std::min(n, i0 + r + 1 - j0);  // at least one, as tiles of queries and keys are one size
          const float top = std::max(
              most[r], dl::max_over(seen, [&](int64_t j, auto lanes) DL_BODY { return load(row + j, lanes); }));
          const float shrink = std::exp((most[r] - top) * scale);
          const Vec shift = dl::broadcast(top);
          sum[r] = sum[r] * shrink + dl::sum_over(seen, [&](int64_t j, auto lanes) DL_BODY {
                     const Vec e = dl::exp((load(row + j, lanes) - shift) * dl::broadcast(scale));
                     store(row + j, e, lanes);
                     return e;
                   });
          std::memset(row + seen, 0, sizeof(float) * (n - seen));
          most[r] = top;
          for (int64_t d = 0; j0 > 0 && d < s.D; ++d) y[(i0 + r) * s.D + d] *= shrink;
        }
        const TileStart start = j0 ? TileStart::add : TileStart::zero;
        dl::tile_gemm({p, dl::kTile, 1}, {v + j0 * s.D, s.D}, {y + i0 * s.D, s.D, start, nullptr}, rows, s.D, n);
      }
      divide_rows(y + i0 * s.D, rows, s.D, sum);
    }
  }
}

// 6. Shipped: queries lie side by side in the lanes. Maximum, sum and rescaling are then lane by lane, without a
// reduction across a vector for every query and tile, the products read k and v where they lie, and only q is turned.
// Predicted: 1.3; the reductions and the loops of 64 elements around them are most of what is not a product.
void shipped(const Shape& s, const float* q, const float* k, const float* v, float* y) {
  static Floats lse(s.heads * s.T);
  const dl::HeadStrides strides = {0, s.T * s.D, s.D};
  dl::AttentionArgs<float> a{};
  a.B = 1, a.H = a.G = s.heads, a.Tq = a.Tk = s.T, a.D = a.E = s.D;
  a.q = q, a.k = k, a.v = v;
  a.q_strides = a.k_strides = a.v_strides = strides;
  a.scale = 1 / std::sqrt(static_cast<double>(s.D));
  a.causal = true;
  dl::attention_forward(&a, y, strides, lse.data());
}

}  // namespace

int main(int argc, char** argv) {
  const Arguments given(argc, argv, {{"heads", 8}, {"positions", 1024}, {"features", 64}});
  const Shape s = {given[0], given[1], given[2]};
  const int64_t n = s.heads * s.T * s.D;
  Floats q(n), k(n), v(n), y(n);
  q.fill_random(-1, 1), k.fill_random(-1, 1), v.fill_random(-1, 1);
  // In half an eps, with all numbers at most 1: a score rounds D times at up to D, the maximum as well, both are scaled
  // by 1 / sqrt(D), and moving every weight by a factor of 1 + e moves their mean by at most 2 e. The sums over the
  // keys round T times, for the numerator and the denominator.
  const double D = static_cast<double>(s.D), T = static_cast<double>(s.T);
  const double units = 4 * D * std::sqrt(D) + 2 * T + 16;
  const double seen = T * (T + 1) / 2 * static_cast<double>(s.heads);  // pairs of a query and a key
  const auto rung = [&](auto run) { return [&, run] { run(s, q.data(), k.data(), v.data(), y.data()); }; };
  return climb({"causal attention",
                4 * D * seen,
                4 * 4 * static_cast<double>(n),
                4 * 4 * n,
                {{y, units * std::numeric_limits<float>::epsilon() / 2}},
                {{"naive", 0, rung(naive)},
                 {"whole matrices", 2.0 * kLanes, rung(matrices)},
                 {"blocks of queries", 1.2, rung(query_blocks)},
                 {"keys of the future left out", 1.9, rung(causal_blocks)},
                 {"a running maximum", 1.05, rung(running_maximum)},
                 {"shipped: queries in lanes", 1.3, rung(shipped)},
                 {"shipped, all cores", kAsTheLimits, rung(shipped), dl::available_cores()}}},
               given);
}
