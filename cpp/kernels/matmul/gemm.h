// The blocked product: chooses a plan from the shape, cuts C into blocks, and runs each block through the tile kernel
// with its operands packed or read in place.
#pragma once
#include "core/parallel.h"
#include "kernels/matmul/batch.h"
#include "kernels/matmul/dot.h"
#include "kernels/matmul/epilogue.h"
#include "kernels/matmul/matmul.h"
#include "kernels/matmul/micro.h"
#include "kernels/matmul/pack.h"

namespace dl {
namespace {

constexpr int64_t kBlockRows = 168;  // a packed block of A, 168 x 384 floats, takes 258 KiB of the second-level cache
constexpr int64_t kBlockDepth = 384;
constexpr int64_t kGroupCols = 128;  // columns of B that are packed together: whole runs of a row-major B's rows
constexpr int64_t kRowsAhead = 8;    // how far the rows of a B that is read in place are fetched ahead
constexpr int64_t kTiny = 32;
constexpr int64_t kFewRows = 8;          // up to here one side is short enough for dot products
constexpr int64_t kBlockWork = 3 << 19;  // multiply-adds that are worth a block of their own: ~20 us on an AVX-512 core
constexpr int64_t kBlockBytes = 3 << 17;  // and bytes, of an operand that is read for a few multiply-adds each

template <class T> constexpr int64_t kPanelCols = kTileVectors * Lanes_t<T>::size;
template <class T> constexpr int64_t kPanelRows =
    (kTileRows + Lanes_t<T>::size - 1) / Lanes_t<T>::size * Lanes_t<T>::size;

enum class Operand : uint8_t { in_place, packed, shared };

struct Plan {
  bool few_rows, few_cols;  // dot products
  bool pack_a;
  Operand b;
  int64_t rows, cols, depth;  // of a block of C; of a step along K
  int64_t row_blocks, col_blocks;
};

// Cuts n into pieces of at most `most`, as even as multiples of `unit` allow; returns the size of a piece.
DL_INLINE int64_t even_piece(int64_t n, int64_t most, int64_t unit) {
  const int64_t pieces = ceil_div(n, most);
  return ceil_div(ceil_div(n, pieces), unit) * unit;
}

template <class In, class T> Plan plan_for(const MatmulArgs<In, T>& p, int64_t batch) {
  constexpr int64_t cols = kPanelCols<T>;
  Plan plan{};
  plan.depth = p.K ? even_piece(p.K, kBlockDepth, 8) : 1;
  const bool long_enough = p.K >= 4 * Lanes_t<T>::size;
  const auto copies = [&](int64_t rows) {
    return rows * p.K * static_cast<int64_t>(sizeof(In)) <= int64_t{kMaxScratch};
  };
  plan.few_rows = p.M <= kFewRows && p.b_row == 1 && long_enough && (p.a_col == 1 || copies(p.M));
  plan.few_cols =
      !plan.few_rows && p.N <= kFewRows && p.a_col == 1 && long_enough && (p.b_row == 1 || (p.M >= 64 && copies(p.N)));
  // B is read in place where it is read once or stays in the first-level cache.
  if (matmul_shares_b(p.M, p.N, p.K, batch)) plan.b = Operand::shared;
  else if (p.b_col == 1 && (p.M <= kTileRows || p.K * p.N <= 128 * 128)) plan.b = Operand::in_place;
  else plan.b = Operand::packed;
  // Rows a multiple of 2 KiB apart share the sets of the first-level cache.
  const bool collide = p.a_row * static_cast<int64_t>(sizeof(T)) % 2048 == 0 && p.M > 4;
  const bool a_strided = p.a_col != 1 && p.a_row != 1;
  plan.pack_a = sizeof(In) != sizeof(T) || p.N >= 4 * cols || a_strided || collide;
  // Enough blocks for several threads, each with enough work of its own. Rows are cut first, where each block does not
  // have to pack B anew: that reads A once only.
  const int64_t slab = min_of(p.M, 1 << 20) * min_of(p.N, 1 << 20), most = 16;
  int64_t want = p.K >= most * kBlockWork / slab ? most : slab * p.K / kBlockWork;
  if (p.M <= kFewRows || p.N <= kFewRows) {  // what takes time is to read the other side
    const int64_t bytes = min_of(p.K, 1 << 20) * max_of(min_of(p.M, 1 << 20), min_of(p.N, 1 << 20)) * sizeof(In);
    want = max_of(want, min_of(most, bytes / kBlockBytes));
  }
  want = ceil_div(want, batch);  // 0 for next to no work
  if (want < 1) want = 1;
  const bool cut_rows = plan.b != Operand::packed || plan.few_cols;
  const int64_t least_rows = 4 * kTileRows, by_rows = min_of(cut_rows ? min_of(want, 8) : 1, ceil_div(p.M, least_rows));
  plan.rows = even_piece(p.M, min_of(kBlockRows, ceil_div(p.M, by_rows)), 1);
  plan.row_blocks = ceil_div(p.M, plan.rows);
  const int64_t narrow = plan.b == Operand::shared ? 768 : plan.few_rows ? kDotCols : cols;
  int64_t col_blocks = min_of(ceil_div(want, plan.row_blocks), p.N / narrow);
  if (col_blocks < 1) col_blocks = 1;
  plan.cols = even_piece(p.N, ceil_div(p.N, col_blocks), plan.few_rows ? kDotCols : cols);
  plan.col_blocks = ceil_div(p.N, plan.cols);
  return plan;
}

// The part of B that all blocks share: panels of kPanelCols columns, cut along K as the blocks read them.
template <class T> struct SharedB {
  T* data;
  int64_t k0, j0, K, N;  // the rows and columns of B that it holds
  T* panel(int64_t k, int64_t j, int64_t depth) const {
    const int64_t padded = ceil_div(N, kPanelCols<T>) * kPanelCols<T>;
    return data + (k - k0) * padded + (j - j0) * depth;
  }
};

// Rows [i0, i1) x columns [j0, j1) of C, the terms K in [k0, k1).
template <class In, class T> void multiply_block(const MatmulArgs<In, T>& p, const Plan& plan, int64_t i0, int64_t i1,
                                                 int64_t j0, int64_t j1, int64_t k0, int64_t k1,
                                                 const SharedB<T>& shared) {
  constexpr int L = Lanes_t<T>::size;
  constexpr int64_t a_width = kPanelRows<T>;
  T* const a_panels = static_cast<T*>(thread_scratch());
  T* const b_panels = a_panels + ceil_div(kBlockRows, kTileRows) * a_width * kBlockDepth;
  // Panels of one height: 16 rows are 8 + 8, not 14 + 2.
  const int64_t rows = i1 - i0, panels = ceil_div(rows, kTileRows), height = ceil_div(rows, panels);
  const bool wide = rows <= kWideRows && plan.b != Operand::shared;
  const int64_t width = wide ? kWideVectors * L : kPanelCols<T>, shares = ceil_div(width, panels);
  const bool fetch_a = panels > 1 && p.a_row == p.K && p.a_col == 1;  // then the next rows are the next bytes
  for (int64_t k = k0; k < k1; k += plan.depth) {
    const int64_t depth = min_of(plan.depth, k1 - k);
    const bool add = p.accumulate || k > 0, last = k + depth == p.K;
    if (plan.pack_a)
      pack_panels(p.a + i0 * p.a_row + k * p.a_col, p.a_row, p.a_col, rows, depth, a_panels, height, a_width);
    for (int64_t j = j0; j < j1; j += width) {
      const int64_t n = min_of(width, j1 - j);
      const int vectors = static_cast<int>(ceil_div(n, L));
      const In* b = p.b + k * p.b_row + j * p.b_col;
      const bool in_place = plan.b == Operand::in_place && (kMaskedTiles || n == vectors * L) &&
                            (sizeof(In) == sizeof(T) || vectors > kTileVectors);
      const T* panel = b_panels;
      if (plan.b == Operand::shared) {
        panel = shared.panel(k, j, depth);
      } else if (plan.b == Operand::packed && !wide) {
        const int64_t in_group = (j - j0) % kGroupCols;
        if (in_group == 0) pack_panels(b, p.b_col, p.b_row, min_of(kGroupCols, j1 - j), depth, b_panels, width, width);
        panel += in_group * depth;
      } else if (!in_place) {
        pack(b, p.b_col, p.b_row, n, depth, b_panels, width);
      }
      // While a row panel is at work it fetches what comes next: its share of the packed panel that follows this one,
      // the rows of B further down, or the next rows of A.
      const int64_t share = shares * static_cast<int64_t>(sizeof(T));
      for (int64_t q = 0; q < panels; ++q) {
        const int64_t i = i0 + q * height, count = min_of(height, i1 - i);
        T* c = p.c + i * p.c_row + j;
        const T* a = a_panels + q * a_width * depth;
        int64_t a_row = 1, a_col = a_width;
        if constexpr (sizeof(In) == sizeof(T)) {
          if (!plan.pack_a) a = p.a + i * p.a_row + k * p.a_col, a_row = p.a_row, a_col = p.a_col;
        }
        if (in_place) {
          const In* ahead = b + kRowsAhead * p.b_row;
          int64_t step = p.b_row;
          if (fetch_a) ahead = p.a + (i + height) * p.a_row + k, step = height;
          micro_for<In, T>(count, vectors)(depth, a, a_row, a_col, b, p.b_row, c, p.c_row, n, add, ahead,
                                           step * static_cast<int64_t>(sizeof(In)));
        } else {
          const T* ahead = panel + depth * width + q * shares * depth;
          micro_for<T, T>(count, vectors)(depth, a, a_row, a_col, panel, width, c, p.c_row, n, add, ahead, share);
        }
      }
      if (last) finish(p, i0, rows, j, n);
    }
  }
}

// A block of a product with a short side: rows [i0, i1), columns [j0, j1), all of K.
template <class In, class T>
void dot_block(const MatmulArgs<In, T>& p, const Plan& plan, int64_t i0, int64_t i1, int64_t j0, int64_t j1) {
  // The short side is copied where its terms are not neighbours; it has at most kFewRows rows.
  const auto along_k = [&](const In* x, int64_t row, int64_t col, int64_t rows, int64_t& stride) -> const In* {
    stride = row;
    if (col == 1) return x;
    In* copy = static_cast<In*>(thread_scratch());
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t k = 0; k < p.K; ++k) copy[r * p.K + k] = x[r * row + k * col];
    stride = p.K;
    return copy;
  };
  T* c = p.c + i0 * p.c_row + j0;
  int64_t stride;
  if (plan.few_rows) {
    const In* x = along_k(p.a + i0 * p.a_row, p.a_row, p.a_col, i1 - i0, stride);
    dot_products(i1 - i0, j1 - j0, p.K, x, stride, p.b + j0 * p.b_col, p.b_col, c, p.c_row, 1, p.accumulate);
  } else {
    const In* x = along_k(p.b + j0 * p.b_col, p.b_col, p.b_row, j1 - j0, stride);
    dot_products(j1 - j0, i1 - i0, p.K, x, stride, p.a + i0 * p.a_row, p.a_row, c, int64_t{1}, p.c_row, p.accumulate);
  }
  finish(p, i0, i1 - i0, j0, j1 - j0);
}

// Every block packs what it needs by itself.
template <class In, class T> void multiply_items(const MatmulArgs<In, T>& args, const Plan& plan, int64_t batch) {
  const int64_t blocks = plan.row_blocks * plan.col_blocks;
  const int64_t area = plan.rows * plan.cols;
  const bool small = plan.row_blocks * plan.col_blocks == 1 && args.K < kBlockWork / area;  // several items a block
  const int64_t grain = small ? kBlockWork / (area * args.K + 64) + 1 : 1;
  parallel_for(batch * blocks, grain, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const MatmulArgs<In, T> p = batch_item(args, t / blocks);
      const int64_t i0 = t % blocks / plan.col_blocks * plan.rows, j0 = t % plan.col_blocks * plan.cols;
      const int64_t i1 = min_of(p.M, i0 + plan.rows), j1 = min_of(p.N, j0 + plan.cols);
      if (plan.few_rows || plan.few_cols) dot_block(p, plan, i0, i1, j0, j1);
      else multiply_block(p, plan, i0, i1, j0, j1, 0, p.K, SharedB<T>{});
    }
  });
}

// So little work that choosing how to do it would take as long.
template <class In, class T> void multiply_tiny(const MatmulArgs<In, T>& p) {
  if (p.M == 0 || p.N == 0) return;
  Plan plan{};
  plan.b = p.b_col == 1 ? Operand::in_place : Operand::packed;
  plan.pack_a = sizeof(In) != sizeof(T);
  plan.depth = p.K;
  multiply_block(p, plan, 0, p.M, 0, p.N, 0, p.K, SharedB<T>{});
}

// B is packed once, by all threads, part by part; then all threads multiply with that part.
template <class In, class T> void multiply_shared(const MatmulArgs<In, T>& p, const Plan& plan) {
  constexpr int64_t width = kPanelCols<T>;
  const int64_t part_cols = matmul_packed_cols(p.N), part_depth = matmul_packed_depth(p.N, p.K);
  const int64_t step = even_piece(part_depth, kBlockDepth, 8);
  Plan local = plan;
  local.depth = step;
  for (int64_t j0 = 0; j0 < p.N; j0 += part_cols)
    for (int64_t k0 = 0; k0 < p.K; k0 += part_depth) {
      const SharedB<T> part{p.workspace, k0, j0, min_of(part_depth, p.K - k0), min_of(part_cols, p.N - j0)};
      constexpr int64_t group = 4 * width;
      const int64_t groups = ceil_div(part.N, group), steps = ceil_div(part.K, step);
      parallel_for(groups * steps, 1, [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t) {
          const int64_t j = j0 + t / steps * group, k = k0 + t % steps * step;
          const int64_t depth = min_of(step, k0 + part.K - k);
          pack_panels(p.b + k * p.b_row + j * p.b_col, p.b_col, p.b_row, min_of(group, j0 + part.N - j), depth,
                      part.panel(k, j, depth), width, width);
        }
      });
      const int64_t col_blocks = ceil_div(part.N, plan.cols);
      parallel_for(plan.row_blocks * col_blocks, 1, [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t) {
          const int64_t i0 = t / col_blocks * plan.rows, j = j0 + t % col_blocks * plan.cols;
          multiply_block(p, local, i0, min_of(p.M, i0 + plan.rows), j, min_of(j0 + part.N, j + plan.cols), k0,
                         k0 + part.K, part);
        }
      });
    }
}

// C = 0 (or C as it is), for a sum without terms.
template <class In, class T> void multiply_nothing(const MatmulArgs<In, T>& args, int64_t batch) {
  for (int64_t t = 0; t < batch; ++t) {
    const MatmulArgs<In, T> p = batch_item(args, t);
    if (!p.accumulate)
      for (int64_t i = 0; i < p.M; ++i)
        for (int64_t j = 0; j < p.N; ++j) p.c[i * p.c_row + j] = T{0};
    finish(p, 0, p.M, 0, p.N);
  }
}

template <class In, class T> void multiply_split(const MatmulArgs<In, T>& args, int64_t splits, int64_t batch);

// A matrix times one column is that column as a row times the transposed matrix.
template <class In, class T> MatmulArgs<In, T> as_row(MatmulArgs<In, T> p) {
  const In* a = p.a;
  p.a = p.b, p.b = a;
  const int64_t a_row = p.a_row, a_col = p.a_col;
  p.a_row = p.b_col, p.a_col = p.b_row;
  p.b_row = a_col, p.b_col = a_row;
  const T* bias = p.bias;
  p.bias = p.bias_m, p.bias_m = bias;
  for (int d = 0; d < p.batch_dims; ++d) {
    const int64_t a_batch = p.a_batch[d];
    p.a_batch[d] = p.b_batch[d], p.b_batch[d] = a_batch;
  }
  p.N = p.M, p.M = 1;
  return p;
}

template <class In, class T> void matmul(const MatmulArgs<In, T>& args) {
  if (args.batch_dims == 0 && args.M <= kTiny && args.N <= kTiny && args.K <= kTiny && args.K > 0)
    return multiply_tiny(args);
  if (args.N == 1 && args.M > 1 && args.c_row == 1 && args.a_col != 1) return matmul(as_row(args));
  const int64_t batch = batch_count(args);
  if (args.M == 0 || args.N == 0 || batch == 0) return;
  if (args.K == 0) return multiply_nothing(args, batch);
  const int64_t splits = matmul_splits(args.M, args.N, args.K, batch);
  if (splits > 1) return multiply_split(args, splits, batch);
  const Plan plan = plan_for(args, batch);
  if (plan.few_rows || plan.few_cols || plan.b != Operand::shared) return multiply_items(args, plan, batch);
  for (int64_t t = 0; t < batch; ++t) multiply_shared(batch_item(args, t), plan);
}

// K in `splits` pieces, each a product of its own into the workspace; the pieces are added in order.
template <class In, class T> void multiply_split(const MatmulArgs<In, T>& args, int64_t splits, int64_t batch) {
  const int64_t depth = ceil_div(args.K, splits), size = args.M * args.N;
  parallel_for(batch * splits, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t k = t % splits * depth;
      MatmulArgs<In, T> p = batch_item(args, t / splits);
      p.a += k * p.a_col;
      p.b += k * p.b_row;
      p.c = args.workspace + t * size;
      p.c_row = p.N;
      p.K = min_of(depth, p.K - k);
      p.accumulate = false;
      p.bias = p.bias_m = nullptr;
      p.pre = nullptr;
      p.activation = MatmulActivation::none;
      const Plan plan = plan_for(p, batch * splits);
      multiply_items(p, plan, 1);
    }
  });
  for (int64_t t = 0; t < batch; ++t) {
    const MatmulArgs<In, T> p = batch_item(args, t);
    for (int64_t i = 0; i < p.M; ++i)
      for (int64_t j = 0; j < p.N; ++j) {
        T sum = p.accumulate ? p.c[i * p.c_row + j] : T{0};
        for (int64_t s = 0; s < splits; ++s) sum += args.workspace[(t * splits + s) * size + i * p.N + j];
        p.c[i * p.c_row + j] = sum;
      }
    finish(p, 0, p.M, 0, p.N);
  }
}

}  // namespace
}  // namespace dl
