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
#include "kernels/matmul/pairs.h"
#include "kernels/matmul/streams.h"
#include "kernels/matmul/tiles.h"

namespace dl {
namespace {

// A packed block of A, 168 x 768 floats, takes half of a second-level cache of 1 MiB.
constexpr int64_t kBlockRows = 168;
constexpr int64_t kBlockDepth = 768;
constexpr int64_t kGroupCols = 128;  // columns of B that are packed together: whole runs of a row-major B's rows
template <class In> constexpr int64_t kLine = 64 / sizeof(In);  // elements of a line of the cache
constexpr int64_t kRowsAhead = 16;  // how far the rows of a B that is read in place are fetched ahead
constexpr int64_t kTiny = 32;
constexpr int64_t kFewRows = 8;          // up to here one side is short enough for dot products
constexpr int64_t kBlockWork = 1 << 20;  // multiply-adds that are worth a block of their own: ~12 us on an AVX-512 core
constexpr int64_t kBlockBytes = 3 << 17;  // and bytes, of an operand that is read for a few multiply-adds each
constexpr int64_t kOwnB = 512 * 512;      // elements of B that every one of few threads packs for itself
constexpr int kOwnThreads = 4;
constexpr int64_t kStreamCols = 768;  // so long a run of a row is worth a stream of its own

// Sums that are of another type than C are kept for a block at a time, in the second half of the scratch memory.
template <class Out> constexpr bool kInC = sizeof(Out) == sizeof(matmul_sum_t<Out>);
constexpr int64_t kBlockSums = static_cast<int64_t>(kMaxScratch / 2 / sizeof(float)), kSumCols = 1024;
static_assert(kBlockRows * kSumCols <= kBlockSums, "the sums of a block fit");

// Where the sums of a block go that starts at [i, j] and has n columns: C itself, or the scratch memory.
template <class T> struct BlockSums {
  T* data;
  int64_t row;
};
template <class In, class Out>
DL_INLINE BlockSums<matmul_sum_t<Out>> block_sums(const MatmulArgs<In, Out>& p, int64_t i, int64_t j, int64_t n) {
  if constexpr (kInC<Out>) return {p.c + i * p.c_row + j, p.c_row};
  else return {static_cast<matmul_sum_t<Out>*>(thread_scratch()) + kBlockSums, n};
}

enum class Operand : uint8_t { in_place, packed, shared };

struct Plan {
  bool few_rows, few_cols;  // dot products
  bool streams;             // rows of B are read side by side
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

// Blocks of one size that are worth about n: as many for each of two threads, and of four where there are more.
DL_INLINE int64_t as_many_each(int64_t n) { return n > 4 ? ceil_div(n, 4) * 4 : n > 1 ? ceil_div(n, 2) * 2 : 1; }

// In, Out: of the operands and of C. T = matmul_sum_t<Out>: of the sums. E: of the panels, T or pairs of In.
template <class In, class Out, class E> Plan plan_for(const MatmulArgs<In, Out>& p, int64_t batch, bool may_share) {
  using T = matmul_sum_t<Out>;
  constexpr int64_t cols = kPanelCols<T>;
  Plan plan{};
  plan.depth = p.K ? even_piece(p.K, kBlockDepth, Panel<E>::step) : 1;
  const bool long_enough = p.K >= 4 * Lanes_t<T>::size;
  const auto copies = [&](int64_t rows) {
    return rows * p.K * static_cast<int64_t>(sizeof(In)) <= int64_t{kMaxScratch} / 2;
  };
  const auto keeps = [&](int64_t n) { return kInC<Out> || n <= kBlockSums / kFewRows; };
  plan.few_rows = p.M <= kFewRows && p.b_row == 1 && long_enough && keeps(p.N) && (p.a_col == 1 || copies(p.M));
  plan.few_cols = !plan.few_rows && p.N <= kFewRows && p.a_col == 1 && long_enough && keeps(p.M) &&
                  (p.b_row == 1 || (p.M >= 64 && copies(p.N)));
  // B is read in place where it is read once or stays in the first-level cache.
  if (may_share && matmul_shares_b(p.M, p.N, p.K, batch)) plan.b = Operand::shared;
  else if (!Panel<E>::pairs && p.b_col == 1 && (p.M <= kTileRows || p.K * p.N <= 128 * 128)) plan.b = Operand::in_place;
  else plan.b = Operand::packed;
  // Rows a multiple of 2 KiB apart share the sets of the first-level cache.
  const bool collide = p.a_row * static_cast<int64_t>(sizeof(T)) % 2048 == 0 && p.M > 4;
  const bool a_strided = p.a_col != 1 && p.a_row != 1;
  plan.pack_a = sizeof(In) != sizeof(T) || p.N > 4 * cols || a_strided || collide;
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
  const int64_t least_rows = (Panel<E>::pairs ? 4 : 2) * Panel<E>::rows;  // products of pairs are faster than memory
  const int64_t by_rows = min_of(cut_rows ? want : 1, max_of(1, p.M / least_rows));
  plan.row_blocks = as_many_each(ceil_div(p.M, min_of(kBlockRows, ceil_div(p.M, by_rows))));
  plan.rows = even_piece(p.M, ceil_div(p.M, plan.row_blocks), Panel<E>::row_unit);
  plan.row_blocks = ceil_div(p.M, plan.rows);
  plan.streams = !plan.few_rows && !plan.few_cols && p.b_col == 1 && p.M <= kStreamRows && p.N >= kStreamCols / 4;
  const int64_t narrow = plan.b == Operand::shared ? kStreamCols
                         : plan.streams            ? (p.N >= 4 * kStreamCols ? kStreamCols : kStreamCols / 2)
                         : plan.few_rows           ? kDotCols
                                                   : cols;
  int64_t col_blocks = min_of(ceil_div(want, plan.row_blocks), p.N / narrow);
  if (col_blocks < 1) col_blocks = 1;
  plan.cols = even_piece(p.N, ceil_div(p.N, col_blocks), plan.few_rows ? kDotCols : cols);
  if (!kInC<Out> && !plan.few_rows && !plan.few_cols) plan.cols = even_piece(p.N, min_of(plan.cols, kSumCols), cols);
  plan.col_blocks = ceil_div(p.N, plan.cols);
  return plan;
}

// The part of B that all blocks share: panels of kPanelCols columns, cut along K as the blocks read them.
template <class E> struct SharedB {
  E* data;
  int64_t k0, j0, K, N;  // the rows and columns of B that it holds
  E* panel(int64_t k, int64_t j, int64_t depth, int64_t width) const {
    return data + panel_depth<E>(k - k0) * (ceil_div(N, width) * width) + (j - j0) * depth;
  }
};

// Elements of a packed block of A; where a thread packs B: behind it.
template <class E> constexpr int64_t panels_room() {
  return ceil_div(kBlockRows, Panel<E>::rows) * Panel<E>::width * kBlockDepth;
}
template <class E> DL_INLINE E* b_panels() { return static_cast<E*>(thread_scratch()) + panels_room<E>(); }

// Rows [i0, i1) x columns [j0, j1) of C, the terms K in [k0, k1).
template <class In, class Out, class E> void multiply_block(const MatmulArgs<In, Out>& p, const Plan& plan, int64_t i0,
                                                            int64_t i1, int64_t j0, int64_t j1, int64_t k0, int64_t k1,
                                                            const SharedB<E>& shared) {
  using T = matmul_sum_t<Out>;
  constexpr int L = Lanes_t<T>::size;
  constexpr int64_t a_width = Panel<E>::width;
  [[maybe_unused]] const typename Panel<E>::State state;
  E* const a_panels = static_cast<E*>(thread_scratch());
  const BlockSums<T> sums = block_sums(p, i0, j0, ceil_div(j1 - j0, L) * L);
  const int64_t rows = i1 - i0, height = Panel<E>::height(rows), panels = ceil_div(rows, height);
  const bool wide = !Panel<E>::pairs && rows <= kWideRows && plan.b != Operand::shared;
  const int64_t width = wide ? kWideVectors * L : kPanelCols<T>, shares = ceil_div(width, panels);
  const bool fetch_a = panels > 1 && p.a_row == p.K && p.a_col == 1;  // then the next rows are the next bytes
  for (int64_t k = k0; k < k1; k += plan.depth) {
    const int64_t terms = min_of(plan.depth, k1 - k), depth = panel_depth<E>(terms);
    const bool add = (kInC<Out> && p.accumulate) || k > 0, last = k + terms == p.K;
    if (plan.pack_a)
      Panel<E>::pack_a(p.a + i0 * p.a_row + k * p.a_col, p.a_row, p.a_col, rows, terms, a_panels, height, a_width);
    for (int64_t j = j0; j < j1; j += width) {
      const int64_t n = min_of(width, j1 - j);
      const int vectors = static_cast<int>(ceil_div(n, L));
      const In* b = p.b + k * p.b_row + j * p.b_col;
      const bool in_place = plan.b == Operand::in_place && (kMaskedTiles || n == vectors * L) &&
                            (sizeof(In) == sizeof(T) || vectors > kTileVectors);
      const E* panel = b_panels<E>();
      if (plan.b == Operand::shared) {
        panel = shared.panel(k, j, depth, width);
      } else if (plan.b == Operand::packed && !wide) {
        const int64_t in_group = (j - j0) % kGroupCols;
        if (in_group == 0)
          pack_panels(b, p.b_col, p.b_row, min_of(kGroupCols, j1 - j), terms, b_panels<E>(), width, width);
        panel += in_group * depth;
      } else if (!in_place) {
        pack(b, p.b_col, p.b_row, n, terms, b_panels<E>(), width);
      }
      // While a row panel is at work it fetches what comes next: its share of the packed panel that follows this one,
      // the rows of B further down, or the next rows of A.
      const int64_t share = shares * static_cast<int64_t>(sizeof(E));
      for (int64_t q = 0; q < panels; ++q) {
        const int64_t i = i0 + q * height, count = min_of(height, i1 - i);
        T* c = sums.data + (i - i0) * sums.row + (j - j0);
        const E* a = a_panels + q * a_width * depth;
        int64_t a_row = 1, a_col = a_width;
        if constexpr (sizeof(In) == sizeof(E)) {
          if (!plan.pack_a) a = p.a + i * p.a_row + k * p.a_col, a_row = p.a_row, a_col = p.a_col;
        }
        if constexpr (!Panel<E>::pairs) {
          if (in_place) {
            const In* ahead = b + kRowsAhead * p.b_row;
            int64_t step = p.b_row;
            if (fetch_a) ahead = p.a + (i + height) * p.a_row + k, step = height;
            const auto run = n == vectors * L ? micro_for<E, In, T>(count, vectors)
                                              : micro_for<E, In, T, !kMaskedTiles>(count, vectors);
            run(depth, a, a_row, a_col, b, p.b_row, c, sums.row, n, add, ahead,
                step * static_cast<int64_t>(sizeof(In)));
            continue;
          }
        }
        const void* ahead = panel + depth * width + q * shares * depth;
        int64_t step = share;
        if (plan.b == Operand::packed && p.b_col == 1 && !Panel<E>::pairs) {
          // A line of every row of the columns that are packed next, for each of the first tiles of a group.
          const int64_t in_group = (j - j0) % kGroupCols, line = (in_group / width * panels + q) * kLine<In>;
          if (line < kGroupCols && j - in_group + kGroupCols + line < j1)
            ahead = b - in_group + kGroupCols + line, step = p.b_row * static_cast<int64_t>(sizeof(In));
        }
        Panel<E>::multiply(count, n, depth, a, a_row, a_col, panel, width, c, sums.row, add, ahead, step);
      }
      if (last) finish(p, sums.data + (j - j0), sums.row, i0, rows, j, n);
    }
  }
}

// A block of a product with a short side: rows [i0, i1), columns [j0, j1), all of K.
template <class In, class Out>
void dot_block(const MatmulArgs<In, Out>& p, const Plan& plan, int64_t i0, int64_t i1, int64_t j0, int64_t j1) {
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
  const BlockSums<matmul_sum_t<Out>> sums = block_sums(p, i0, j0, j1 - j0);
  const bool add = kInC<Out> && p.accumulate;
  int64_t stride;
  if (plan.few_rows) {
    const In* x = along_k(p.a + i0 * p.a_row, p.a_row, p.a_col, i1 - i0, stride);
    dot_products(i1 - i0, j1 - j0, p.K, x, stride, p.b + j0 * p.b_col, p.b_col, sums.data, sums.row, 1, add);
  } else {
    const In* x = along_k(p.b + j0 * p.b_col, p.b_col, p.b_row, j1 - j0, stride);
    dot_products(j1 - j0, i1 - i0, p.K, x, stride, p.a + i0 * p.a_row, p.a_row, sums.data, int64_t{1}, sums.row, add);
  }
  finish(p, sums.data, sums.row, i0, i1 - i0, j0, j1 - j0);
}

// A block of a product of one or two rows with a row-major B: all rows, columns [j0, j1), all of K.
template <class In, class Out> void stream_block(const MatmulArgs<In, Out>& p, int64_t j0, int64_t j1) {
  const auto sums = block_sums(p, 0, j0, j1 - j0);
  stream_products(p.M, j1 - j0, p.K, p.a, p.a_row, p.a_col, p.b + j0, p.b_row, sums.data, sums.row,
                  kInC<Out> && p.accumulate);
  finish(p, sums.data, sums.row, 0, p.M, j0, j1 - j0);
}

// Every block packs what it needs by itself.
template <class In, class Out, class E>
void multiply_items(const MatmulArgs<In, Out>& args, const Plan& plan, int64_t batch) {
  const int64_t blocks = plan.row_blocks * plan.col_blocks;
  const int64_t area = plan.rows * plan.cols;
  const bool small = plan.row_blocks * plan.col_blocks == 1 && args.K < kBlockWork / area;  // several items a block
  const int64_t grain = small ? kBlockWork / (area * args.K + 64) + 1 : 1;
  parallel_for(batch * blocks, grain, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const MatmulArgs<In, Out> p = batch_item(args, t / blocks);
      const int64_t i0 = t % blocks / plan.col_blocks * plan.rows, j0 = t % plan.col_blocks * plan.cols;
      const int64_t i1 = min_of(p.M, i0 + plan.rows), j1 = min_of(p.N, j0 + plan.cols);
      if (plan.streams) stream_block(p, j0, j1);
      else if (plan.few_rows || plan.few_cols) dot_block(p, plan, i0, i1, j0, j1);
      else multiply_block(p, plan, i0, i1, j0, j1, 0, p.K, SharedB<E>{});
    }
  });
}

// So little work that choosing how to do it would take as long.
template <class In, class Out, class E> void multiply_tiny(const MatmulArgs<In, Out>& p) {
  if (p.M == 0 || p.N == 0) return;
  Plan plan{};
  plan.b = !Panel<E>::pairs && p.b_col == 1 ? Operand::in_place : Operand::packed;
  plan.pack_a = sizeof(In) != sizeof(matmul_sum_t<Out>);
  plan.depth = p.K;
  multiply_block(p, plan, 0, p.M, 0, p.N, 0, p.K, SharedB<E>{});
}

// Packs group t of `part`: kSharedGroup panels for `step` terms.
constexpr int64_t kSharedGroup = 4;
template <class In, class Out, class E>
void pack_group(const MatmulArgs<In, Out>& p, const SharedB<E>& part, int64_t step, int64_t t) {
  constexpr int64_t width = kPanelCols<matmul_sum_t<Out>>, group = kSharedGroup * width;
  const int64_t steps = ceil_div(part.K, step), j = part.j0 + t / steps * group, k = part.k0 + t % steps * step;
  const int64_t terms = min_of(step, part.k0 + part.K - k);
  pack_panels(p.b + k * p.b_row + j * p.b_col, p.b_col, p.b_row, min_of(group, part.j0 + part.N - j), terms,
              part.panel(k, j, panel_depth<E>(terms), width), width, width);
}

// The parts of B in the order in which they lie in MatmulArgs::packed. body(part, step): `step` terms of K at a time.
template <class In, class Out, class E, class Body>
void for_each_part(const MatmulArgs<In, Out>& p, matmul_sum_t<Out>* packed, const Body& body) {
  const int64_t cols = matmul_packed_cols(p.N), depth = matmul_packed_depth(p.N, p.K);
  const int64_t step = even_piece(depth, kBlockDepth, Panel<E>::step);
  for (int64_t j = 0; j < p.N; j += cols)
    for (int64_t k = 0; k < p.K; k += depth, packed += p.packed ? cols * depth : 0)
      body(SharedB<E>{reinterpret_cast<E*>(packed), k, j, min_of(depth, p.K - k), min_of(cols, p.N - j)}, step);
}

template <class Out, class E> int64_t pack_groups(const SharedB<E>& part, int64_t step) {
  return ceil_div(part.N, kSharedGroup * kPanelCols<matmul_sum_t<Out>>) * ceil_div(part.K, step);
}

template <class In, class Out, class E = matmul_sum_t<Out>>
void matmul_pack(const MatmulArgs<In, Out>& args, matmul_sum_t<Out>* packed) {
  MatmulArgs<In, Out> p = args;
  p.packed = packed;
  for_each_part<In, Out, E>(p, packed, [&](const SharedB<E>& part, int64_t step) {
    parallel_for(pack_groups<Out>(part, step), 1, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) pack_group(p, part, step, t);
    });
  });
}

// Parts of B so far, and the one that this thread has in its scratch memory.
int64_t last_part = 0;
thread_local int64_t own_part = 0;

// B is packed once for all blocks of C, part by part: by all threads, or, where it is small, by every thread for
// itself, so that none waits for another or fetches what another one has just written; or it was packed beforehand.
template <class In, class Out, class E> void multiply_shared(const MatmulArgs<In, Out>& p, const Plan& plan) {
  constexpr int64_t width = kPanelCols<matmul_sum_t<Out>>;
  // Columns are padded to a panel, and there are more than kFewRows.
  static_assert((panels_room<E>() + kOwnB * width / kFewRows) * sizeof(E) <= kMaxScratch / (kInC<Out> ? 1 : 2),
                "B of one's own fits");
  auto* const memory = p.packed ? const_cast<matmul_sum_t<Out>*>(p.packed) : p.workspace;
  for_each_part<In, Out, E>(p, memory, [&](const SharedB<E>& part, int64_t step) {
    Plan local = plan;
    local.depth = step;
    const int64_t groups = p.packed ? 0 : pack_groups<Out>(part, step);
    const bool own = !p.packed && p.N * p.K <= kOwnB && num_threads() <= kOwnThreads;
    const int64_t this_part = __atomic_add_fetch(&last_part, 1, __ATOMIC_RELAXED);
    if (!own)
      parallel_for(groups, 1, [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t) pack_group(p, part, step, t);
      });
    const int64_t col_blocks = ceil_div(part.N, plan.cols);
    parallel_for(plan.row_blocks * col_blocks, 1, [&](int64_t begin, int64_t end) {
      SharedB<E> b = part;
      if (own) {
        b.data = b_panels<E>();
        for (int64_t t = 0; own_part != this_part && t < groups; ++t) pack_group(p, b, step, t);
        own_part = this_part;
      }
      for (int64_t t = begin; t < end; ++t) {
        // Blocks of the same columns follow one another: a thread keeps their part of B.
        const int64_t i = t % plan.row_blocks * plan.rows, j = part.j0 + t / plan.row_blocks * plan.cols;
        multiply_block(p, local, i, min_of(p.M, i + plan.rows), j, min_of(part.j0 + part.N, j + plan.cols), part.k0,
                       part.k0 + part.K, b);
      }
    });
  });
}

// C = 0 (or C as it is), for a sum without terms.
template <class In, class Out> void multiply_nothing(const MatmulArgs<In, Out>& args, int64_t batch) {
  using T = matmul_sum_t<Out>;
  static constexpr T zeros[256] = {};
  for (int64_t t = 0; t < batch; ++t) {
    const MatmulArgs<In, Out> p = batch_item(args, t);
    if constexpr (kInC<Out>) {
      if (!p.accumulate)
        for (int64_t i = 0; i < p.M; ++i)
          for (int64_t j = 0; j < p.N; ++j) p.c[i * p.c_row + j] = T{0};
      finish(p, p.c, p.c_row, 0, p.M, 0, p.N);
    } else {
      for (int64_t j = 0; j < p.N; j += 256) finish(p, zeros, 0, 0, p.M, j, min_of(256, p.N - j));
    }
  }
}

// A matrix times one column is that column as a row times the transposed matrix.
template <class In, class Out> MatmulArgs<In, Out> as_row(MatmulArgs<In, Out> p) {
  const auto swap = [](auto& x, auto& y) {
    const auto kept = x;
    x = y, y = kept;
  };
  swap(p.a, p.b);
  swap(p.a_row, p.b_col);
  swap(p.a_col, p.b_row);
  swap(p.bias, p.bias_m);
  for (int d = 0; d < p.batch_dims; ++d) swap(p.a_batch[d], p.b_batch[d]);
  p.N = p.M, p.M = 1;
  return p;
}

// The same product without its epilogue, as plain sums.
template <class In, class Out>
MatmulArgs<In, matmul_sum_t<Out>> sums_alone(const MatmulArgs<In, Out>& p, matmul_sum_t<Out>* sums) {
  MatmulArgs<In, matmul_sum_t<Out>> s{};
  s.a = p.a, s.b = p.b, s.c = sums;
  s.M = p.M, s.N = p.N, s.K = p.K;
  s.a_row = p.a_row, s.a_col = p.a_col, s.b_row = p.b_row, s.b_col = p.b_col, s.c_row = p.N;
  s.workspace = p.workspace, s.packed = p.packed;
  return s;
}

// K in `splits` pieces, each a product of its own into the workspace; the pieces are added in order.
template <class In, class Out, class E>
void multiply_split(const MatmulArgs<In, Out>& args, int64_t splits, int64_t batch) {
  using T = matmul_sum_t<Out>;
  const int64_t depth = ceil_div(args.K, splits), size = args.M * args.N;
  parallel_for(batch * splits, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t k = t % splits * depth;
      MatmulArgs<In, T> p = sums_alone(batch_item(args, t / splits), args.workspace + t * size);
      p.a += k * p.a_col;
      p.b += k * p.b_row;
      p.K = min_of(depth, p.K - k);
      const Plan plan = plan_for<In, T, E>(p, batch * splits, false);
      multiply_items<In, T, E>(p, plan, 1);
    }
  });
  for (int64_t t = 0; t < batch; ++t) {
    const MatmulArgs<In, Out> p = batch_item(args, t);
    T* const first = args.workspace + t * splits * size;
    for (int64_t s = 1; s < splits; ++s)
      for (int64_t i = 0; i < size; ++i) first[i] += first[s * size + i];
    if constexpr (kInC<Out>) {
      for (int64_t i = 0; i < p.M; ++i)
        for (int64_t j = 0; j < p.N; ++j) {
          const T sum = first[i * p.N + j];
          p.c[i * p.c_row + j] = p.accumulate ? p.c[i * p.c_row + j] + sum : sum;
        }
      finish(p, p.c, p.c_row, 0, p.M, 0, p.N);
    } else {
      finish(p, first, p.N, 0, p.M, 0, p.N);
    }
  }
}

template <class In, class Out, class E = matmul_sum_t<Out>> void matmul(const MatmulArgs<In, Out>& args) {
  using T = matmul_sum_t<Out>;
  if constexpr (Panel<E>::pairs)  // to make the pairs takes longer than they save
    if (args.M <= kWideRows) return matmul<In, Out, T>(args);
  if (args.batch_dims == 0 && args.M <= kTiny && args.N <= kTiny && args.K <= kTiny && args.K > 0)
    return multiply_tiny<In, Out, E>(args);
  if (args.N == 1 && args.M > 1 && args.c_row == 1 && args.a_col != 1) return matmul<In, Out, E>(as_row(args));
  const int64_t batch = batch_count(args);
  if (args.M == 0 || args.N == 0 || batch == 0) return;
  if (args.K == 0) return multiply_nothing(args, batch);
  const int64_t splits = matmul_splits(args.M, args.N, args.K, batch);
  if (splits > 1) return multiply_split<In, Out, E>(args, splits, batch);
  const Plan plan = plan_for<In, Out, E>(args, batch, true);
  if (plan.few_rows || plan.few_cols || plan.b != Operand::shared) return multiply_items<In, Out, E>(args, plan, batch);
  for (int64_t t = 0; t < batch; ++t) {
    const MatmulArgs<In, Out> p = batch_item(args, t);
    if (!matmul_keeps_sums<Out>(p.N, p.K)) {
      multiply_shared<In, Out, E>(p, plan);
      continue;
    }
    T* const sums = p.workspace + matmul_packed_cols(p.N) * matmul_packed_depth(p.N, p.K);
    multiply_shared<In, T, E>(sums_alone(p, sums), plan);
    parallel_for(p.M, 16,
                 [&](int64_t begin, int64_t end) { finish(p, sums + begin * p.N, p.N, begin, end - begin, 0, p.N); });
  }
}

}  // namespace
}  // namespace dl
