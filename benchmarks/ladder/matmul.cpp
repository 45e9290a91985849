// The way to the shipped matrix product, square: matmul ROUNDS [SIZE]
// Small integers make all orders of summation agree, so the results must be the same.
#include "benchmarks/ladder/ladder.h"
#include "kernels/matmul/simd.cpp"  // the shipped kernel itself, not a copy

namespace {

// 1. The definition.
void naive(int64_t n, const float* a, const float* b, float* c) {
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) {
      float sum = 0;
      for (int64_t k = 0; k < n; ++k) sum += a[i * n + k] * b[k * n + j];
      c[i * n + j] = sum;
    }
}

// 2. Neighbours in the inner loop: rows of B and C are read in order, and the compiler vectorises. Predicted: 4 x
// lanes, for the four cycles that each addition waited for the one before.
void rows(int64_t n, const float* a, const float* b, float* c) {
  std::memset(c, 0, sizeof(float) * n * n);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t k = 0; k < n; ++k)
      for (int64_t j = 0; j < n; ++j) c[i * n + j] += a[i * n + k] * b[k * n + j];
}

// 3. Blocks of B that stay in the second-level cache while all rows of A pass by. Predicted: 1.5, what that cache is
// faster than the next one.
void blocked(int64_t n, const float* a, const float* b, float* c) {
  constexpr int64_t kDepth = 64, kCols = 512;  // 128 KiB
  std::memset(c, 0, sizeof(float) * n * n);
  for (int64_t k0 = 0; k0 < n; k0 += kDepth)
    for (int64_t j0 = 0; j0 < n; j0 += kCols)
      for (int64_t i = 0; i < n; ++i)
        for (int64_t k = k0; k < std::min(n, k0 + kDepth); ++k)
          for (int64_t j = j0; j < std::min(n, j0 + kCols); ++j) c[i * n + j] += a[i * n + k] * b[k * n + j];
}

// A tile of C in registers: R rows of two vectors.
constexpr int R = dl::kTileRows;
template <int rows> void tile(int64_t depth, const float* a, int64_t a_row, int64_t a_col, const float* b,
                              int64_t b_row, float* c, int64_t c_row) {
  Vec acc[rows][2];
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r) acc[r][0] = acc[r][1] = dl::zero();
  for (int64_t k = 0; k < depth; ++k) {
    const Vec b0 = dl::load(b + k * b_row), b1 = dl::load(b + k * b_row + kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
      const Vec x = dl::broadcast(a[r * a_row + k * a_col]);
      acc[r][0] = dl::fma(x, b0, acc[r][0]);
      acc[r][1] = dl::fma(x, b1, acc[r][1]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
    for (int v = 0; v < 2; ++v) {
      float* at = c + r * c_row + v * kLanes;
      dl::store(at, dl::load(at) + acc[r][v]);
    }
}

void tile_rows(int64_t count, int64_t depth, const float* a, int64_t a_row, int64_t a_col, const float* b,
               int64_t b_row, float* c, int64_t c_row) {
  if (count == R) return tile<R>(depth, a, a_row, a_col, b, b_row, c, c_row);
  for (int64_t r = 0; r < count; ++r) tile<1>(depth, a + r * a_row, a_row, a_col, b, b_row, c + r * c_row, c_row);
}

// 4. A tile in registers: an element of B serves R rows, one of A two vectors. SIZE must be a multiple of two vectors.
// Predicted: 3, as two loads and a store for each multiply-add become half a load.
void registers(int64_t n, const float* a, const float* b, float* c) {
  std::memset(c, 0, sizeof(float) * n * n);
  for (int64_t j = 0; j < n; j += 2 * kLanes)
    for (int64_t i = 0; i < n; i += R)
      tile_rows(std::min<int64_t>(R, n - i), n, a + i * n, n, 1, b + j, n, c + i * n + j, n);
}

// 5. Panels packed in the order in which the tile reads them: cache lines and pages are used to their last byte.
// Predicted: 1.5, since a tile of rung 4 touches a new page at every step.
void packed(int64_t n, const float* a, const float* b, float* c) {
  constexpr int64_t kDepth = 256, kRows = 12 * R, kCols = 2 * kLanes;
  static std::vector<float> a_panels(kRows * kDepth), b_panels;
  b_panels.resize(static_cast<size_t>(n) * kDepth);
  std::memset(c, 0, sizeof(float) * n * n);
  for (int64_t k0 = 0; k0 < n; k0 += kDepth) {
    const int64_t depth = std::min(kDepth, n - k0);
    for (int64_t j = 0; j < n; j += kCols)
      for (int64_t k = 0; k < depth; ++k)
        std::memcpy(&b_panels[j * depth + k * kCols], b + (k0 + k) * n + j, sizeof(float) * kCols);
    for (int64_t i0 = 0; i0 < n; i0 += kRows) {
      const int64_t block = std::min(kRows, n - i0);
      for (int64_t i = 0; i < block; ++i)
        for (int64_t k = 0; k < depth; ++k) a_panels[i / R * R * depth + k * R + i % R] = a[(i0 + i) * n + k0 + k];
      for (int64_t j = 0; j < n; j += kCols)
        for (int64_t i = 0; i < block; i += R)
          tile_rows(std::min<int64_t>(R, block - i), depth, &a_panels[i * depth], 1, R, &b_panels[j * depth], kCols,
                    c + (i0 + i) * n + j, n);
    }
  }
}

// 6. The shipped kernel: the next panel is fetched while one is at work, transposes in registers, any size and strides.
// Predicted: 1.2, as packing and the first touch of each panel are all that is left.
void shipped(int64_t n, const float* a, const float* b, float* c) {
  static Floats workspace(dl::matmul_workspace<float>(n, n, n, 1));
  dl::MatmulArgs<float, float> p{};
  p.a = a, p.b = b, p.c = c;
  p.M = p.N = p.K = p.a_row = p.b_row = p.c_row = n;
  p.a_col = p.b_col = 1;
  p.workspace = workspace.data();
  dl::matmul(p);
}

}  // namespace

int main(int argc, char** argv) {
  const Arguments given(argc, argv, {{"size", 1024}});
  const int64_t n = given[0];
  if (n % (2 * kLanes)) {
    std::fprintf(stderr, "the size must be a multiple of %d\n", static_cast<int>(2 * kLanes));
    return 2;
  }
  Floats a(n * n), b(n * n), c(n * n);
  a.fill([](int64_t i) { return static_cast<float>(i * 7 % 5) - 2; });
  b.fill([](int64_t i) { return static_cast<float>(i * 11 % 7) - 3; });
  const auto rung = [&](auto run) { return [&, run] { run(n, a.data(), b.data(), c.data()); }; };
  const double size = static_cast<double>(n);
  return climb({"matrix product",
                2 * size * size * size,
                3 * 4 * size * size,
                3 * 4 * n * n,
                {{c}},
                {{"naive", 0, rung(naive)},
                 {"rows", 4.0 * kLanes, rung(rows)},
                 {"blocks of B in the cache", 1.5, rung(blocked)},
                 {"tiles in registers", 3, rung(registers)},
                 {"packed panels", 1.5, rung(packed)},
                 {"shipped: the next panel fetched", 1.2, rung(shipped)},
                 {"shipped, all cores", kAsTheLimits, rung(shipped), dl::available_cores()}}},
               given);
}
