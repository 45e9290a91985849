// Random numbers: a thread computes one block of Philox and gives each of its words to its element, so that the numbers
// are those of every other device.
#include "kernels/random/random.h"

#include "core/random.h"
#include "cuda/core/rows.h"

namespace dl {
namespace {

using namespace cuda;

constexpr double kPi = 3.14159265358979323846;

// Draw k of block b belongs to element first + 16 k: blocks of 32-bit words serve 64 elements by sixteens, blocks of
// 64-bit draws 32.
template <int kDraws> DL_DEVICE int64_t first_element(int64_t b) { return b / 16 * (16 * kDraws) + b % 16; }
template <int kDraws> int64_t philox_blocks(int64_t n) { return (n + 16 * kDraws - 1) / (16 * kDraws) * 16; }

// y[i] = of(draw, i), where a draw is a 32-bit word or, for kDraws = 2, a 64-bit one.
template <int kDraws, class Y, class Of> __global__ void __launch_bounds__(kMapThreads)
    draw_kernel(Y* y, int64_t n, uint64_t seed, uint64_t stream, Of of, int64_t blocks) {
  for (int64_t b = int64_t{blockIdx.x} * kMapThreads + threadIdx.x; b < blocks; b += int64_t{gridDim.x} * kMapThreads) {
    const Philox4 words = philox(seed, stream, static_cast<uint64_t>(b));
#pragma unroll
    for (int k = 0; k < kDraws; ++k) {
      const int64_t i = first_element<kDraws>(b) + 16 * k;
      if (i >= n) break;
      if constexpr (kDraws == 4) y[i] = of(words.v[k], i);
      else y[i] = of(uint64_t{words.v[2 * k]} << 32 | words.v[2 * k + 1], i);
    }
  }
}
template <int kDraws, class Y, class Of>
void draw(Y* y, int64_t n, uint64_t seed, uint64_t stream, Of of, const char* op) {
  if (n == 0) return;
  const int64_t blocks = philox_blocks<kDraws>(n);
  Launch(blocks_for(blocks, kMapThreads), kMapThreads, 0, op)(draw_kernel<kDraws, Y, Of>, y, n, seed, stream, of,
                                                              blocks);
}

// In [0, 1) and in (0, 1], with as many bits as the computation has.
DL_DEVICE float unit(uint32_t word) { return static_cast<float>(word >> 8) * 0x1p-24f; }
DL_DEVICE double unit(uint64_t pair) { return static_cast<double>(pair >> 11) * 0x1p-53; }
DL_DEVICE float open_unit(uint32_t word) { return static_cast<float>((word + 0.5) * 0x1p-32); }
DL_DEVICE double open_unit(uint64_t pair) { return (static_cast<double>(pair >> 11) + 0.5) * 0x1p-53; }

template <class T> constexpr int kDraws = std::is_same_v<T, double> ? 2 : 4;
template <class T> using Draw = std::conditional_t<std::is_same_v<T, double>, uint64_t, uint32_t>;

struct Bits {
  DL_DEVICE uint32_t operator()(uint32_t word, int64_t) const { return word; }
};
void random_bits(uint32_t* y, int64_t n, uint64_t seed, uint64_t stream) {
  draw<4>(y, n, seed, stream, Bits{}, "random_bits");
}

template <class T> struct Uniform {
  double low, scale, most;
  DL_DEVICE T operator()(Draw<T> d, int64_t) const {
    const double v = low + unit(d) * scale;  // rounded once
    return narrow<T>(static_cast<Compute<T>>(v < most ? v : most));
  }
};
template <class T>
void random_uniform(T* y, int64_t n, uint64_t seed, uint64_t stream, double low, double scale, double most) {
  draw<kDraws<T>>(y, n, seed, stream, Uniform<T>{low, scale, most}, "random_uniform");
}

// Of the draws of one block the first and second make two normals, and so do the third and fourth words.
template <class T> __global__ void __launch_bounds__(kMapThreads)
    normal_kernel(T* y, int64_t n, uint64_t seed, uint64_t stream, Compute<T> mean, Compute<T> std, int64_t blocks) {
  using C = Compute<T>;
  constexpr int draws = kDraws<T>;
  for (int64_t b = int64_t{blockIdx.x} * kMapThreads + threadIdx.x; b < blocks; b += int64_t{gridDim.x} * kMapThreads) {
    const Philox4 words = philox(seed, stream, static_cast<uint64_t>(b));
#pragma unroll
    for (int k = 0; k < draws; k += 2) {
      const int64_t i = first_element<draws>(b) + 16 * k;
      if (i >= n) break;
      C u, angle;
      if constexpr (draws == 4) {
        u = open_unit(words.v[k]);
        angle = static_cast<C>(2 * kPi) * (static_cast<C>(words.v[k + 1]) * static_cast<C>(0x1p-32));
      } else {
        u = open_unit(uint64_t{words.v[0]} << 32 | words.v[1]);
        angle = 2 * kPi * (static_cast<double>(uint64_t{words.v[2]} << 32 | words.v[3]) * 0x1p-64);
      }
      const C radius = sqrt(-2 * log(u));
      y[i] = narrow<T>(mean + std * (radius * cos(angle)));
      if (i + 16 < n) y[i + 16] = narrow<T>(mean + std * (radius * sin(angle)));
    }
  }
}
template <class T> void random_normal(T* y, int64_t n, uint64_t seed, uint64_t stream, double mean, double std) {
  if (n == 0) return;
  const int64_t blocks = philox_blocks<kDraws<T>>(n);
  Launch(blocks_for(blocks, kMapThreads), kMapThreads)(
      normal_kernel<T>, y, n, seed, stream, static_cast<Compute<T>>(mean), static_cast<Compute<T>>(std), blocks);
}

struct Integer {
  int64_t low;
  uint64_t range;
  DL_DEVICE int64_t operator()(uint64_t d, int64_t) const {
    return static_cast<int64_t>(static_cast<uint64_t>(low) + __umul64hi(d, range));
  }
};
void random_integers(int64_t* y, int64_t n, uint64_t seed, uint64_t stream, int64_t low, uint64_t range) {
  draw<2>(y, n, seed, stream, Integer{low, range}, "random_integers");
}

template <class T> struct Bernoulli {
  const T* p;
  DL_DEVICE T operator()(Draw<T> d, int64_t i) const {
    return narrow<T>(open_unit(d) <= widen(p[i]) ? Compute<T>(1) : Compute<T>(0));
  }
};
template <class T> void random_bernoulli(const T* p, T* y, int64_t n, uint64_t seed, uint64_t stream) {
  draw<kDraws<T>>(y, n, seed, stream, Bernoulli<T>{p}, "random_bernoulli");
}

template <class T> struct Dropout {
  const T* x;
  uint32_t threshold;
  Compute<T> scale;
  DL_DEVICE T operator()(uint32_t word, int64_t i) const {
    return narrow<T>(word >= threshold ? widen(x[i]) * scale : Compute<T>(0));
  }
};
template <class T>
void dropout(const T* x, T* y, int64_t n, uint64_t seed, uint64_t stream, uint32_t threshold, double scale) {
  draw<4>(y, n, seed, stream, Dropout<T>{x, threshold, static_cast<Compute<T>>(scale)}, "dropout");
}

DL_REGISTER("random_bits", random_bits, random_bits_fn)
DL_REGISTER("random_integers", random_integers, random_integers_fn)

#define DL_RANDOM(T, t)                                                        \
  DL_REGISTER("random_uniform/" t, random_uniform, random_uniform_fn<T>)       \
  DL_REGISTER("random_normal/" t, random_normal, random_normal_fn<T>)          \
  DL_REGISTER("random_bernoulli/" t, random_bernoulli, random_bernoulli_fn<T>) \
  DL_REGISTER("dropout/" t, dropout, dropout_fn<T>)

DL_RANDOM(float, "float32")
DL_RANDOM(bfloat16, "bfloat16")
DL_RANDOM(double, "float64")

}  // namespace
}  // namespace dl
