// Reads are cut anywhere. Writes are cut along outer and inner alone, so that all writes to one element are made by one
// thread, in order.
#include "core/parallel.h"
#include "dispatch/kernel.h"
#include "kernels/gather/gather.h"
#include "kernels/index/walk.h"

namespace dl {
namespace {

constexpr int64_t kElementsPerBlock = 16384;
constexpr int64_t kPiece = 256;  // of an inner run: enough elements for one visit to a row of x

void check_indices(const int64_t* index, int64_t n, int64_t size, int* out_of_range) {
  parallel_for(n, 2 * kElementsPerBlock, [&](int64_t begin, int64_t end) {
    int64_t low = 0, high = -1;
    for (int64_t i = begin; i < end; ++i) {
      low = index[i] < low ? index[i] : low;
      high = index[i] > high ? index[i] : high;
    }
    if (low < -size || high >= size) __atomic_store_n(out_of_range, 1, __ATOMIC_RELAXED);
  });
}

// The part [k0, k1) x [i0, i0 + n) of row r of inner in outer o: visit(element of x, element of y and index).
template <class Visit> void visit_part(const int64_t* index, const GatherShape* s, const Runs& inner, int64_t x_offset,
                                       int64_t first, int64_t k0, int64_t k1, int64_t n, int64_t step,
                                       const Visit& visit) {
  const auto place = [&](int64_t j) { return x_offset + (j + (j < 0 ? s->size : 0)) * s->stride; };
  if (n == 1) {
    for (int64_t at = first + k0 * step; at < first + k1 * step; at += step) visit(place(index[at]), at);
    return;
  }
  for (int64_t k = k0; k < k1; ++k) {
    const int64_t at = first + k * step;
    for (int64_t i = 0; i < n; ++i) { visit(place(index[at + i]) + i * inner.stride, at + i); }
  }
}

// Cuts the work into parts; `cut_count`: also along count.
template <class Visit> void for_each(const int64_t* index, const GatherShape* s, bool cut_count, const Visit& visit) {
  const Runs inner(s->inner);
  const int64_t rows = size_of(inner.rows), step = rows * inner.n;
  if (step == 1 && s->count < kElementsPerBlock) {  // along the last axis: a few elements of each row
    parallel_for(size_of(s->outer), kElementsPerBlock / at_least_one(s->count), [&](int64_t begin, int64_t end) {
      Walk o(s->outer, begin);
      for (int64_t at = begin; at < end; ++at, o.next())
        visit_part(index, s, inner, o.offset, at * s->count, 0, s->count, 1, 1, visit);
    });
    return;
  }
  const int64_t pieces = (inner.n + kPiece - 1) / kPiece, piece = inner.n < kPiece ? inner.n : kPiece;
  const int64_t length = cut_count ? at_least_one(kElementsPerBlock / piece) : s->count;
  const int64_t lengths = (s->count + length - 1) / length;
  const int64_t whole = s->count < length ? s->count : length;
  const int64_t units = size_of(s->outer) * rows * pieces * lengths;
  parallel_for(units, at_least_one(kElementsPerBlock / (piece * whole)), [&](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t i0 = unit % pieces * kPiece, r = unit / pieces % rows,
                    k0 = unit / (pieces * rows) % lengths * length;
      const int64_t o = unit / (pieces * rows * lengths);
      const int64_t n = i0 + kPiece < inner.n ? kPiece : inner.n - i0;
      const int64_t k1 = k0 + length < s->count ? k0 + length : s->count;
      const int64_t x_offset = Walk(s->outer, o).offset + Walk(inner.rows, r).offset + i0 * inner.stride;
      visit_part(index, s, inner, x_offset, o * s->count * step + r * inner.n + i0, k0, k1, n, step, visit);
    }
  });
}

template <class T> void gather(const T* x, const int64_t* index, T* y, const GatherShape* s) {
  for_each(index, s, true, [&](int64_t at, int64_t position) { y[position] = x[at]; });
}

template <class T> void scatter(T* x, const int64_t* index, const T* y, const GatherShape* s) {
  for_each(index, s, false, [&](int64_t at, int64_t position) { x[at] = y[position]; });
}

template <class T> void scatter_add(T* x, const int64_t* index, const T* y, const GatherShape* s) {
  for_each(index, s, false, [&](int64_t at, int64_t position) { x[at] = wrapping_add(x[at], y[position]); });
}

DL_REGISTER("check_indices", check_indices, check_indices_fn)
DL_REGISTER("gather/1", gather, gather_fn<uint8_t>)
DL_REGISTER("gather/2", gather, gather_fn<uint16_t>)
DL_REGISTER("gather/4", gather, gather_fn<uint32_t>)
DL_REGISTER("gather/8", gather, gather_fn<uint64_t>)
DL_REGISTER("scatter/1", scatter, scatter_fn<uint8_t>)
DL_REGISTER("scatter/2", scatter, scatter_fn<uint16_t>)
DL_REGISTER("scatter/4", scatter, scatter_fn<uint32_t>)
DL_REGISTER("scatter/8", scatter, scatter_fn<uint64_t>)
DL_REGISTER("scatter_add/float32", scatter_add, scatter_add_fn<float>)
DL_REGISTER("scatter_add/float64", scatter_add, scatter_add_fn<double>)
DL_REGISTER("scatter_add/int64", scatter_add, scatter_add_fn<int64_t>)
DL_REGISTER("scatter_add/int32", scatter_add, scatter_add_fn<int32_t>)
DL_REGISTER("scatter_add/uint8", scatter_add, scatter_add_fn<uint8_t>)

}  // namespace
}  // namespace dl
