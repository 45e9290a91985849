// The way to the shipped matrix product, one idea a rung: matmul SIZE
// Every rung is checked against the first one on small integers, where all orders of summation agree, and then timed.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "core/parallel.h"
#include "kernels/machine/simd.cpp"
#include "kernels/matmul/simd.cpp"  // the shipped kernel itself, not a copy

namespace {

using dl::Vec;
constexpr int64_t kLanes = Vec::size;

// 1. The definition.
void naive(int64_t n, const float* a, const float* b, float* c) {
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) {
      float sum = 0;
      for (int64_t k = 0; k < n; ++k) sum += a[i * n + k] * b[k * n + j];
      c[i * n + j] = sum;
    }
}

// 2. Neighbours in the inner loop: rows of B and C are read in order, and the compiler vectorises.
void rows(int64_t n, const float* a, const float* b, float* c) {
  std::memset(c, 0, sizeof(float) * n * n);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t k = 0; k < n; ++k)
      for (int64_t j = 0; j < n; ++j) c[i * n + j] += a[i * n + k] * b[k * n + j];
}

// 3. Blocks of B that stay in the cache while all rows of A pass by.
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
void registers(int64_t n, const float* a, const float* b, float* c) {
  std::memset(c, 0, sizeof(float) * n * n);
  for (int64_t j = 0; j < n; j += 2 * kLanes)
    for (int64_t i = 0; i < n; i += R)
      tile_rows(std::min<int64_t>(R, n - i), n, a + i * n, n, 1, b + j, n, c + i * n + j, n);
}

// 5. Panels packed in the order in which the tile reads them: cache lines and pages are used to their last byte.
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
void shipped(int64_t n, const float* a, const float* b, float* c) {
  static std::vector<float> workspace;
  workspace.resize(static_cast<size_t>(dl::matmul_workspace<float>(n, n, n, 1)) + 16);
  dl::MatmulArgs<float, float> p{};
  p.a = a, p.b = b, p.c = c;
  p.M = p.N = p.K = p.a_row = p.b_row = p.c_row = n;
  p.a_col = p.b_col = 1;
  p.workspace = workspace.data() + (64 - reinterpret_cast<uintptr_t>(workspace.data()) % 64) % 64 / sizeof(float);
  dl::matmul(p);
}

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

double peak_gflops(int threads) {
  dl::set_num_threads(threads);
  std::vector<float> sink(static_cast<size_t>(threads));
  double best = 0;
  for (int round = 0; round < 20; ++round) {
    const double start = now();
    const double flops = static_cast<double>(dl::fma_peak(threads, 200000, sink.data()));
    best = std::max(best, flops / (now() - start) / 1e9);
  }
  return best;
}

}  // namespace

int main(int argc, char** argv) {
  const int64_t n = argc > 1 ? std::atoll(argv[1]) : 1024;
  if (n <= 0 || n % (2 * kLanes)) {
    std::fprintf(stderr, "the size must be a multiple of %d\n", static_cast<int>(2 * kLanes));
    return 2;
  }
  struct Rung {
    const char* name;
    void (*run)(int64_t, const float*, const float*, float*);
    int threads;
  };
  const int all = dl::available_cores();
  const Rung rungs[] = {{"1 naive", naive, 1},
                        {"2 rows", rows, 1},
                        {"3 blocked", blocked, 1},
                        {"4 registers", registers, 1},
                        {"5 packed", packed, 1},
                        {"6 shipped", shipped, 1},
                        {"7 shipped, all cores", shipped, all}};
  const size_t size = static_cast<size_t>(n * n);
  std::vector<float> a(size), b(size), c(size), expected(size);
  for (size_t i = 0; i < size; ++i) a[i] = static_cast<float>(i * 7 % 5) - 2, b[i] = static_cast<float>(i * 11 % 7) - 3;
  naive(n, a.data(), b.data(), expected.data());
  for (const Rung& rung : rungs) {
    const double peak = peak_gflops(rung.threads);
    dl::set_num_threads(rung.threads);
    std::fill(c.begin(), c.end(), -1.0f);
    rung.run(n, a.data(), b.data(), c.data());
    if (c != expected) {
      std::fprintf(stderr, "%s: wrong result\n", rung.name);
      return 1;
    }
    double best = 1e30;
    for (const double end = now() + 1.0; best == 1e30 || now() < end;) {
      const double start = now();
      rung.run(n, a.data(), b.data(), c.data());
      best = std::min(best, now() - start);
    }
    const double gflops = 2.0 * n * n * n / best / 1e9;
    std::printf("%-22s %9.2f ms %8.1f GFLOP/s %5.0f%% of %.0f\n", rung.name, best * 1e3, gflops, 100 * gflops / peak,
                peak);
    std::fflush(stdout);
  }
  return 0;
}
