// The product of each step: a few rows of the state with weights that were packed once for all steps.
#pragma once
#include "core/parallel.h"
#include "core/steps.h"
#include "kernels/matmul/micro.h"
#include "kernels/matmul/pack.h"
#include "kernels/rnn/rnn.h"

namespace dl {
namespace {

constexpr int64_t kGroup = kTileVectors * Vec::size;  // units that are worked on together: the columns of a panel
constexpr int64_t kDepth = 256;         // a panel of so many terms, 32 KiB, and the rows it meets stay in L1
constexpr int64_t kStepWork = 1 << 17;  // multiply-adds that are worth a thread: a microsecond or two

DL_INLINE int64_t groups_of(int64_t H) { return ceil_div(H, kGroup); }

// Panels of w (G H, H) as h w^T needs them: for each group the G gates, each a panel of H terms x kGroup units.
void pack_forward(const float* w, int64_t G, int64_t H, float* panels) {
  parallel_for(groups_of(H) * G, 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      const int64_t u = p / G * kGroup, row = p % G * H + u;
      pack(w + row * H, H, 1, min_of(kGroup, H - u), H, panels + p * H * kGroup, kGroup);
    }
  });
}

// And as d w does: for each group a panel of G H terms x kGroup units.
void pack_backward(const float* w, int64_t G, int64_t H, float* panels) {
  parallel_for(groups_of(H), 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p)
      pack(w + p * kGroup, 1, H, min_of(kGroup, H - p * kGroup), G * H, panels + p * G * H * kGroup, kGroup);
  });
}

// What the cells of a group touch after the products, rows of memory far apart that no hardware prefetcher follows:
// fetched into the second-level cache while the products run, an even share at each of `calls` tiles.
struct Ahead {
  struct Stream {
    const float* at;
    int64_t row;
  };
  Stream stream[12];
  int streams = 0;
  int64_t rows, calls, call = 0;

  void add(const float* at, int64_t row) { stream[streams++] = {at, row}; }
  void fetch() {
    const int64_t begin = rows * call / calls, end = rows * (call + 1) / calls;
    for (int k = 0; k < streams; ++k)
      for (int64_t r = begin; r < end; ++r)
        for (int64_t j = 0; j < kGroup; j += kLine) __builtin_prefetch(stream[k].at + r * stream[k].row + j, 0, 2);
    ++call;
  }

 private:
  static constexpr int64_t kLine = 64 / sizeof(float);
};

// How many tiles multiply() works on.
DL_INLINE int64_t tiles_of_rows(int64_t rows) { return ceil_div(rows, kTileRows); }
DL_INLINE int64_t tiles_of(int64_t rows, int64_t K) { return tiles_of_rows(rows) * ceil_div(K, kDepth); }

// The state that every product of a step reads: in panels in this thread's scratch memory, where it fits.
struct StateRows {
  const float* data;
  int64_t row, rows, K, height;
  bool packed;

  StateRows(const float* x, int64_t x_row, int64_t count, int64_t terms) : data(x), row(x_row), rows(count), K(terms) {
    const int64_t tiles = tiles_of_rows(rows);
    height = tiles > 0 ? ceil_div(rows, tiles) : 0;
    packed = tiles * K <= static_cast<int64_t>(kMaxScratch / sizeof(float)) / kPanelRows<float>;
    if (!packed) return;
    float* const panels = static_cast<float*>(thread_scratch());
    pack_panels(x, row, 1, rows, K, panels, height, kPanelRows<float>);
    data = panels;
  }
};

// c (rows, n) (+)= the state times a panel of n <= kGroup columns.
void multiply(const StateRows& a, const float* panel, float* c, int64_t c_row, int64_t n, bool accumulate,
              Ahead& ahead) {
  if (a.rows == 0) return;
  const int64_t tiles = tiles_of_rows(a.rows), share = ceil_div(kGroup, tiles);
  for (int64_t k = 0; k < a.K; k += kDepth) {
    const int64_t depth = min_of(kDepth, a.K - k);
    for (int64_t q = 0; q < tiles; ++q) {
      ahead.fetch();
      const int64_t i = q * a.height, count = min_of(a.height, a.rows - i);
      const float* const from = a.packed ? a.data + (q * a.K + k) * kPanelRows<float> : a.data + i * a.row + k;
      const float* const next = panel + (k + depth) * kGroup + q * share * depth;
      Panel<float>::multiply(count, n, depth, from, a.packed ? 1 : a.row, a.packed ? kPanelRows<float> : 1,
                             panel + k * kGroup, kGroup, c + i * c_row, c_row, accumulate || k > 0, next,
                             share * static_cast<int64_t>(sizeof(float)));
    }
  }
}

}  // namespace
}  // namespace dl
