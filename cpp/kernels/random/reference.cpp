#include "core/random.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "dispatch/kernel.h"
#include "kernels/random/random.h"
#include "kernels/reference.h"

namespace dl {
namespace {

constexpr double kPi = 3.14159265358979323846;

// In [0, 1), with as many bits as T's computation has.
template <class T> double unit(uint64_t seed, uint64_t stream, int64_t i) {
  if constexpr (std::is_same_v<T, double>) return static_cast<double>(random_pair(seed, stream, i) >> 11) * 0x1p-53;
  else return (random_word(seed, stream, i) >> 8) * 0x1p-24;
}

// In (0, 1], with as many bits as T's computation has, also near 0.
template <class T> double open_unit(uint64_t seed, uint64_t stream, int64_t i) {
  if constexpr (std::is_same_v<T, double>)
    return (static_cast<double>(random_pair(seed, stream, i) >> 11) + 0.5) * 0x1p-53;
  else return static_cast<float>((random_word(seed, stream, i) + 0.5) * 0x1p-32);
}

void random_bits(uint32_t* y, int64_t n, uint64_t seed, uint64_t stream) {
  for (int64_t i = 0; i < n; ++i) y[i] = random_word(seed, stream, i);
}

template <class T>
void random_uniform(T* y, int64_t n, uint64_t seed, uint64_t stream, double low, double scale, double most) {
  for (int64_t i = 0; i < n; ++i) y[i] = rounded<T>(std::min(low + unit<T>(seed, stream, i) * scale, most));
}

// (w, w') -> one of the two normals.
double box_muller(double u, double turns, bool second) {
  const double r = std::sqrt(-2 * std::log(u)), a = 2 * kPi * turns;
  return r * (second ? std::sin(a) : std::cos(a));
}

template <class T> void random_normal(T* y, int64_t n, uint64_t seed, uint64_t stream, double mean, double std) {
  for (int64_t i = 0; i < n; ++i) {
    const bool second = i % 32 >= 16;
    const int64_t first = second ? i - 16 : i;
    double turns;
    if constexpr (std::is_same_v<T, double>)
      turns = static_cast<double>(random_pair(seed, stream, first + 16)) * 0x1p-64;
    else turns = random_word(seed, stream, first + 16) * 0x1p-32;
    y[i] = rounded<T>(mean + std * box_muller(open_unit<T>(seed, stream, first), turns, second));
  }
}

uint64_t scaled(uint64_t w, uint64_t range) {
  return static_cast<uint64_t>(static_cast<unsigned __int128>(w) * range >> 64);
}

void random_integers(int64_t* y, int64_t n, uint64_t seed, uint64_t stream, int64_t low, uint64_t range) {
  for (int64_t i = 0; i < n; ++i)
    y[i] = static_cast<int64_t>(static_cast<uint64_t>(low) + scaled(random_pair(seed, stream, i), range));
}

void random_permutation(int64_t* y, int64_t n, uint64_t seed, uint64_t stream) {
  for (int64_t i = 0; i < n; ++i) y[i] = i;
  for (int64_t i = 0; i + 1 < n; ++i)
    std::swap(y[i], y[i + static_cast<int64_t>(scaled(random_pair(seed, stream, i), static_cast<uint64_t>(n - i)))]);
}

template <class T> void random_bernoulli(const T* p, T* y, int64_t n, uint64_t seed, uint64_t stream) {
  for (int64_t i = 0; i < n; ++i) y[i] = rounded<T>(open_unit<T>(seed, stream, i) <= value_of(p[i]) ? 1 : 0);
}

template <class T> void random_multinomial(const T* p, int64_t* y, int64_t rows, int64_t cols, int64_t samples,
                                           bool replacement, uint64_t seed, uint64_t stream, double* work,
                                           int64_t* order) {
  for (int64_t r = 0; r < rows; ++r, p += cols, y += samples) {
    if (replacement) {
      double total = 0;
      int64_t last = 0;
      for (int64_t c = 0; c < cols; ++c) {
        work[c] = total += value_of(p[c]);
        if (value_of(p[c]) > 0) last = c;
      }
      for (int64_t s = 0; s < samples; ++s) {
        const double t = unit<double>(seed, stream, r * samples + s) * total;
        // Rounding may bring t up to the total itself: then it is the last column that has a chance.
        y[s] = std::min(static_cast<int64_t>(std::upper_bound(work, work + cols, t) - work), last);
      }
    } else {
      for (int64_t c = 0; c < cols; ++c) {
        const double u = open_unit<double>(seed, stream, r * cols + c);
        work[c] = value_of(p[c]) > 0 ? -std::log(u) / value_of(p[c]) : std::numeric_limits<double>::infinity();
        order[c] = c;
      }
      std::partial_sort(order, order + samples, order + cols,
                        [&](int64_t a, int64_t b) { return work[a] != work[b] ? work[a] < work[b] : a < b; });
      std::copy(order, order + samples, y);
    }
  }
}

template <class T>
void dropout(const T* x, T* y, int64_t n, uint64_t seed, uint64_t stream, uint32_t threshold, double scale) {
  for (int64_t i = 0; i < n; ++i)
    y[i] = rounded<T>(random_word(seed, stream, i) >= threshold ? value_of(x[i]) * scale : 0.0);
}

DL_REGISTER("random_bits", random_bits, random_bits_fn)
DL_REGISTER("random_integers", random_integers, random_integers_fn)
DL_REGISTER("random_permutation", random_permutation, random_permutation_fn)

#define DL_RANDOM_FLOATS(T, t)                                                       \
  DL_REGISTER("random_uniform/" t, random_uniform, random_uniform_fn<T>)             \
  DL_REGISTER("random_normal/" t, random_normal, random_normal_fn<T>)                \
  DL_REGISTER("random_bernoulli/" t, random_bernoulli, random_bernoulli_fn<T>)       \
  DL_REGISTER("random_multinomial/" t, random_multinomial, random_multinomial_fn<T>) \
  DL_REGISTER("dropout/" t, dropout, dropout_fn<T>)

DL_RANDOM_FLOATS(float, "float32")
DL_RANDOM_FLOATS(bfloat16, "bfloat16")
DL_RANDOM_FLOATS(double, "float64")

}  // namespace
}  // namespace dl
