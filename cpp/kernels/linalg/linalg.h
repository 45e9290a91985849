// Contracts of the linalg family. Matrices are contiguous and row-major, one after the other in a batch.
#pragma once
#include <cstdint>

namespace dl {

// l l^T = a with l lower triangular, zeros above its diagonal: a, l (batch, n, n), two buffers. Of a only the lower
// triangle is read. minors[b] = 0, or the order k of the first leading minor that leaves no positive pivot (NaN does
// not): a[b] is then not positive definite, and l[b] is unfinished. Sums of T, at least as exact as one after the
// other.
template <class T> using cholesky_fn = void (*)(const T* a, T* l, int64_t batch, int64_t n, int64_t* minors);

// a x = b by substitution: a (batch, n, n), of which only the lower (upper: the upper) triangle is read; x, b
// (batch, n, m), two buffers. A zero on the diagonal gives infinities and NaN.
template <class T>
using solve_triangular_fn = void (*)(const T* a, const T* b, T* x, int64_t batch, int64_t n, int64_t m, bool upper);

}  // namespace dl
