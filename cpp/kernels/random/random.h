// Contracts of the random family. Every kernel is a pure function of (seed, stream): one stream per call.
//
// Which word an element gets is the same on every instruction set and for any thread count. Elements come in chunks
// of 64, which take 16 Philox blocks: element i is word (i % 64) / 16 of block i / 64 * 16 + i % 16 (random_word in
// core/random.h). 4, 8 or 16 blocks computed side by side then store each of their words as a run, untransposed.
// 64-bit draws take two words: chunks of 32 elements (random_pair).
#pragma once
#include <cstdint>

namespace dl {

// y[i] = the i-th 32-bit word, for i in [0, n).
using random_bits_fn = void (*)(uint32_t* y, int64_t n, uint64_t seed, uint64_t stream);

// y[i] = min(low + u * scale, most), u uniform in [0, 1): 24 bits in float, 53 in double. `most` is the largest value
// of T under the interval's end, which rounding must not reach.
template <class T> using random_uniform_fn = void (*)(T* y, int64_t n, uint64_t seed, uint64_t stream, double low,
                                                      double scale, double most);

// y[i] = mean + std * z, z standard normal by Box and Muller: words w, w' of a block give, with u = (w + 1/2) 2^-32
// rounded to float and the angle a = 2 pi w' 2^-32, z = sqrt(-2 ln u) cos a for the element of w and
// sqrt(-2 ln u) sin a for that of w', 16 further on. |z| <= 6.8. In double w and w' are 64-bit draws, u has 53 bits and
// |z| <= 8.7. bfloat16 rounds the float's value.
template <class T>
using random_normal_fn = void (*)(T* y, int64_t n, uint64_t seed, uint64_t stream, double mean, double std);

// y[i] = low + floor(w * range / 2^64), w a 64-bit draw: the bias is under range * 2^-64.
using random_integers_fn = void (*)(int64_t* y, int64_t n, uint64_t seed, uint64_t stream, int64_t low, uint64_t range);

// y = a permutation of 0 ... n-1 by Fisher and Yates: step i swaps y[i] with y[j], j uniform in [i, n).
using random_permutation_fn = void (*)(int64_t* y, int64_t n, uint64_t seed, uint64_t stream);

// y[i] = u <= p[i] ? 1 : 0, u as for random_normal: 1 with probability p[i] in [0, 1], true to 2^-32 for small p too.
// y may be p.
template <class T> using random_bernoulli_fn = void (*)(const T* p, T* y, int64_t n, uint64_t seed, uint64_t stream);

// y[r, s] = column c of row r with probability p[r, c] / sum(p[r, :]); p (rows, cols) is finite, not negative, and has
// a positive entry (`samples` of them without replacement) in every row. Sums in double. `work` and `order` hold
// `cols` elements. Without replacement the `samples` smallest of -ln(u_c) / p_c are taken in order (Efraimidis and
// Spirakis 2006), which equals drawing one after another.
template <class T> using random_multinomial_fn = void (*)(const T* p, int64_t* y, int64_t rows, int64_t cols,
                                                          int64_t samples, bool replacement, uint64_t seed,
                                                          uint64_t stream, double* work, int64_t* order);

// y[i] = word_i >= threshold ? x[i] * scale : 0. Forward and backward alike (dx from dy): the mask is not stored but
// drawn again from (seed, stream). y may be x. Dropped infinities and NaN become 0.
template <class T> using dropout_fn = void (*)(const T* x, T* y, int64_t n, uint64_t seed, uint64_t stream,
                                               uint32_t threshold, double scale);

}  // namespace dl
