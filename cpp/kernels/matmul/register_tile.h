// R x NV vectors of sums in registers: what the tile kernels of products and of convolutions have in common.
#pragma once
#include "kernels/matmul/lanes.h"

namespace dl {
namespace {

// Predicated stores cost nothing extra, and a ragged edge of B can be read in place too.
#if defined(__AVX512F__)
constexpr bool kMaskedTiles = true;
#else
constexpr bool kMaskedTiles = false;
#endif

// sum += a * b, or *a * b. With AVX-512 to read *a is part of the multiply-add, where a broadcast is an instruction of
// its own, and the sum stays in its register: on a core that runs a second thread (SMT) the number of instructions is
// what limits a tile.
template <class A, class B, class V> DL_INLINE void add_product(V& sum, A a, B b) { sum = fma(a, b, sum); }
template <class A, class B, class V> DL_INLINE void add_product(V& sum, const A* a, B b) {
  sum = fma(broadcast(*a), b, sum);
}
#if defined(__AVX512F__)
DL_INLINE void add_product(Vec& sum, Vec a, Vec b) { asm("vfmadd231ps %2, %1, %0" : "+v"(sum.v) : "v"(a.v), "v"(b.v)); }
DL_INLINE void add_product(VecD& sum, VecD a, VecD b) {
  asm("vfmadd231pd %2, %1, %0" : "+v"(sum.v) : "v"(a.v), "v"(b.v));
}
DL_INLINE void add_product(Vec& sum, const float* a, Vec b) {
  asm("vfmadd231ps %2%{1to16%}, %1, %0" : "+v"(sum.v) : "v"(b.v), "m"(*a));
}
DL_INLINE void add_product(VecD& sum, const double* a, VecD b) {
  asm("vfmadd231pd %2%{1to8%}, %1, %0" : "+v"(sum.v) : "v"(b.v), "m"(*a));
}
#endif

// Rows that read *a so: every vector does it anew, and the load ports must keep up.
constexpr bool reads_anew(int row, int vectors) { return vectors == 1 || (vectors == 2 && row % 3 != 0); }

// The sums of a tile while they are made, step by step of K.
template <class A, class B, class T, int R, int NV> struct Tile {
  using V = Lanes_t<T>;
  static constexpr int kLast = (NV - 1) * V::size;
  V acc[R][NV];
  int64_t last;  // columns of the last vector

  DL_INLINE void clear() {
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
      for (int j = 0; j < NV; ++j) acc[r][j] = broadcast(T{0});
  }

  // at(r): where a[r, k] is; b: row k. `whole`: all of the last vector may be read. `near`: the places are
  // constants away from a register, which costs a multiply-add that reads them nothing.
  template <bool whole, bool near, class At> DL_INLINE void step(const At& at, const B* b) {
    decltype(load(b)) bk[NV];
#pragma GCC unroll 8
    for (int j = 0; j < NV - 1; ++j) bk[j] = load(b + j * V::size);
    bk[NV - 1] = whole ? load(b + kLast) : load(b + kLast, last);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      if (near && reads_anew(r, NV)) {
#pragma GCC unroll 8
        for (int j = 0; j < NV; ++j) add_product(acc[r][j], at(r), bk[j]);
      } else {
        const auto ark = broadcast(*at(r));
#pragma GCC unroll 8
        for (int j = 0; j < NV; ++j) add_product(acc[r][j], ark, bk[j]);
      }
    }
  }

  DL_INLINE void finish(T* c, int64_t c_row, int64_t n, bool accumulate) {
    if (!kMaskedTiles && last < V::size) return finish_buffered(c, c_row, n, accumulate);
    if (accumulate) {
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        T* row = c + r * c_row;
#pragma GCC unroll 8
        for (int j = 0; j < NV - 1; ++j) acc[r][j] = load(row + j * V::size) + acc[r][j];
        acc[r][NV - 1] = (kMaskedTiles ? load(row + kLast, last) : load(row + kLast)) + acc[r][NV - 1];
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      T* row = c + r * c_row;
#pragma GCC unroll 8
      for (int j = 0; j < NV - 1; ++j) store(row + j * V::size, acc[r][j]);
      if (kMaskedTiles) store(row + kLast, acc[r][NV - 1], last);
      else store(row + kLast, acc[r][NV - 1]);
    }
  }

  // Through a buffer, so that only this small loop and not every register of the tile has masked code.
  DL_INLINE void finish_buffered(T* c, int64_t c_row, int64_t n, bool accumulate) {
    T tile[R][NV * V::size];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
      for (int j = 0; j < NV; ++j) store(tile[r] + j * V::size, acc[r][j]);
#pragma GCC unroll 1
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 1
      for (int64_t j = 0; j < n; j += V::size) {
        T* at = c + r * c_row + j;
        const int64_t lanes = n - j < V::size ? n - j : V::size;
        const V sum = load(tile[r] + j);
        store(at, accumulate ? load(at, lanes) + sum : sum, lanes);
      }
  }
};

// The rows of a packed panel of B.
template <class E, int width> struct PackedRows {
  const E* b;
  DL_INLINE const E* row(int u) {
    asm("" : "+r"(b));  // see packed_tile
    return b + u * width;
  }
  DL_INLINE void advance(int n) { b += n * width; }
};

// c (+)= the product of a part of A, where term k of row r is a[r * row + k * col], and of the rows of B that `b`
// gives, one after the other, in whole vectors. Constant strides leave next to nothing to do between the multiply-adds.
// `a` and what `b` reads from are hidden from the compiler at every step: it would move the loads of later steps up,
// for which there are no registers.
template <class E, class T, int R, int NV, int row, int col, class Rows>
DL_INLINE void packed_tile(int64_t K, const E* a, Rows b, T* c, int64_t c_row, int64_t n, bool accumulate) {
  Tile<E, E, T, R, NV> tile;
  tile.last = n - tile.kLast;
  tile.clear();
  const auto step = [&](int u) __attribute__((always_inline)) {
    asm("" : "+r"(a));
    const E* const bk = b.row(u);
    tile.template step<true, true>([&](int r) __attribute__((always_inline)) { return a + (r * row + u * col); }, bk);
  };
  const auto fours = [&](int64_t count, auto between) __attribute__((always_inline)) {
#pragma GCC unroll 1
    for (; count > 0; --count) {
      step(0), between(), step(1), step(2), between(), step(3);
      a += 4 * col, b.advance(4);
    }
  };
  // The first steps also fetch what C needs, a row for every two of them.
  const T* next = c;
  const int64_t all = K / 4, first = all < (R + 1) / 2 ? all : (R + 1) / 2;
  fours(first, [&]() __attribute__((always_inline)) {
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) __builtin_prefetch(next + j * Lanes_t<T>::size, 1);
    next += c_row;
  });
  fours(all - first, []() __attribute__((always_inline)) {});
#pragma GCC unroll 1
  for (int64_t k = 0; k < K % 4; ++k, a += col, b.advance(1)) step(0);
  tile.finish(c, c_row, n, accumulate);
}

}  // namespace
}  // namespace dl
