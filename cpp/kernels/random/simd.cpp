// Philox in vector lanes; what a chunk's words become is the only difference between the kernels.
#include "core/parallel.h"
#include "core/random.h"
#include "dispatch/kernel.h"
#include "kernels/random/random.h"
#include "simd/math.h"
#include "simd/philox.h"

namespace dl {
namespace {

constexpr int64_t kChunk = 64, kLanes = 16;
// 512 chunks are 32768 words: 20 to 60 µs of work.
constexpr int64_t kChunksPerBlock = 512;

// Calls emit(i, words) for each vector of blocks: lane l of words.v[k] belongs to element i + 16 k + l.
template <class Emit> void for_each_element(int64_t n, uint64_t seed, uint64_t stream, const Emit& emit) {
  parallel_for((n + kChunk - 1) / kChunk, kChunksPerBlock, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c)
      for (int64_t lane = 0; lane < kLanes; lane += Vec::size)
        emit(c * kChunk + lane, philox_lanes(seed, stream, static_cast<uint64_t>(c * kLanes + lane)));
  });
}

DL_INLINE int64_t lanes_left(int64_t n, int64_t i) { return n <= i ? 0 : n - i < Vec::size ? n - i : Vec::size; }

template <class T> DL_INLINE void put(T* y, int64_t n, int64_t i, Vec v) {
  if (i + Vec::size <= n) store(y + i, v);
  else if (i < n) store(y + i, v, n - i);
}

// 24 bits in [0, 1): exact in float.
DL_INLINE Vec unit(VecI w) { return to_float(shr<8>(w)) * broadcast(0x1p-24f); }

// (w + 1/2) 2^-32, from both halves of the word: converted at once the low bits of a small number would be lost.
DL_INLINE Vec open_unit(VecI w) {
  const Vec low = fma(to_float(w & broadcast(0xffff)), broadcast(0x1p-32f), broadcast(0x1p-33f));
  return fma(to_float(shr<16>(w)), broadcast(0x1p-16f), low);
}

void random_bits(uint32_t* y, int64_t n, uint64_t seed, uint64_t stream) {
  for_each_element(n, seed, stream, [=](int64_t i, const PhiloxLanes& w) {
    for (int64_t k = 0; k < 4; ++k)
      store(reinterpret_cast<int32_t*>(y) + i + k * kLanes, w.v[k], lanes_left(n, i + k * kLanes));
  });
}

template <class T>
void random_uniform(T* y, int64_t n, uint64_t seed, uint64_t stream, double low, double scale, double most) {
  const Vec a = broadcast(static_cast<float>(low)), s = broadcast(static_cast<float>(scale)),
            m = broadcast(static_cast<float>(most));
  for_each_element(n, seed, stream, [=](int64_t i, const PhiloxLanes& w) {
    for (int64_t k = 0; k < 4; ++k) put(y, n, i + k * kLanes, fast_min(fma(unit(w.v[k]), s, a), m));
  });
}

struct NormalPair { Vec cos_part, sin_part; };

DL_INLINE NormalPair box_muller(VecI w, VecI angle) {
  // The unit may round to 1: then both normals are 0.
  const Vec r = sqrt(log(open_unit(w)) * broadcast(-2.0f));
  // A word is a fraction of a turn: its top bits after rounding are the quadrant, the rest an angle within pi / 4.
  const VecI q = shr<30>(angle + broadcast(1 << 29));
  const Vec t = to_float(angle - shl<30>(q)) * broadcast(1.46291807926716e-9f), z = t * t;  // 2 pi / 2^32
  const Vec s = fma(t * z, poly(z, -0.166666672f, 0.00833332911f, -0.000198393085f, 2.71808403e-06f), t);
  const Vec c =
      fma(z * z, poly(z, 0.0416666456f, -0.0013887313f, 2.44327857e-05f), fma(z, broadcast(-0.5f), broadcast(1.0f)));
  const Mask swap = !eq(q & broadcast(1), broadcast(0));
  // Quadrants 1 and 2 have a negative cosine, 2 and 3 a negative sine.
  const VecI cos_sign = shl<30>((q + broadcast(1)) & broadcast(2)), sin_sign = shl<30>(q & broadcast(2));
  return {r * bits_as_float(bits_as_int(select(swap, s, c)) ^ cos_sign),
          r * bits_as_float(bits_as_int(select(swap, c, s)) ^ sin_sign)};
}

template <class T> void random_normal(T* y, int64_t n, uint64_t seed, uint64_t stream, double mean, double std) {
  const Vec m = broadcast(static_cast<float>(mean)), s = broadcast(static_cast<float>(std));
  for_each_element(n, seed, stream, [=](int64_t i, const PhiloxLanes& w) {
    for (int64_t k = 0; k < 4; k += 2) {
      const NormalPair z = box_muller(w.v[k], w.v[k + 1]);
      put(y, n, i + k * kLanes, fma(z.cos_part, s, m));
      put(y, n, i + (k + 1) * kLanes, fma(z.sin_part, s, m));
    }
  });
}

template <class T> void random_bernoulli(const T* p, T* y, int64_t n, uint64_t seed, uint64_t stream) {
  for_each_element(n, seed, stream, [=](int64_t i, const PhiloxLanes& w) {
    for (int64_t k = 0; k < 4; ++k) {
      const int64_t j = i + k * kLanes, left = lanes_left(n, j);
      if (left > 0) store(y + j, select(le(open_unit(w.v[k]), load(p + j, left)), broadcast(1.0f), zero()), left);
    }
  });
}

template <class T>
void dropout(const T* x, T* y, int64_t n, uint64_t seed, uint64_t stream, uint32_t threshold, double scale) {
  const Vec s = broadcast(static_cast<float>(scale));
  for_each_element(n, seed, stream, [=](int64_t i, const PhiloxLanes& w) {
    for (int64_t k = 0; k < 4; ++k) {
      const int64_t j = i + k * kLanes;
      const Mask keep = at_least_u32(w.v[k], threshold);
      if (j + Vec::size <= n) store(y + j, select(keep, load(x + j) * s, zero()));
      else if (j < n) store(y + j, select(keep, load(x + j, n - j) * s, zero()), n - j);
    }
  });
}

// 64-bit draws: chunk c has 32 of them, in order.
constexpr int64_t kPairs = kChunk / 2;
DL_INLINE void draw_pairs(uint64_t seed, uint64_t stream, int64_t c, uint64_t* draws) {
  uint32_t words[kChunk];
  for (int64_t lane = 0; lane < kLanes; lane += Vec::size) {
    const PhiloxLanes w = philox_lanes(seed, stream, static_cast<uint64_t>(c * kLanes + lane));
    for (int64_t k = 0; k < 4; ++k) store(reinterpret_cast<int32_t*>(words) + k * kLanes + lane, w.v[k]);
  }
  for (int64_t k = 0; k < 2; ++k)
    for (int64_t l = 0; l < kLanes; ++l)
      draws[k * kLanes + l] = uint64_t{words[2 * k * kLanes + l]} << 32 | words[(2 * k + 1) * kLanes + l];
}

// Calls emit(i, draws, count) chunk by chunk: draws[l] belongs to element i + l.
template <class Emit>
void for_each_pair_chunk(int64_t n, uint64_t seed, uint64_t stream, int64_t grain, const Emit& emit) {
  parallel_for((n + kPairs - 1) / kPairs, grain, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      uint64_t draws[kPairs];
      draw_pairs(seed, stream, c, draws);
      emit(c * kPairs, draws, n - c * kPairs < kPairs ? n - c * kPairs : kPairs);
    }
  });
}

DL_INLINE uint64_t scaled(uint64_t draw, uint64_t range) {
  return static_cast<uint64_t>(static_cast<unsigned __int128>(draw) * range >> 64);
}

void random_uniform_double(double* y, int64_t n, uint64_t seed, uint64_t stream, double low, double scale,
                           double most) {
  for_each_pair_chunk(n, seed, stream, kChunksPerBlock, [=](int64_t i, const uint64_t* draws, int64_t count) {
    for (int64_t l = 0; l < count; ++l) {
      const double v = low + static_cast<double>(static_cast<int64_t>(draws[l] >> 11)) * 0x1p-53 * scale;
      y[i + l] = v < most ? v : most;
    }
  });
}

// ln u for u in (0, 1), in plain arithmetic that the compiler vectorises: u = 2^e m with m in [sqrt(1/2), sqrt(2)) and
// ln m = 2 artanh s, s = (m - 1) / (m + 1), whose series falls by s^2 < 0.0295 a term. 1 ulp.
DL_INLINE double log_below_one(double u) {
  uint64_t bits;
  __builtin_memcpy(&bits, &u, sizeof bits);
  const uint64_t e = (bits - 0x3fe6a09e667f3bcdull + (1024ull << 52)) >> 52;
  bits -= (e << 52) - (1024ull << 52);
  double m;
  __builtin_memcpy(&m, &bits, sizeof m);
  const double s = (m - 1) / (m + 1), z = s * s;
  double t = 1.0 / 19;
  for (int k = 17; k >= 3; k -= 2) t = t * z + 1.0 / k;
  return (static_cast<double>(static_cast<int>(e)) - 1024) * 0.69314718055994530942 + 2 * (s + s * z * t);
}

// One chunk: 16 pairs of draws become 16 pairs of normals, all cosines before all sines. Taylor series on
// [-pi/4, pi/4], to 1e-17.
DL_INLINE void box_muller_double(const uint64_t* draws, double* z) {
  for (int64_t l = 0; l < kLanes; ++l) {
    const double u = (static_cast<double>(static_cast<int64_t>(draws[l] >> 11)) + 0.5) * 0x1p-53;
    const double r = __builtin_sqrt(-2 * log_below_one(u));
    const uint64_t angle = draws[l + kLanes], q = (angle + (1ull << 61)) >> 62;
    const double t = static_cast<double>(static_cast<int64_t>(angle - (q << 62))) * (6.28318530717958647693 * 0x1p-64),
                 t2 = t * t;
    double s = 1.0 / 1307674368000, c = 1.0 / 20922789888000;  // 1/15!, 1/16!
    s = 1.0 / 6227020800 - t2 * s, c = 1.0 / 87178291200 - t2 * c;
    s = 1.0 / 39916800 - t2 * s, c = 1.0 / 479001600 - t2 * c;
    s = 1.0 / 362880 - t2 * s, c = 1.0 / 3628800 - t2 * c;
    s = 1.0 / 5040 - t2 * s, c = 1.0 / 40320 - t2 * c;
    s = 1.0 / 120 - t2 * s, c = 1.0 / 720 - t2 * c;
    s = 1.0 / 6 - t2 * s, c = 1.0 / 24 - t2 * c;
    s = t - t * t2 * s, c = 1 - t2 * (0.5 - t2 * c);
    const bool swap = q & 1;
    z[l] = r * (swap ? s : c) * (1 - static_cast<double>(static_cast<int>((q + 1) & 2)));
    z[l + kLanes] = r * (swap ? c : s) * (1 - static_cast<double>(static_cast<int>(q & 2)));
  }
}

void random_normal_double(double* y, int64_t n, uint64_t seed, uint64_t stream, double mean, double std) {
  for_each_pair_chunk(n, seed, stream, kChunksPerBlock / 4, [=](int64_t i, const uint64_t* draws, int64_t count) {
    double z[kPairs];
    box_muller_double(draws, z);
    for (int64_t l = 0; l < count; ++l) y[i + l] = mean + std * z[l];
  });
}

void random_integers(int64_t* y, int64_t n, uint64_t seed, uint64_t stream, int64_t low, uint64_t range) {
  for_each_pair_chunk(n, seed, stream, kChunksPerBlock, [=](int64_t i, const uint64_t* draws, int64_t count) {
    for (int64_t l = 0; l < count; ++l)
      y[i + l] = static_cast<int64_t>(static_cast<uint64_t>(low) + scaled(draws[l], range));
  });
}

// One step depends on the one before, but where it will go does not: each chunk's targets are known, and fetched,
// before its swaps.
void random_permutation(int64_t* y, int64_t n, uint64_t seed, uint64_t stream) {
  for (int64_t i = 0; i < n; ++i) y[i] = i;
  for (int64_t i = 0; i < n; i += kPairs) {
    uint64_t draws[kPairs];
    draw_pairs(seed, stream, i / kPairs, draws);
    const int64_t count = n - i < kPairs ? n - i : kPairs;
    int64_t target[kPairs];
    for (int64_t l = 0; l < count; ++l) {
      target[l] = i + l + static_cast<int64_t>(scaled(draws[l], static_cast<uint64_t>(n - i - l)));
      prefetch(y + target[l]);
    }
    for (int64_t l = 0; l < count; ++l) {
      const int64_t v = y[i + l];
      y[i + l] = y[target[l]];
      y[target[l]] = v;
    }
  }
}

DL_REGISTER("random_bits", random_bits, random_bits_fn)
DL_REGISTER("random_integers", random_integers, random_integers_fn)
DL_REGISTER("random_permutation", random_permutation, random_permutation_fn)
DL_REGISTER("random_uniform/float64", random_uniform_double, random_uniform_fn<double>)
DL_REGISTER("random_normal/float64", random_normal_double, random_normal_fn<double>)

#define DL_RANDOM_FLOATS(T, t)                                                 \
  DL_REGISTER("random_uniform/" t, random_uniform, random_uniform_fn<T>)       \
  DL_REGISTER("random_normal/" t, random_normal, random_normal_fn<T>)          \
  DL_REGISTER("random_bernoulli/" t, random_bernoulli, random_bernoulli_fn<T>) \
  DL_REGISTER("dropout/" t, dropout, dropout_fn<T>)

DL_RANDOM_FLOATS(float, "float32")
DL_RANDOM_FLOATS(bfloat16, "bfloat16")

}  // namespace
}  // namespace dl
