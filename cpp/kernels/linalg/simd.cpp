#include "core/parallel.h"
#include "dispatch/kernel.h"
#include "kernels/linalg/linalg.h"
#include "simd/rows.h"

namespace dl {
namespace {

constexpr int64_t kPanel = 64;              // columns factored at a time: their part of a row is 256 bytes
constexpr int64_t kWorkPerBlock = 1 << 18;  // multiply-adds

int64_t grain_of(int64_t work_per_item) {
  return work_per_item < kWorkPerBlock ? kWorkPerBlock / (work_per_item > 0 ? work_per_item : 1) : 1;
}

// sum x[j] y[j]
DL_INLINE float dot(const float* x, const float* y, int64_t n) {
  return sum_over(n, [&](int64_t j, auto lanes) DL_BODY { return load(x + j, lanes) * load(y + j, lanes); });
}

// y[k] -= row . rows[k] for `count` rows of stride n: four at a time, so that `row` is read a quarter as often.
DL_INLINE void subtract_dots(float* y, const float* row, const float* rows, int64_t count, int64_t n, int64_t length) {
  int64_t k = 0;
  for (; k + 4 <= count; k += 4) {
    const float* r = rows + k * n;
    const auto sums = sums_over<4>(length, [&](int64_t j, auto lanes, auto add) DL_BODY {
      const Vec x = load(row + j, lanes);
      for (int q = 0; q < 4; ++q) add(q, x * load(r + q * n + j, lanes));
    });
    for (int q = 0; q < 4; ++q) y[k + q] -= sums.of[q];
  }
  for (; k < count; ++k) y[k] -= dot(row, rows + k * n, length);
}

// Panel by panel, from the left: a panel first loses what the finished columns to its left contribute, then its square
// on the diagonal is factored, then the rows below are solved against that.
int64_t factor(const float* a, float* l, int64_t n) {
  for (int64_t i = 0; i < n; ++i)
    for (int64_t k = 0; k < n; ++k) l[i * n + k] = k <= i ? a[i * n + k] : 0.0f;
  for (int64_t first = 0; first < n; first += kPanel) {
    const int64_t last = first + kPanel < n ? first + kPanel : n;
    parallel_for(n - first, grain_of(first * kPanel), [&](int64_t begin, int64_t end) {
      for (int64_t i = first + begin; i < first + end; ++i)
        subtract_dots(l + i * n + first, l + i * n, l + first * n, i < last ? i - first + 1 : last - first, n, first);
    });
    const auto finish = [&](int64_t i, int64_t columns) DL_BODY {
      float* row = l + i * n + first;
      for (int64_t k = 0; k < columns; ++k) {
        const float* other = l + (first + k) * n + first;
        row[k] = (row[k] - dot(row, other, k)) / other[k];
      }
    };
    for (int64_t i = first; i < last; ++i) {
      finish(i, i - first);
      float* row = l + i * n + first;
      const float pivot = row[i - first] - dot(row, row, i - first);
      if (!(pivot > 0)) return i + 1;
      row[i - first] = __builtin_sqrtf(pivot);
    }
    parallel_for(n - last, grain_of(kPanel * kPanel), [&](int64_t begin, int64_t end) {
      for (int64_t i = last + begin; i < last + end; ++i) finish(i, last - first);
    });
  }
  return 0;
}

void cholesky(const float* a, float* l, int64_t batch, int64_t n, int64_t* minors) {
  parallel_for(batch, grain_of(n * n * n / 6), [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) minors[b] = factor(a + b * n * n, l + b * n * n, n);
  });
}

constexpr int64_t kColumns = 4 * Vec::size;  // of x at a time: four sums hide the latency of a multiply-add

// The columns [c, c + width) of x, width <= kColumns: each row is a combination of those before it.
template <bool kFull>
DL_INLINE void substitute(const float* a, const float* b, float* x, int64_t n, int64_t m, int64_t width, bool upper) {
  constexpr int V = Vec::size;
  const auto part = [&](int q) DL_BODY {
    const int64_t left = width - q * V;
    return left < 0 ? int64_t{0} : left < V ? left : int64_t{V};
  };
  const auto get = [&](const float* p, int q) DL_BODY { return kFull ? load(p + q * V) : load(p + q * V, part(q)); };
  for (int64_t step = 0; step < n; ++step) {
    const int64_t i = upper ? n - 1 - step : step, end = upper ? n : i;
    Vec sum[4];
    for (int q = 0; q < 4; ++q) sum[q] = get(b + i * m, q);
    for (int64_t j = upper ? i + 1 : 0; j < end; ++j) {
      const Vec weight = broadcast(a[i * n + j]);
      for (int q = 0; q < 4; ++q) sum[q] = fnma(weight, get(x + j * m, q), sum[q]);
    }
    const Vec pivot = broadcast(a[i * n + i]);
    for (int q = 0; q < 4; ++q) {
      if (kFull) store(x + i * m + q * V, sum[q] / pivot);
      else store(x + i * m + q * V, sum[q] / pivot, part(q));
    }
  }
}

void solve_vector(const float* a, const float* b, float* x, int64_t n, bool upper) {
  for (int64_t step = 0; step < n; ++step) {
    const int64_t i = upper ? n - 1 - step : step, from = upper ? i + 1 : 0;
    x[i] = (b[i] - dot(a + i * n + from, x + from, upper ? step : i)) / a[i * n + i];
  }
}

void solve_triangular(const float* a, const float* b, float* x, int64_t batch, int64_t n, int64_t m, bool upper) {
  const int64_t strips = (m + kColumns - 1) / kColumns;
  parallel_for(batch * strips, grain_of(n * n / 2 * (m < kColumns ? m : kColumns)), [&](int64_t begin, int64_t end) {
    for (int64_t s = begin; s < end; ++s) {
      const int64_t item = s / strips, c = s % strips * kColumns, at = item * n * m + c;
      const float* matrix = a + item * n * n;
      if (m == 1) solve_vector(matrix, b + at, x + at, n, upper);
      else if (m - c >= kColumns) substitute<true>(matrix, b + at, x + at, n, m, kColumns, upper);
      else substitute<false>(matrix, b + at, x + at, n, m, m - c, upper);
    }
  });
}

DL_REGISTER("cholesky/float32", cholesky, cholesky_fn<float>)
DL_REGISTER("solve_triangular/float32", solve_triangular, solve_triangular_fn<float>)

}  // namespace
}  // namespace dl
