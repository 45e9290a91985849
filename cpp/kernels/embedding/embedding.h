// Contracts of the embedding family.
#pragma once
#include <cstdint>

namespace dl {

// y[i, :] = w[index[i], :], rows of row_bytes bytes; every index lies in the table.
using embedding_forward_fn = void (*)(const int64_t* index, const void* w, void* y, int64_t n, int64_t row_bytes);

// dw[v, :] = sum of dy[i, :] over the i with index[i] = v, in the order of i; zero for v = padding (-1: none) and
// for rows without an index; with `add` all that is added to what dw holds. dw is (vocabulary, cols), dy (n, cols).
template <class T> using embedding_backward_fn = void (*)(const int64_t* index, const T* dy, T* dw, int64_t n,
                                                          int64_t vocabulary, int64_t cols, int64_t padding, bool add);

}  // namespace dl
